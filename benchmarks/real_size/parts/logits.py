"""Logits in bfloat16 through all layers, ours and transformers', against float32.

One after another: the weights are in memory once, and in float32 one layer at a time.
"""

import gc
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.agreement import error_of
from benchmarks.gpu.reference import own_logits, reference_logits
from benchmarks.real_size import reference
from benchmarks.real_size.setup import Setup
from higgs_worker.engine.loader import load
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat

NUM_FRAMES = 6
NUM_COLUMNS = 3
MAX_RATIO = 1.5
"""Of our error to transformers'; both are rounding, and about equal."""


def logits(setup: Setup) -> Iterator[dict[str, Any]]:
    """bf16 logits against transformers' in float32, all layers, text, reference and columns"""
    directory = setup.directory("model")
    prompt = reference.sample_prompts(directory, NUM_FRAMES)["text and reference"]
    config, weights, _ = load(
        directory, device=torch.device("cpu"), number_format=NumberFormat(torch.bfloat16)
    )
    columns = reference.columns_from(config, NUM_COLUMNS)
    own = own_logits(LanguageModel(config, weights, 512), prompt, columns).float()
    del weights
    gc.collect()
    theirs = reference.read(directory, torch.bfloat16)
    low = reference_logits(theirs, prompt, columns)
    with reference.in_float32(theirs):
        high = reference_logits(theirs, prompt, columns)
    errors = {"ours": error_of(own, high), "transformers": error_of(low, high)}
    for of, error in errors.items():
        yield {"of": of, "positions": len(own), "spread": float(high.std()), **error}
    if errors["ours"]["error_rms"] > MAX_RATIO * errors["transformers"]["error_rms"]:
        raise RuntimeError("our logits are further from float32 than transformers'")


MEASUREMENTS = (logits,)
