"""Compiles the kernels of a step while the weights are still being read."""

import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from triton.runtime.cache import triton_key
from triton.runtime.jit import MockTensor

from higgs_worker.engine.columns import Columns
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.kernels.launch import Launch
from higgs_worker.engine.kernels.tiles import MAX_ROWS, MIN_ROWS
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.threads import in_threads

log = logging.getLogger(__name__)

NUM_THREADS = 4
"""Most of the work holds Python's lock; NVIDIA's assembler, a process of its own, does not."""


def compile_kernels(
    config: ModelConfig,
    number_format: NumberFormat,
    device: torch.device,
    *,
    max_rows: int,
    max_length: int,
) -> None:
    """Compile what steps will launch, or find it on the volume.

    Args:
        config, number_format: of the model that will be loaded.
        device: the GPU.
        max_rows: the most slots that a step will have.
        max_length: positions per slot.
    """
    started = time.perf_counter()
    triton_key()  # Triton's own version, a hash of half a gigabyte: once, before threads ask for it

    def compile_on_device(launch: Launch) -> None:
        with torch.cuda.device(device):  # each thread has its own current one
            compile_launch(launch)

    all_launches = launches(config, number_format, max_rows=max_rows, max_length=max_length)
    for _ in in_threads(compile_on_device, all_launches, NUM_THREADS):
        pass
    log.info("kernels ready", extra={"took_s": round(time.perf_counter() - started, 3)})


def launches(
    config: ModelConfig, number_format: NumberFormat, *, max_rows: int, max_length: int
) -> Iterator[Launch]:
    """Yield launches that need each kernel of a step at least once; nothing can be launched."""
    meta = torch.device("meta")
    # A layer is like the next, and only what rows are padded to makes a difference.
    config = replace(config, num_layers=1)
    weights = Weights.empty(config, device=meta, number_format=number_format)
    model = LanguageModel(config, weights, max_length)
    cache = KVCache(config, MAX_ROWS, max_length, device=meta, dtype=number_format.dtype)
    columns = Columns(config, MAX_ROWS, max_length, meta)
    step = FusedStep(model, cache, columns)
    num_rows = MIN_ROWS
    while num_rows < 2 * max_rows and num_rows <= MAX_ROWS:
        yield from step.launches(columns.state.select(slice(0, num_rows)))
        num_rows *= 2


def compile_launch(launch: Launch) -> None:
    """Compile one kernel; a later launch of the same kind finds it in this process."""
    arguments = {
        name: MockTensor(value.dtype) if isinstance(value, torch.Tensor) else value
        for name, value in launch.arguments.items()
    }
    launch.kernel.warmup(**arguments, **launch.options, grid=launch.grid)
