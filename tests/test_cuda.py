"""Streams, captures and a full memory, without CUDA: what each thread sees and what is left."""

import threading

import pytest
import torch

from higgs_worker.cuda import (
    HIGH,
    LOW,
    MIDDLE,
    Captures,
    cuda_capture,
    device_named,
    hold_captures,
    own_stream,
)
from higgs_worker.errors import InvalidSettings, is_out_of_memory
from tests.fakes.cuda import FakeGraph, FakeStream, ScriptedCuda

SECOND = torch.device("cuda:1")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> ScriptedCuda:
    """CUDA by script."""
    return ScriptedCuda(monkeypatch)


@pytest.mark.parametrize(
    ("num_devices", "name", "found"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
        (2, "cuda:2", "torch sees cuda:0 to cuda:1 here"),
        (2, "cuda:256", "torch sees cuda:0 to cuda:1 here"),  # for torch the same as cuda:0
        (0, "cuda", "torch sees no GPU here"),
    ],
)
def test_a_gpu_that_is_not_there_is_a_wrong_setting(
    num_devices: int, name: str, found: str, cuda: ScriptedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by name, with what is there instead."""
    cuda.num_devices = num_devices
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    if "torch" not in found:
        assert device_named(name) == torch.device(found)
        return
    with pytest.raises(InvalidSettings, match=f"HIGGS_DEVICE is {name}, and {found}; use"):
        device_named(name)


@pytest.mark.parametrize("device", [torch.device("cuda"), SECOND])
def test_each_thread_has_its_device_and_its_stream(
    device: torch.device, cuda: ScriptedCuda
) -> None:
    """Whatever the device: it is current in the thread, and nothing else changes."""
    seen: dict[int, tuple[int, FakeStream]] = {}

    def work(priority: int) -> None:
        with own_stream(device, priority):
            seen[priority] = (cuda.current_device(), cuda.current_stream())
        assert cuda.current_stream() is cuda.default_stream(torch.device("cuda:0"))

    threads = [threading.Thread(target=work, args=(each,)) for each in (HIGH, MIDDLE, LOW)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(stream) for _, stream in seen.values()}) == 3
    for priority, (index, stream) in seen.items():
        assert index == (device.index or 0)
        assert stream.priority == priority
        # What another thread loaded on the default stream is there before this one reads it.
        assert stream.waited_for == [cuda.default_stream(device)]
    assert cuda.current_device() == 0


def test_a_cpu_has_no_streams_and_captures_nothing(cuda: ScriptedCuda) -> None:
    """Nothing of CUDA is touched."""
    with own_stream(torch.device("cpu"), HIGH):
        assert cuda.current_stream() is cuda.default_stream(torch.device("cuda:0"))
    assert cuda_capture(torch.device("cpu")) is None
    assert not Captures(None).enabled
    assert Captures(None).capture(lambda: None, "any") is None


def test_graphs_are_captured_beside_the_threads_stream(cuda: ScriptedCuda) -> None:
    """On the device, after what runs already, with the same priority, from one pool."""
    capture = cuda_capture(SECOND)
    during: list[tuple[int, FakeStream]] = []
    with own_stream(SECOND, HIGH):
        own = cuda.current_stream()
        graphs = [
            capture(lambda: during.append((cuda.current_device(), cuda.current_stream())))
            for _ in range(2)
        ]
        assert cuda.current_stream() is own
    for index, stream in during:
        assert index == 1
        assert stream is not own
        assert stream.priority == HIGH
        assert stream.waited_for[-1] is own
    assert len(set(map(id, cuda.pools))) == 1
    assert all(isinstance(graph, FakeGraph) for graph in graphs)


def test_a_failed_capture_leaves_nothing_behind(
    cuda: ScriptedCuda, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread is on its stream again, the allocator knows, and no further capture is tried."""
    cuda.breaks = True
    captures = Captures(cuda_capture(SECOND))

    def cannot_be_captured() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    with own_stream(SECOND, HIGH):
        own = cuda.current_stream()
        assert captures.capture(cannot_be_captured, "8 rows") is None
        assert cuda.current_stream() is own
        assert cuda.capturing is None
        assert cuda.num_ended_by_hand == 1
        cuda.breaks = False
        assert captures.capture(lambda: None, "4 rows") is None
    assert not captures.can_capture
    assert captures.enabled
    assert len(cuda.pools) == 1
    (record,) = caplog.records
    assert record.shape == "8 rows"


def test_a_thread_that_holds_captures_off_is_not_disturbed(cuda: ScriptedCuda) -> None:
    """Meanwhile others stay eager, without waiting; it captures itself; later they capture too."""
    holds, may_end = threading.Event(), threading.Event()
    captures = [Captures(cuda_capture(SECOND)) for _ in range(2)]

    def hold() -> None:
        with hold_captures():
            holds.set()
            may_end.wait(5)
            assert captures[1].capture(lambda: None, "its own") is not None

    thread = threading.Thread(target=hold)
    thread.start()
    assert holds.wait(5)
    assert captures[0].capture(lambda: None, "now") is None
    assert captures[0].can_capture
    may_end.set()
    thread.join(5)
    assert captures[0].capture(lambda: None, "later") is not None
    assert len(cuda.pools) == 2


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_of_a_full_memory_is_recognised(error: Exception) -> None:
    """torch's own class, CUDA's, cuBLAS's, cuDNN's and Python's."""
    assert is_out_of_memory(error)


def test_a_cpu_without_memory_is_recognised() -> None:
    """What torch really raises there."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_out_of_memory(caught.value)


def test_other_errors_are_not_a_full_memory() -> None:
    """Neither another failure of the device nor a sentence that only sounds like it."""
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))
    assert not is_out_of_memory(ValueError("out of memory"))
