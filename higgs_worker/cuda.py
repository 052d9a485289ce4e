"""What the worker asks of CUDA: a device, a stream for each thread, and graphs.

Three threads work on the device at the same time. Each has a stream of its own, so that none waits
for another's kernels; where kernels compete, the stream with the higher priority runs first.

While one thread captures, CUDA refuses some calls of all others, such as waiting for the whole
device, and breaks the capture as well. So captures are made one at a time, and what may make such a
call holds them off.

Launching hundreds of small kernels one by one takes the host longer than the device needs to run
them; a graph launches them all with one call. A captured computation works in place on tensors that
stay where they are.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import torch

from higgs_worker.errors import InvalidSettings

log = logging.getLogger(__name__)

HIGH, MIDDLE, LOW = -2, -1, 0
"""Priorities of streams, as CUDA counts them: of the engine, the codec and the encoder."""

_captures_allowed = threading.RLock()


class Replay(Protocol):
    """A captured computation."""

    def replay(self) -> None:
        """Run it again on the tensors it was captured with."""


Capture = Callable[[Callable[[], None]], Replay]
"""Captures a computation. A stand-in serves the tests, which have no CUDA."""


def device_named(name: str) -> torch.device:
    """Return a device; `auto` is a GPU if there is one, and otherwise the CPU.

    Args:
        name: as HIGGS_DEVICE has it.

    Raises:
        InvalidSettings: torch sees no such GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    # Not torch's own number, which takes 256 for 0.
    index = int(name.partition(":")[2] or 0)
    if name.startswith("cuda") and index >= torch.cuda.device_count():
        raise InvalidSettings(
            f"HIGGS_DEVICE is {name}, and {_seen_gpus()}; use a machine with that GPU, or set "
            "HIGGS_DEVICE to auto"
        )
    return torch.device(name)


def _seen_gpus() -> str:
    if torch.version.cuda is None:
        return "torch is built without CUDA here"
    count = torch.cuda.device_count()
    return f"torch sees cuda:0 to cuda:{count - 1} here" if count else "torch sees no GPU here"


@contextmanager
def own_stream(device: torch.device, priority: int) -> Iterator[None]:
    """Run this thread's work on a stream of its own; nothing changes on a CPU.

    The current device is each thread's own too: inside it is `device`, also where that is not the
    first GPU.
    """
    if device.type != "cuda":
        yield
        return
    stream = torch.cuda.Stream(device, priority=priority)  # type: ignore[no-untyped-call]
    # What was loaded may still be on its way.
    stream.wait_stream(torch.cuda.default_stream(device))
    with torch.cuda.stream(stream):
        yield


@contextmanager
def hold_captures() -> Iterator[None]:
    """Keep other threads from capturing: around a thread's first use of a CUDA library, say."""
    with _captures_allowed:
        yield


def cuda_capture(device: torch.device) -> Capture | None:
    """Return what captures on a device; None on a CPU.

    All graphs that it captures share one memory pool.
    """
    return None if device.type != "cuda" else _CudaCapture(device)


class _CudaCapture:
    """Captures graphs beside other threads' work on the device, and never waits for the device.

    `torch.cuda.graph` would: it synchronises the device and gives all cached memory back first. And
    where a capture fails, it leaves its stream as the thread's current one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self._stream: torch.cuda.Stream | None = None

    def __call__(self, computation: Callable[[], None]) -> Replay:
        current = torch.cuda.current_stream(self._device)
        if self._stream is None:
            # A graph's kernels run with the priority of the stream that captured them.
            priority = current.priority
            self._stream = torch.cuda.Stream(self._device, priority=priority)  # type: ignore[no-untyped-call]
        self._stream.wait_stream(current)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream):
            # Only this thread's work is captured: others may allocate memory meanwhile.
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                computation()
                graph.capture_end()
            except BaseException:
                self._abandon(graph)
                raise
        return graph

    def _abandon(self, graph: torch.cuda.CUDAGraph) -> None:
        """End a capture that failed, and let the allocator know if CUDA does not."""
        with suppress(RuntimeError):
            graph.capture_end()
        with suppress(RuntimeError):  # it says so where the capture's end was enough
            torch._C._cuda_endAllocateToPool(self._device.index or 0, self._pool)


class Captures:
    """Captures computations until one cannot be captured; from then on none is."""

    def __init__(self, capture: Capture | None) -> None:
        """Start; `capture` None captures nothing."""
        self.enabled = capture is not None
        """Whether computations were to be captured, so that few and fixed shapes pay."""
        self._capture = capture

    @property
    def can_capture(self) -> bool:
        """Whether the next computation would be captured."""
        return self._capture is not None

    def capture(self, computation: Callable[[], None], shape: object) -> Replay | None:
        """Capture a computation that has run before; None: it can only be run eagerly for now.

        Args:
            computation: works in place on tensors that stay where they are.
            shape: for the log.
        """
        if self._capture is None or not _captures_allowed.acquire(blocking=False):
            return None
        try:
            return self._capture(computation)
        except Exception:
            # Nothing is lost, it is only slower. What failed once could fail at each new shape.
            log.exception(
                "a graph could not be captured; from now on kernels are launched one by one",
                extra={"shape": str(shape)},
            )
            self._capture = None
            return None
        finally:
            _captures_allowed.release()
