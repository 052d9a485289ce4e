"""A model so small that Triton's interpreter, some 20 ms for each program, runs steps of it."""

from dataclasses import replace

import numpy as np
import torch

from benchmarks.gpu.models import random_weights
from benchmarks.gpu.scale import TINY_MODEL
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Prompt, Sampling, Submission, TextSegment

CPU = torch.device("cpu")
TINY = replace(
    TINY_MODEL,
    # No width is a multiple of a tile, and three queries share a head as in the published model.
    width=72,
    mlp_width=88,
    num_layers=1,
    num_heads=3,
    num_kv_heads=1,
    head_dim=16,
    num_codebooks=3,
    codebook_size=66,
    stream_bos_id=64,
    stream_eos_id=65,
)


def tiny_model(
    config: ModelConfig = TINY, max_length: int = 160, *, is_int8: bool = False
) -> LanguageModel:
    """Return a model in float32 that ends sequences now and then."""
    weights = random_weights(config, CPU, torch.float32)
    head = weights.head.view(config.num_codebooks, config.codebook_size, -1)
    head[:, config.stream_eos_id] = 1.2 * head[:, 0]
    if is_int8:
        # Rows stay in float32: the interpreter does not compute in bfloat16 as a GPU does.
        number_format = NumberFormat(torch.float32, has_int8_layers=True)
        quantised = Weights.empty(config, device=CPU, number_format=number_format)
        for name, target in quantised.by_name(config).items():
            source = weights.by_name(config)[name]
            assert isinstance(source, torch.Tensor)
            target.copy_(source)
        weights = quantised
    return LanguageModel(config, weights, max_length)


def submissions(lengths: list[int], sampling: Sampling, max_frames: int) -> list[Submission]:
    """Ask for sequences behind prompts of some lengths, each with a seed of its own."""
    rng = np.random.default_rng(0)
    return [
        Submission(
            Prompt((TextSegment(tuple(rng.integers(2, 500, length).tolist())),)),
            replace(sampling, seed=seed),
            max_frames,
        )
        for seed, length in enumerate(lengths)
    ]


def begin(runner: Runner, slot: int, submission: Submission) -> None:
    """Let a sequence run in a slot."""
    runner.prefill([PrefillChunk(slot, runner.begin(slot, submission))])
