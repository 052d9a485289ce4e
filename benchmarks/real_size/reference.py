"""transformers' language model from the built file, and its float32 with one layer at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import (
    GenerationConfig,
    HiggsAudioV2Config,
    HiggsAudioV2ForConditionalGeneration,
)

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.sequence import Prompt
from higgs_worker.speech.prompt import PastTurn, PromptBuilder, PromptContext

Reference = HiggsAudioV2ForConditionalGeneration


def read(directory: Path, dtype: torch.dtype, num_layers: int | None = None) -> Reference:
    """Return transformers' model from a directory; of its layers the first, or all of them."""
    config = HiggsAudioV2Config.from_pretrained(directory)
    config.num_hidden_layers = num_layers or config.num_hidden_layers
    model = Reference.from_pretrained(directory, config=config, dtype=dtype).eval()
    model.generation_config = GenerationConfig()  # greedy, and no RAS that nobody asked for
    return model


@contextmanager
def in_float32(model: Reference) -> Iterator[None]:
    """Compute in float32 with a model of bfloat16, whose layers have twice the size only at work.

    Every bfloat16 is a float32, so the model is as before afterwards.
    """
    halves = model.dtype

    def widen(module: nn.Module, *_: Any) -> None:
        module.float()

    def narrow(module: nn.Module, *_: Any) -> None:
        module.to(halves)

    inner = model.model
    always = (inner.embed_audio_tokens, inner.norm, model.audio_lm_head)
    hooks = [inner.embed_tokens.register_forward_hook(lambda _, __, output: output.float())]
    for layer in inner.layers:
        hooks += [layer.register_forward_pre_hook(widen), layer.register_forward_hook(narrow)]
    for module in always:
        module.float()
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module in always:
            module.to(halves)


def sample_prompts(directory: Path, num_frames: int) -> dict[str, Prompt]:
    """Return prompts with the real vocabulary, without and with a reference."""
    builder = PromptBuilder.from_directory(directory)
    codes = np.random.default_rng(0).integers(0, 1024, (num_frames, 8))
    turn = PastTurn("What I said.", codes)
    return {
        "text": builder.build("Hello there.", PromptContext()),
        "text and reference": builder.build("Hello there.", PromptContext(references=(turn,))),
    }


def columns_from(config: ModelConfig, num_columns: int) -> NDArray[np.int64]:
    """Return random columns that follow a prompt, the forced first one at their head."""
    shape = (num_columns, config.num_codebooks)
    columns = np.random.default_rng(1).integers(0, config.stream_bos_id, shape)
    columns[0] = config.stream_bos_id
    return columns
