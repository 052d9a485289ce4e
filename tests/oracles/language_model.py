"""The oracle of the language model: transformers' own network and `generate`, on random weights.

Weights are scaled so that logits spread (standard deviation about 3) and greedy codes do not
repeat. The rows of stream BOS are zero, because our sampler masks it after the ramp and
transformers does not. `end` shifts how often a sequence ends by itself.

transformers takes seconds to import, so nothing here does it before it is used.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from higgs_worker.engine.delay import delay
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.sequence import AudioSegment, Prompt, TextSegment

if TYPE_CHECKING:
    from transformers import HiggsAudioV2ForConditionalGeneration

AUDIO_TOKEN, DELAY_TOKEN, AUDIO_BOS, AUDIO_EOS, EOT, PAD = 90, 91, 92, 93, 94, 95
SPECIAL_IDS = {
    "audio_token_id": AUDIO_TOKEN,
    "audio_delay_token_id": DELAY_TOKEN,
    "audio_bos_token_id": AUDIO_BOS,
    "bos_token_id": 1,
    "eos_token_id": EOT,
    "pad_token_id": PAD,
}
SIZES = {
    "narrow": {"hidden_size": 64, "layers": 2, "heads": 4, "kv_heads": 2, "mlp": 96},
    "wide": {"hidden_size": 96, "layers": 3, "heads": 6, "kv_heads": 2, "mlp": 160},
}


def random_model(
    seed: int, size: str = "narrow", *, end: float = 0.0, num_codebooks: int = 8
) -> "HiggsAudioV2ForConditionalGeneration":
    """Return a random model; `end` scales the logits of the end code, 0 never ends."""
    from transformers import HiggsAudioV2Config, HiggsAudioV2ForConditionalGeneration

    sizes = SIZES[size]
    config = HiggsAudioV2Config(
        vocab_size=96,
        hidden_size=sizes["hidden_size"],
        intermediate_size=sizes["mlp"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        num_key_value_heads=sizes["kv_heads"],
        head_dim=16,
        num_codebooks=num_codebooks,
        codebook_size=66,
        audio_stream_bos_id=64,
        audio_stream_eos_id=65,
        **SPECIAL_IDS,
    )
    torch.manual_seed(seed)
    model = HiggsAudioV2ForConditionalGeneration(config).eval()
    randomise(model, end=end)
    return model


@torch.no_grad()
def randomise(model: "HiggsAudioV2ForConditionalGeneration", *, end: float = 0.0) -> None:
    """Scale a model's weights as said above."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.copy_(1 + 0.1 * torch.randn_like(parameter))
        elif "embed" in name:
            parameter.copy_(torch.randn_like(parameter))
        else:
            parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    config = model.config
    head = model.audio_lm_head.weight.view(config.num_codebooks, config.codebook_size, -1)
    head *= 3
    head[:, config.audio_stream_bos_id] = 0
    head[:, config.audio_stream_eos_id] *= end


def save(model: "HiggsAudioV2ForConditionalGeneration", directory: Path) -> Path:
    """Write the checkpoint as transformers does."""
    model.save_pretrained(directory)
    return directory


def fix_logits(weights: Weights, logits: torch.Tensor) -> None:
    """Make a model give the same logits [K, V] at every position, whatever its input."""
    for layer in weights.layers:
        for silent in (layer.out, layer.text.down, layer.audio.down):
            silent.zero_()
    for constant in (weights.embed_text, weights.embed_audio, weights.norm):
        constant.fill_(1.0)
    weights.head.copy_(logits.reshape(-1, 1).expand_as(weights.head) / weights.head.shape[1])


def generate(
    model: "HiggsAudioV2ForConditionalGeneration",
    prompts: list[Prompt],
    max_columns: int,
    ras: tuple[int, int] | None = None,
) -> list[np.ndarray]:
    """Run transformers' greedy `generate` on a batch; returns each sequence's columns [N, K]."""
    from transformers import GenerationConfig

    given = inputs(model, prompts)
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=max_columns,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
        bos_token_id=model.config.bos_token_id,
    )
    if ras:
        settings.ras_win_len, settings.ras_win_max_num_repeat = ras
    output = model.generate(**given, generation_config=settings).cpu()
    most = given["audio_input_ids"].shape[1] if "audio_input_ids" in given else 0
    return [columns.numpy() for columns in output[:, most:]]


def inputs(
    model: "HiggsAudioV2ForConditionalGeneration", prompts: list[Prompt]
) -> dict[str, torch.Tensor]:
    """Return what transformers takes for a batch of prompts, on the model's device."""
    config = model.config
    rows, clips = [], []
    for prompt in prompts:
        ids: list[int] = []
        columns = [np.zeros((0, config.num_codebooks), dtype=np.int64)]
        for part in prompt.segments:
            if isinstance(part, AudioSegment):
                clip = delay(part.codes, config.audio_stream_bos_id, config.audio_stream_eos_id)
                tail = config.num_codebooks - 1
                ids += [config.audio_token_id] * (len(clip) - tail)
                ids += [config.audio_delay_token_id] * tail
                columns.append(clip)
            else:
                ids += part.ids
        rows.append(ids)
        clips.append(np.concatenate(columns))
    longest, most = max(map(len, rows)), max(map(len, clips))
    given = {
        "input_ids": torch.tensor(
            [[config.pad_token_id] * (longest - len(ids)) + ids for ids in rows]
        ),
        "attention_mask": torch.tensor([[0] * (longest - len(i)) + [1] * len(i) for i in rows]),
    }
    if most:
        audio = torch.full(
            (len(rows), most, config.num_codebooks), config.audio_stream_eos_id, dtype=torch.long
        )
        mask = torch.zeros((len(rows), most), dtype=torch.bool)
        for index, clip in enumerate(clips):
            audio[index, : len(clip)] = torch.from_numpy(clip)
            mask[index, : len(clip)] = True
        given |= {"audio_input_ids": audio, "audio_input_ids_mask": mask}
    return {name: tensor.to(model.device) for name, tensor in given.items()}


def random_prompt(rng: np.random.Generator, num_ids: int, num_reference_frames: int = 0) -> Prompt:
    """Return a prompt like upstream's template: text, maybe reference and text, audio BOS."""

    def words(count: int) -> tuple[int, ...]:
        return tuple(int(i) for i in rng.integers(2, 89, count))

    segments: list[TextSegment | AudioSegment] = [TextSegment(words(num_ids))]
    if num_reference_frames:
        segments[0] = TextSegment((*words(num_ids), AUDIO_BOS))
        segments.append(AudioSegment(rng.integers(0, 64, (num_reference_frames, 8))))
        segments.append(TextSegment((AUDIO_EOS, EOT, *words(num_ids))))
    segments.append(TextSegment((AUDIO_BOS,)))
    return Prompt(tuple(segments))
