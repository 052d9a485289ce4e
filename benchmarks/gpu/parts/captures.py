"""Step graphs: what capturing them takes, in time and in memory."""

from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.devices import free_mb, seconds
from benchmarks.gpu.models import new_runner, random_model
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.variants import chosen

NOT_HERE = "no capture on a CPU"


def prepared(scale: Scale) -> Iterator[dict[str, Any]]:
    """Step graphs that are captured before a worker is ready, the choice of kernels included"""
    runner = new_runner(scale, random_model(scale), kernels="auto")
    with runner.own_stream():
        before = free_mb(scale.device)
        took = seconds(scale.device, runner.prepare)
    row: dict[str, Any] = {"graphs": len(runner._graphs._graphs), "s": took}
    row |= {"MB": before - free_mb(scale.device), "kernels": chosen(runner)}
    yield row | ({"note": NOT_HERE} if scale.is_rehearsal else {})


def shapes(scale: Scale) -> Iterator[dict[str, Any]]:
    """Step graphs of torch, an eager step each included: ms / MB, by batch and attention length"""
    runner = new_runner(scale, random_model(scale))
    by_batch: dict[int, dict[str, Any]] = {}
    with runner.own_stream():
        # The first step of all loads libraries.
        missing = True
        while missing:
            before, known = free_mb(scale.device), set(runner._graphs._graphs)

            def capture() -> None:
                nonlocal missing
                missing = runner.capture_next()

            took = seconds(scale.device, capture)
            used = before - free_mb(scale.device)
            for num_rows, length, _ in set(runner._graphs._graphs) - known:
                row = by_batch.setdefault(num_rows, {"batch": num_rows})
                row[str(length)] = f"{1e3 * took:.0f} / {used:.0f}"
    yield from (by_batch[num_rows] for num_rows in sorted(by_batch))
    if scale.is_rehearsal:
        yield {"batch": 1, "note": NOT_HERE}


MEASUREMENTS = (prepared, shapes)
