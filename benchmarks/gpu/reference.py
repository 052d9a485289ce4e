"""transformers' language model on the device, and the logits of both for the same input."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import HiggsAudioV2Config, HiggsAudioV2ForConditionalGeneration

from benchmarks.gpu.scale import raw_config
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.rows import PromptRows, pack
from higgs_worker.engine.sequence import Prompt
from tests.oracles.language_model import SPECIAL_IDS, inputs, randomise


def random_reference(
    config: ModelConfig, device: torch.device, dtype: torch.dtype
) -> HiggsAudioV2ForConditionalGeneration:
    """Return transformers' model of some sizes with random weights, made where it is used."""
    raw = raw_config(config)
    del raw["model_type"]
    theirs = HiggsAudioV2Config(**raw, **SPECIAL_IDS)
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = HiggsAudioV2ForConditionalGeneration(theirs).eval()
    finally:
        torch.set_default_dtype(default)
    # Computed on the CPU, as ours is: another device rounds powers differently.
    rotary = type(model.model.rotary_emb)
    model.model.rotary_emb = rotary(theirs).to(device)
    randomise(model)
    return model


@torch.inference_mode()
def reference_logits(
    model: HiggsAudioV2ForConditionalGeneration, prompt: Prompt, columns: NDArray[np.int64]
) -> Tensor:
    """Return the logits after every position of a prompt and of columns, [T + N, K, V] float32.

    Args:
        model: transformers'.
        prompt: of T positions, without the forced first column.
        columns: [N, K], that one first.
    """
    given = inputs(model, [prompt])
    audio = torch.from_numpy(columns)[None].to(model.device)
    ids = torch.full((1, len(columns)), model.config.audio_token_id, device=model.device)
    given["input_ids"] = torch.cat([given["input_ids"], ids], dim=1)
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    if "audio_input_ids" in given:
        audio = torch.cat([given["audio_input_ids"], audio], dim=1)
    given["audio_input_ids"] = audio
    given["audio_input_ids_mask"] = torch.ones(audio.shape[:2], dtype=torch.bool).to(model.device)
    logits = model(**given, use_cache=False).logits[0].float()
    return logits.view(len(logits), model.config.num_codebooks, -1)


@torch.inference_mode()
def own_logits(model: LanguageModel, prompt: Prompt, columns: NDArray[np.int64]) -> Tensor:
    """Return the same from our model: the prompt by one prefill, the columns by decode steps."""
    config, device = model.config, model.device
    rows = PromptRows.from_prompt(prompt, config)
    num_prompt = rows.num_positions
    length = num_prompt + len(columns)
    cache = KVCache(config, 1, length, device=device, dtype=model.dtype)
    batch = pack([rows.chunk(0, 0, num_prompt)])
    (sequence,) = batch.sequences
    hidden = model.prefill(batch, cache)
    logits = [model.logits_after(hidden, torch.from_numpy(sequence.rows).to(device))]
    window = cache.window(1, length)
    # The first column is the prompt's last row.
    for index, column in enumerate(torch.from_numpy(columns[1:]).to(device)):
        position = torch.tensor([num_prompt + index], device=device)
        logits.append(model.decode(column[None], position, cache, window))
    return torch.cat(logits)
