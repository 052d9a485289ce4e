"""Loading: a checkpoint of the real size from the page cache, against what bounds it."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.checkpoints import folder_in_memory, write_checkpoint
from benchmarks.gpu.devices import GB, seconds
from benchmarks.gpu.models import random_weights
from benchmarks.gpu.scale import Scale, raw_config
from higgs_worker.engine.loader import load
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.tensor_reader import BLOCK_BYTES, NUM_THREADS
from higgs_worker.threads import in_threads


def loading(scale: Scale) -> Iterator[dict[str, Any]]:
    """Loading the language model from the page cache"""
    planned = Weights.empty(
        scale.model, device=torch.device("meta"), number_format=NumberFormat(scale.dtype)
    )
    num_bytes = sum(each.nbytes for each in planned.by_name(scale.model).values())
    place = folder_in_memory(num_bytes)
    if place is None:
        yield {"what": f"skipped: no folder and memory for {num_bytes / GB:.1f} GB"}
        return
    with tempfile.TemporaryDirectory(dir=place) as name:
        directory = Path(name)
        weights = random_weights(scale.model, scale.device, scale.dtype)
        started = time.perf_counter()
        write_checkpoint(directory, raw_config(scale.model), weights.by_name(scale.model))
        del weights
        if scale.device.type == "cuda":
            torch.cuda.empty_cache()
        yield _row(f"written to {place}", num_bytes, time.perf_counter() - started)
        path = directory / "model.safetensors"
        for attempt in ("first", "second"):
            took = seconds(scale.device, lambda: _load(directory, scale))
            yield _row(f"loaded, {attempt} time", num_bytes, took)
        took = seconds(torch.device("cpu"), lambda: read_alone(path, scale.device))
        yield _row(f"read alone, {NUM_THREADS} threads", num_bytes, took)
        yield _row("copied alone, pinned", num_bytes, _copy_alone(num_bytes, scale.device))


def _load(directory: Path, scale: Scale) -> None:
    load(directory, device=scale.device, number_format=NumberFormat(scale.dtype))


def _row(what: str, num_bytes: int, took: float) -> dict[str, Any]:
    return {"what": what, "GB": num_bytes / GB, "s": took, "GB_per_s": num_bytes / GB / took}


def read_alone(path: Path, device: torch.device) -> None:
    """Read all bytes into one buffer per thread, as the loader does, and discard them."""
    size, is_pinned = path.stat().st_size, device.type == "cuda"
    with path.open("rb") as file:

        def read(number: int) -> None:
            buffer = torch.empty(BLOCK_BYTES, dtype=torch.uint8, pin_memory=is_pinned).numpy()
            for offset in range(number * BLOCK_BYTES, size, NUM_THREADS * BLOCK_BYTES):
                os.preadv(file.fileno(), [buffer], offset)

        for _ in in_threads(read, range(NUM_THREADS), NUM_THREADS):
            pass


def _copy_alone(num_bytes: int, device: torch.device) -> float:
    """Return the seconds of copying as much from one pinned block to the device."""
    block = torch.empty(BLOCK_BYTES, dtype=torch.uint8, pin_memory=device.type == "cuda")
    target = torch.empty_like(block, device=device)

    def copy() -> None:
        for _ in range(-(-num_bytes // BLOCK_BYTES)):
            target.copy_(block, non_blocking=True)

    return seconds(device, copy)


MEASUREMENTS = (loading,)
