"""CUDA by script: devices, streams and graphs that only record who uses them, where and when.

It stands in for `torch.cuda` where a test asks which devices there are, which thread works on which
stream of which device, or what is left after a capture that failed. As in torch, the current device
and stream belong to the thread, a stream makes its device the current one, a graph is captured from
the stream that is current when it begins, and ending a broken capture raises.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import torch


@dataclass(eq=False)
class FakeStream:
    """A stream; 0 is the default one of its device."""

    device: torch.device
    priority: int = 0
    waited_for: list["FakeStream"] = field(default_factory=list)

    def wait_stream(self, other: "FakeStream") -> None:
        """Record the order."""
        self.waited_for.append(other)


class FakeGraph:
    """A graph; `ScriptedCuda.breaks` makes the end of its capture raise."""

    def __init__(self, cuda: "ScriptedCuda") -> None:
        self._cuda = cuda
        self.captured_on: FakeStream | None = None
        self.num_replays = 0

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        """Begin; only one capture of a process may be under way."""
        assert capture_error_mode == "thread_local"
        assert self._cuda.capturing is None, "two captures at once"
        self._cuda.capturing = self
        self._cuda.pools.append(pool)
        self.captured_on = self._cuda.current_stream()

    def capture_end(self) -> None:
        """End, on the stream on which it began."""
        if self._cuda.capturing is not self:
            raise RuntimeError("no capture is under way")
        assert self._cuda.current_stream() is self.captured_on
        self._cuda.capturing = None
        if self._cuda.breaks:
            raise RuntimeError("operation failed due to a previous error during capture")

    def replay(self) -> None:
        """Count."""
        self.num_replays += 1


class ScriptedCuda:
    """Replaces what `higgs_worker.cuda` uses of `torch.cuda`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.breaks = False
        """Whether captures break: what cannot be captured raises, and ending them too."""
        self.num_devices = 2
        self.capturing: FakeGraph | None = None
        self.pools: list[object] = []
        self.num_ended_by_hand = 0
        """How often the allocator was told that a capture is over."""
        self._thread = threading.local()
        self._defaults: dict[int, FakeStream] = {}
        for name in ("Stream", "stream", "current_stream", "default_stream", "CUDAGraph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: self.num_devices)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: self.num_devices > 0)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
        monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", self._end_allocating)

    def Stream(self, device: torch.device, priority: int = 0) -> FakeStream:  # noqa: N802
        """Return a new stream."""
        return FakeStream(device, priority)

    def default_stream(self, device: torch.device) -> FakeStream:
        """Return a device's default stream."""
        return self._defaults.setdefault(device.index or 0, FakeStream(device))

    def current_stream(self, device: torch.device | None = None) -> FakeStream:
        """Return the thread's stream on a device, or on its current device."""
        streams: dict[int, FakeStream] = getattr(self._thread, "streams", {})
        index = self.current_device() if device is None else device.index or 0
        return streams.get(index) or self.default_stream(torch.device("cuda", index))

    def current_device(self) -> int:
        """Return the thread's device."""
        return getattr(self._thread, "device", 0)

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        """Make a stream and its device current in this thread."""
        index = stream.device.index or 0
        before = self.current_device(), dict(getattr(self._thread, "streams", {}))
        self._thread.device, self._thread.streams = index, {**before[1], index: stream}
        try:
            yield
        finally:
            self._thread.device, self._thread.streams = before

    def CUDAGraph(self) -> FakeGraph:  # noqa: N802
        """Return a new graph."""
        return FakeGraph(self)

    def _end_allocating(self, device: int, pool: object) -> None:
        self.num_ended_by_hand += 1
