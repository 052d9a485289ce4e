"""The choice of kernels at a worker's start: what it takes, and what it chooses on this card."""

import logging
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.devices import free_memory
from benchmarks.gpu.models import new_runner, random_model
from benchmarks.gpu.scale import Scale
from higgs_worker.engine.kernels.attend import attend_kernel
from higgs_worker.engine.kernels.choose import choose_kernel
from higgs_worker.engine.kernels.embed import embed_kernel
from higgs_worker.engine.kernels.product import product_kernel
from higgs_worker.engine.kernels.settle import settle_kernel
from higgs_worker.engine.model import LanguageModel

KERNELS = (attend_kernel, choose_kernel, embed_kernel, product_kernel, settle_kernel)


class _Records(logging.Handler):
    """Keeps what the choice logs."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


def choice(scale: Scale) -> Iterator[dict[str, Any]]:
    """Kernels chosen at start: both ways in ms, relative error; seconds of the whole choice"""
    import triton

    scale = scale.for_kernels
    model = random_model(scale)
    with tempfile.TemporaryDirectory() as name:
        before, triton.knobs.cache.dir = triton.knobs.cache.dir, name
        try:
            for cache in ("empty", "full"):
                _forget_compiled()
                yield from _choose(model, scale, cache)
        finally:
            triton.knobs.cache.dir = before


def _choose(model: LanguageModel, scale: Scale, cache: str) -> Iterator[dict[str, Any]]:
    """Yield one choice: each number of slots, then all."""
    free_memory()  # of the runner before
    runner = new_runner(scale, model, kernels="auto")
    # On a CPU, which captures nothing, a runner does not choose.
    row_counts = runner._shapes.row_counts() or [1]
    handler, log = _Records(), logging.getLogger("higgs_worker.engine.step_choice")
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        with runner.own_stream():
            started = time.perf_counter()
            runner._steps.choose("auto", row_counts, runner._views)
            took = time.perf_counter() - started
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    for record in handler.records:
        if record.exc_info is not None:
            raise RuntimeError("the fused kernels cannot be used") from record.exc_info[1]
        for step in record.__dict__["steps"]:
            yield {"cache_of_kernels": cache} | step
    yield {"cache_of_kernels": cache, "took_s": took}


def _forget_compiled() -> None:
    """Forget what this process has compiled or loaded, as if it had just begun."""
    for kernel in KERNELS:
        if hasattr(kernel, "device_caches"):  # an interpreted one has none
            kernel.device_caches.clear()


MEASUREMENTS = (choice,)
