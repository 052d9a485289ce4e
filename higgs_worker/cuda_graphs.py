"""CUDA graphs: a computation captured once on a device and replayed from then on.

Launching hundreds of small kernels one by one takes the host longer than the device needs to run
them; a graph launches them all with one call. A captured computation works in place on tensors that
stay where they are.
"""

from collections.abc import Callable
from typing import Protocol

import torch


class Replay(Protocol):
    """A captured computation."""

    def replay(self) -> None:
        """Run it again on the tensors it was captured with."""


Capture = Callable[[Callable[[], None]], Replay]
"""Captures a computation. A stand-in serves the tests, which have no CUDA."""


def cuda_capture(device: torch.device) -> Capture | None:
    """Return what captures on a device; None on a CPU.

    All graphs that it captures share one memory pool.
    """
    if device.type != "cuda":
        return None
    pool = torch.cuda.graph_pool_handle()

    def capture(computation: Callable[[], None]) -> Replay:
        graph = torch.cuda.CUDAGraph()
        # Only this thread's work is captured: another thread may allocate memory meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            computation()
        return graph

    return capture
