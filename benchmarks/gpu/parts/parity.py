"""Parity: graphs give what eager steps give, and ours what transformers gives."""

import gc
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.agreement import columns_of, error_of, num_equal
from benchmarks.gpu.checkpoints import folder_in_memory
from benchmarks.gpu.devices import free_mb
from benchmarks.gpu.models import random_model, text_prompt
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.variants import Variant, take, variants
from higgs_worker.cuda import Capture
from higgs_worker.engine.loader import load
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Sampling, Submission
from tests.fakes.twin_capture import TwinCapture

BATCHES = (1, 3, 8)
GREEDY = Sampling(seed=0, temperature=0.0, ras_window=0)
MAX_FLOAT32_ERROR = 0.01
"""Of a logit; their standard deviation is about 3. Rounding alone gives some 1e-4."""


def graphs(scale: Scale) -> Iterator[dict[str, Any]]:
    """Replayed steps against eager ones, columns up to the first difference"""
    max_length = min(1024, scale.max_length)
    model = random_model(scale, max_length)
    wrong = []
    # Interpreted ones are compared by the part "fused", with a smaller model.
    ways = variants(scale.device)[: 1 if scale.is_rehearsal else None]
    for variant, batch in product(ways, BATCHES):
        submissions = [
            Submission(
                text_prompt(scale.prompt_lengths[0] + 7 * slot, seed=slot),
                # Every third one is greedy.
                GREEDY if slot % 3 == 1 else Sampling(seed=slot, temperature=1.0),
                scale.parity_steps,
            )
            for slot in range(batch)
        ]
        replayed, eager = (
            columns_of(_runner(model, batch, max_length, capture, variant), submissions)
            for capture in (None, TwinCapture())
        )
        equal = [num_equal(*pair) for pair in zip(replayed, eager, strict=True)]
        yield {
            "step": variant.name,
            "batch": batch,
            "columns": len(replayed[0]),
            "equal": min(equal),
        }
        wrong += [f"{variant.name}, {batch}"] if min(equal) < len(replayed[0]) else []
    if wrong:
        raise RuntimeError(f"replayed and eager columns differ: {'; '.join(wrong)}")


def _runner(
    model: LanguageModel, batch: int, max_length: int, capture: Capture | None, variant: Variant
) -> Runner:
    """Return a runner that goes one way, with CUDA's capture or another one."""
    runner = Runner(model, num_slots=batch, max_length=max_length, capture=capture)
    take(runner, variant, capture)
    return runner


def greedy(scale: Scale) -> Iterator[dict[str, Any]]:
    """Greedy columns against transformers' in float32, few layers of the real width"""
    from benchmarks.gpu.reference import own_logits, random_reference, reference_logits
    from tests.oracles.language_model import generate, random_prompt, save

    device, float32 = scale.device, torch.float32
    sizes = replace(scale.model, num_layers=scale.parity_layers, vocab_size=512)
    theirs = random_reference(sizes, device, float32)
    num_bytes = sum(each.nbytes for each in theirs.parameters())
    with tempfile.TemporaryDirectory(dir=folder_in_memory(num_bytes)) as name:
        config, weights, _ = load(
            save(theirs, Path(name)), device=device, number_format=NumberFormat(float32)
        )
    model = LanguageModel(config, weights, 1024)
    num_columns = 2 * scale.parity_steps
    rng = np.random.default_rng(0)
    worst = 0.0
    for what, prompt in (
        ("text", random_prompt(rng, 60)),
        ("text and reference", random_prompt(rng, 30, 50)),
    ):
        (wanted,) = generate(theirs, [prompt], num_columns)
        submission = Submission(prompt, GREEDY, num_columns - config.num_codebooks)
        (ours,) = columns_of(Runner(model, num_slots=1, max_length=1024), [submission])
        equal = num_equal(ours, wanted)
        reference = reference_logits(theirs, prompt, wanted)
        row: dict[str, Any] = {"prompt": what, "columns": len(wanted), "equal": equal}
        row |= error_of(own_logits(model, prompt, wanted), reference)
        if equal < len(wanted):
            # The smaller, the nearer was the tie that fell the other way.
            after = reference[equal - 1 - len(wanted)].topk(2).values
            row["gap"] = float((after[:, 0] - after[:, 1]).min())
        worst = max(worst, row["error_max"])
        yield row
    if worst > MAX_FLOAT32_ERROR:
        raise RuntimeError(f"a logit is {worst:.3g} from transformers'")


def logits(scale: Scale) -> Iterator[dict[str, Any]]:
    """Errors of logits, the whole model, text, reference and columns"""
    from benchmarks.gpu.reference import own_logits, random_reference, reference_logits
    from tests.oracles.language_model import random_prompt

    device, config = scale.device, scale.model
    theirs = random_reference(config, device, scale.dtype)
    rng = np.random.default_rng(0)
    prompt = random_prompt(rng, scale.prompt_lengths[0], scale.prompt_lengths[0])
    columns = rng.integers(0, config.stream_bos_id, (scale.parity_steps, config.num_codebooks))
    columns[0] = config.stream_bos_id
    low = reference_logits(theirs, prompt, columns)
    num_bytes = sum(each.nbytes for each in theirs.parameters())
    if not _fits(num_bytes, device):
        yield {"of": f"ours, {scale.dtype_name}", "against": "does not fit beside transformers'"}
        return
    weights = Weights.empty(config, device=device, number_format=NumberFormat(scale.dtype))
    state = theirs.state_dict()
    for name, tensor in weights.by_name(config).items():
        tensor.copy_(state[name])
    ours = own_logits(LanguageModel(config, weights, len(low) + 8), prompt, columns)
    dtype = scale.dtype_name
    yield {"of": f"ours, {dtype}", "against": f"transformers, {dtype}"} | error_of(ours, low)
    del weights, state
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if not _fits(num_bytes, device):
        yield {"of": f"transformers, {dtype}", "against": "float32 does not fit"}
        return
    high = reference_logits(theirs.float(), prompt, columns)
    for of, values in (("ours", ours), ("transformers", low)):
        yield {"of": f"{of}, {dtype}", "against": "transformers, float32"} | error_of(values, high)


def _fits(num_bytes: int, device: torch.device) -> bool:
    """Return whether as much again fits, and what is computed with it."""
    return device.type == "cpu" or 1e6 * free_mb(device) > 1.1 * num_bytes + 1e9


MEASUREMENTS = (graphs, greedy, logits)
