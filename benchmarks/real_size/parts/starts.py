"""Starts of the real process, from an empty volume, from memory and from the disk."""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks import page_cache
from benchmarks.real_size.setup import COLD, EMPTY, Setup
from benchmarks.real_size.worker import (
    INPUT,
    empty_volume,
    pulled_files,
    watching_disk,
    working,
)

LAPS = ("python", "weights", "imports", "read", "codec", "slots", "ready", "first_job", "total")
"""Of the worker's line about its cold start, see `higgs_worker/cold_start.py`."""


def starts(setup: Setup) -> Iterator[dict[str, Any]]:
    """Starts, in seconds; the bytes alone are read as often and as cold just before"""
    num_signed_lines = 0
    for state in setup.starts:
        alone_s = None
        if state == EMPTY:
            empty_volume(setup)
        else:
            alone_s = _read_alone(setup, state)
        with watching_disk(setup.volume) as disk, working(setup) as worker:
            job = worker.send(INPUT)
            worker.line("model loaded")
            cpu_s, loaded_gb = worker.cpu_s(), worker.peak_gb()
            spoken, told = worker.output(job), worker.line("cold start")
            num_signed_lines += (signed := worker.num_signed_lines())
            row: dict[str, Any] = {"start": state}
            row |= {name: told[f"{name}_s"] for name in LAPS if f"{name}_s" in told}
            row["bytes alone"] = alone_s
            row["ready / bytes alone"] = alone_s and told["ready_s"] / alone_s
            row["cpu s until ready"] = cpu_s
            row["audio s"] = spoken["audio"]["duration_s"]
            row["peak GB until ready"], row["peak GB"] = loaded_gb, worker.peak_gb()
        files = sum(path.stat().st_size for path in pulled_files(setup))
        row["disk peak / files"] = disk.num_bytes / files
        row["signed lines"] = signed
        yield row
    if num_signed_lines:
        raise RuntimeError(f"{num_signed_lines} lines hold a signed address")


def _read_alone(setup: Setup, state: str) -> float:
    """Read all weights and return the seconds; the page cache is as the start is to find it."""
    files = pulled_files(setup)
    for path in files:
        page_cache.drop(path) if state == COLD else page_cache.read(path)
    started = time.perf_counter()
    for path in files:
        page_cache.read(path)
    took = time.perf_counter() - started
    if state == COLD:
        for path in files:
            page_cache.drop(path)
    return took


MEASUREMENTS = (starts,)
