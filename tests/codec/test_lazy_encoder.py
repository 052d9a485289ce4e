"""The encoder's thread: loaded late, one reference at a time, and every caller gets an answer."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from higgs_worker.checkpoint.tensor_file import LoadReport
from higgs_worker.codec import encoder_loader
from higgs_worker.codec.encoder_loader import LazyEncoder, load_encoder, turn_tf32_off
from higgs_worker.cuda import LOW
from higgs_worker.errors import EngineFailed, WeightsNotFound
from tests.codec.streams import DEMO_CODEC

CPU = torch.device("cpu")
NOWHERE = Path("no codec")


class ScriptedEncoder:
    """Stands in for `CodecEncoder`: codes are the number of samples; records where it works."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.errors: list[Exception] = []
        """Raised by the next calls, one each."""
        self.num_loads = 0
        self.num_inside = self.max_inside = 0

    def load(self, directory: Path, device: torch.device) -> tuple["ScriptedEncoder", LoadReport]:
        """Stand in for `load_encoder`."""
        self._record()
        self.num_loads += 1
        return self, LoadReport(0, 0.0)

    def __call__(self, pcm: Tensor) -> Tensor:
        """Encode [1, S] -> [1, K, F]."""
        self._record()
        self.num_inside += 1
        self.max_inside = max(self.max_inside, self.num_inside)
        time.sleep(0.002)
        self.num_inside -= 1
        if self.errors:
            raise self.errors.pop(0)
        assert torch.is_inference_mode_enabled()
        return torch.full((1, 8, 2), pcm.shape[-1])

    def _record(self) -> None:
        self.threads.append(threading.current_thread().name)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> ScriptedEncoder:
    """What every LazyEncoder loads."""
    made = ScriptedEncoder()
    monkeypatch.setattr(encoder_loader, "load_encoder", made.load)
    return made


def pcm(num_samples: int) -> np.ndarray:
    """Return silence."""
    return np.zeros(num_samples, dtype=np.float32)


def test_codes_are_those_of_the_encoder() -> None:
    """The real encoder in its thread gives the codes [F, K] that it gives anywhere."""
    sound = np.random.default_rng(0).normal(0, 0.1, 9600).astype(np.float32)
    encoder, _ = load_encoder(DEMO_CODEC, CPU)
    codes = LazyEncoder(DEMO_CODEC, CPU)(sound)
    assert codes.shape == (10, 8)
    assert np.array_equal(codes, encoder(torch.from_numpy(sound)[None])[0].T.numpy())


def test_callers_are_served_one_at_a_time_in_one_thread(
    scripted: ScriptedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever calls: one load, one thread, one CUDA stream of the lowest priority."""
    streams: list[tuple[str, torch.device, int]] = []

    @contextmanager
    def recorded_stream(device: torch.device, priority: int) -> Iterator[None]:
        streams.append((threading.current_thread().name, device, priority))
        yield

    monkeypatch.setattr(encoder_loader, "own_stream", recorded_stream)
    encode = LazyEncoder(NOWHERE, CPU)
    assert streams == scripted.threads == []
    with ThreadPoolExecutor(8) as callers:
        codes = list(callers.map(encode, [pcm(size) for size in range(1, 17)]))
    assert [int(each[0, 0]) for each in codes] == list(range(1, 17))
    assert scripted.max_inside == scripted.num_loads == 1
    assert streams == [("encoder", CPU, LOW)]
    assert scripted.threads == ["encoder"] * 17


def test_an_error_reaches_its_caller_alone(scripted: ScriptedEncoder) -> None:
    """The next reference is encoded, by the encoder that is loaded already."""
    encode = LazyEncoder(NOWHERE, CPU)
    error = ValueError("too few samples")
    scripted.errors.append(error)
    with pytest.raises(ValueError, match="too few") as caught:
        encode(pcm(1))
    assert caught.value is error
    assert encode(pcm(5))[0, 0] == 5
    assert scripted.num_loads == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.37 GiB"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        MemoryError(),
    ],
)
def test_a_full_device_is_said_in_words(
    scripted: ScriptedEncoder, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets advice and no tensors, the log has the error, and the worker goes on."""
    encode = LazyEncoder(NOWHERE, CPU)
    scripted.errors.append(error)
    with pytest.raises(EngineFailed) as caught:
        encode(pcm(9))
    for part in ("out of memory", "reference", "shorter", "HIGGS_MAX_SLOTS"):
        assert part in caught.value.message
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]
    assert encode(pcm(5))[0, 0] == 5


def test_a_load_that_fails_is_tried_again(
    scripted: ScriptedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory may be free the next time; a codec without an encoder keeps saying so."""
    monkeypatch.setattr(encoder_loader, "load_encoder", load_encoder)
    encode = LazyEncoder(NOWHERE, CPU)
    for _ in range(2):
        with pytest.raises(WeightsNotFound, match="no codec"):
            encode(pcm(1))
    monkeypatch.setattr(encoder_loader, "load_encoder", scripted.load)
    assert encode(pcm(5))[0, 0] == 5


def test_nobody_waits_for_a_thread_without_a_stream(
    scripted: ScriptedEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the device is lost, every caller gets the error."""

    @contextmanager
    def no_stream(device: torch.device, priority: int) -> Iterator[None]:
        raise RuntimeError("CUDA error: unknown error")
        yield

    monkeypatch.setattr(encoder_loader, "own_stream", no_stream)
    encode = LazyEncoder(NOWHERE, CPU)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="unknown error"):
            encode(pcm(1))
    assert scripted.threads == []


def test_tf32_is_off_where_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU it is turned off; on a CPU the process's setting is left alone."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    turn_tf32_off(CPU)
    assert torch.backends.cudnn.allow_tf32
    turn_tf32_off(torch.device("cuda:1"))
    assert not torch.backends.cudnn.allow_tf32


def test_loading_turns_tf32_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes do not depend on whether a decoder was loaded before."""
    asked: list[torch.device] = []
    monkeypatch.setattr(encoder_loader, "turn_tf32_off", asked.append)
    load_encoder(DEMO_CODEC, CPU)
    assert asked == [CPU]
