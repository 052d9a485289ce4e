"""Times, memory and bandwidth of a device; on a CPU the same calls work and mean little."""

import gc
import re
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.cards import DATA_SHEETS

MB = 1e6
GB = 1e9


def data_sheet_bandwidth(name: str) -> float | None:
    """Return the bytes per second of a card, by the name that CUDA gives it; None: not known."""
    own = set(re.split(r"[\s-]+", name.lower()))
    known = (
        speed * GB for words, speed in DATA_SHEETS.items() if set(words.lower().split()) <= own
    )
    return next(known, None)


def device_name(device: torch.device) -> str:
    """Return the name that CUDA gives a card."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(device: torch.device, work: Callable[[], object]) -> float:
    """Return the seconds of one run, which begins with an idle device and waits for it."""
    synchronize(device)
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def median_seconds(device: torch.device, work: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of some runs."""
    return statistics.median(seconds(device, work) for _ in range(repeats))


def free_mb(device: torch.device) -> float:
    """Return the memory that no process has; 0 on a CPU."""
    return torch.cuda.mem_get_info(device)[0] / MB if device.type == "cuda" else 0.0


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def num_allocations(device: torch.device) -> int:
    """Return how often memory was allocated so far; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    count: int = torch.cuda.memory_stats(device).get("allocation.all.allocated", 0)
    return count


def read_bandwidths(device: torch.device) -> dict[str, float]:
    """Return the bytes per second at which a large tensor is reduced, by kind of reduction."""
    num_bytes = 1 << (31 if device.type == "cuda" else 22)
    words = torch.ones(num_bytes // 2, device=device, dtype=torch.bfloat16)
    floats = words.view(torch.float32)
    ways: dict[str, Callable[[], object]] = {
        "sum_bfloat16": words.sum,
        "sum_float32": floats.sum,
        "amax_bfloat16": lambda: words.view(-1, 4096).amax(1),
        "amax_float32": lambda: floats.view(-1, 4096).amax(1),
    }
    for work in ways.values():
        work()
    return {way: num_bytes / median_seconds(device, work, 5) for way, work in ways.items()}


def read_bandwidth(device: torch.device) -> float:
    """Return the bytes per second that the card can read, at its best."""
    best = max(read_bandwidths(device).values())
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return best
