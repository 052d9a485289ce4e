"""The codec's thread: every listener gets its own audio, in pieces that follow its schedule."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder
from higgs_worker.codec.thread import CodecStream, CodecThread
from higgs_worker.cuda import MIDDLE
from higgs_worker.errors import EngineFailed
from tests.codec.streams import close, random_codes, whole
from tests.fakes.engine import StoppedClock

HOP, LAG = 960, 9458


class RecordingListener:
    """A listener that stores all it receives."""

    def __init__(self) -> None:
        self.pcm: list[np.ndarray] = []
        self.ended = threading.Event()
        self.error: Exception | None = None
        self._arrived = threading.Condition()

    def on_pcm(self, pcm: np.ndarray) -> None:
        """Store the samples."""
        assert not self.ended.is_set()
        with self._arrived:
            self.pcm.append(pcm)
            self._arrived.notify()

    def on_end(self, error: Exception | None) -> None:
        """Store the end, which comes once."""
        assert not self.ended.is_set()
        self.error = error
        self.ended.set()

    def wait(self, num_pieces: int) -> None:
        """Wait until `num_pieces` pieces have come."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.pcm) >= num_pieces, timeout=20)


class RecordingDecoder(StreamingDecoder):
    """Records how many frames of how many streams each call gets."""

    def __init__(self, decoder: CodecDecoder, num_streams: int) -> None:
        super().__init__(decoder, num_streams)
        self.calls: list[list[int]] = []

    def advance(self, pieces: Sequence[CodecPiece]) -> list[np.ndarray]:
        """Decode, and record the sizes."""
        self.calls.append([len(piece.codes) for piece in pieces])
        return super().advance(pieces)


def test_the_thread_serves_more_listeners_than_streams(decoder: CodecDecoder) -> None:
    """Seven listeners on three streams, fed from several threads, each get their own audio."""
    thread = CodecThread(StreamingDecoder(decoder, 3))
    listeners = [RecordingListener() for _ in range(7)]
    codes = [random_codes(i, 12 + 5 * i) for i in range(7)]

    def feed(i: int) -> None:
        stream = thread.open(listeners[i])
        for start in range(0, len(codes[i]), 8):
            thread.feed(stream, codes[i][start : start + 8])
            time.sleep(0.002)
        thread.finish(stream)

    feeders = [threading.Thread(target=feed, args=(i,)) for i in range(7)]
    for feeder in feeders:
        feeder.start()
    for listener, expected in zip(listeners, codes, strict=True):
        assert listener.ended.wait(20)
        assert listener.error is None
        close(np.concatenate(listener.pcm), whole(decoder, expected))
    thread.close()


def test_a_dropped_stream_is_silent_and_frees_its_state(decoder: CodecDecoder) -> None:
    """Dropping a stream lets the next one in, and its listener gets no end."""
    thread = CodecThread(StreamingDecoder(decoder, 1))
    gone, listener = RecordingListener(), RecordingListener()
    first = thread.open(gone)
    thread.feed(first, random_codes(0, 30))
    thread.drop(first)
    stream = thread.open(listener)
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    assert listener.ended.wait(20)
    close(np.concatenate(listener.pcm), whole(decoder, random_codes(1, 12)))
    assert not gone.ended.is_set()
    thread.close()


def test_a_failure_ends_its_listeners_and_the_thread_goes_on(decoder: CodecDecoder) -> None:
    """Codes that cannot be decoded end their stream with the error; the next stream is served."""
    thread = CodecThread(StreamingDecoder(decoder, 2))
    bad, good = RecordingListener(), RecordingListener()
    stream = thread.open(bad)
    thread.feed(stream, np.full((14, 8), 10**6))
    assert bad.ended.wait(20)
    assert bad.error is not None
    stream = thread.open(good)
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    assert good.ended.wait(20)
    assert good.error is None
    thread.close()


def test_closing_ends_what_waits(decoder: CodecDecoder) -> None:
    """Closing ends the streams that are still open."""
    thread = CodecThread(StreamingDecoder(decoder, 1))
    listener = RecordingListener()
    thread.feed(thread.open(listener), random_codes(0, 3))
    thread.close()
    assert listener.ended.is_set()
    assert listener.error is not None


def test_pieces_grow_with_the_lead(decoder: CodecDecoder) -> None:
    """A live stream starts with 0.16 s and small pieces; half a second ahead, they are large."""
    recorded, clock, listener = RecordingDecoder(decoder, 1), StoppedClock(), RecordingListener()
    thread = CodecThread(recorded, clock=clock)
    stream = thread.open(listener)
    codes = random_codes(1, 100)
    fed = 0

    def feed(count: int) -> None:
        nonlocal fed
        thread.feed(stream, codes[fed : fed + count])
        fed += count

    feed(10)  # all that the first sound needs, and no more
    feed(4)
    listener.wait(1)
    feed(8)
    listener.wait(2)
    feed(8)
    listener.wait(3)
    for _ in range(4):
        feed(8)
    listener.wait(4)
    clock.now += 10
    feed(3)
    listener.wait(5)
    assert recorded.calls == [[14], [8], [8], [24], [8]]
    assert [len(pcm) for pcm in listener.pcm] == [
        14 * HOP - LAG,
        8 * HOP,
        8 * HOP,
        24 * HOP,
        8 * HOP,
    ]
    feed(30)
    thread.finish(stream)
    assert listener.ended.wait(20)
    assert recorded.calls[5:] == [[24], [9]]
    close(np.concatenate(listener.pcm), whole(decoder, codes[:fed]))
    thread.close()


def test_a_listener_does_not_run_dry(decoder: CodecDecoder) -> None:
    """Frames that are too few for a large piece are decoded in time, as many as make a piece."""
    recorded, listener = RecordingDecoder(decoder, 1), RecordingListener()
    thread = CodecThread(recorded)
    stream = thread.open(listener)
    thread.feed(stream, random_codes(1, 24))
    listener.wait(1)
    thread.feed(stream, random_codes(2, 11))
    listener.wait(2)
    assert recorded.calls == [[24], [8]]
    thread.close()


def test_whole_results_come_in_large_pieces(decoder: CodecDecoder) -> None:
    """Streams that are not live wait for a large piece, and advance together."""
    recorded = RecordingDecoder(decoder, 3)
    thread = CodecThread(recorded, clock=StoppedClock())
    listeners = [RecordingListener() for _ in range(3)]
    streams: list[CodecStream] = []
    codes = [random_codes(i, 48) for i in range(3)]
    with thread._wake:  # so that all are there when the thread looks
        for listener, frames in zip(listeners, codes, strict=True):
            streams.append(thread.open(listener, is_live=False))
            for first in range(0, 48, 8):
                thread.feed(streams[-1], frames[first : first + 8])
    for listener in listeners:
        listener.wait(1)
    with thread._wake:
        for stream in streams:
            thread.finish(stream)
    for listener, frames in zip(listeners, codes, strict=True):
        assert listener.ended.wait(20)
        close(np.concatenate(listener.pcm), whole(decoder, frames))
    assert recorded.calls == [[24] * 3, [24] * 3]
    thread.close()


def test_a_listener_that_fails_harms_no_other(decoder: CodecDecoder) -> None:
    """An exception in a listener ends its call's streams, each once, and the thread goes on."""

    class FailingListener(RecordingListener):
        def on_pcm(self, pcm: np.ndarray) -> None:
            raise OSError("the line is cut")

    thread = CodecThread(StreamingDecoder(decoder, 2), clock=StoppedClock())
    listeners = [RecordingListener(), FailingListener()]
    with thread._wake:
        for listener in listeners:
            stream = thread.open(listener)
            thread.feed(stream, random_codes(1, 12))
            thread.finish(stream)
    for listener in listeners:
        assert listener.ended.wait(20)
    assert listeners[0].error is None
    assert isinstance(listeners[1].error, OSError)
    listener = RecordingListener()
    stream = thread.open(listener)
    thread.feed(stream, random_codes(2, 12))
    thread.finish(stream)
    assert listener.ended.wait(20)
    close(np.concatenate(listener.pcm), whole(decoder, random_codes(2, 12)))
    thread.close()


class PreparingDecoder(StreamingDecoder):
    """Waits in `prepare` until a test lets it go on, and then may fail."""

    def __init__(self, decoder: CodecDecoder, error: Exception | None = None) -> None:
        super().__init__(decoder, 1)
        self.may_go_on = threading.Event()
        self.error = error

    def prepare(self) -> None:
        """Wait."""
        assert self.may_go_on.wait(20)
        if self.error is not None:
            raise self.error


def test_streams_wait_until_the_decoder_is_prepared(decoder: CodecDecoder) -> None:
    """A stream that is opened and fed earlier is served afterwards."""
    preparing, listener = PreparingDecoder(decoder), RecordingListener()
    thread = CodecThread(preparing)
    stream = thread.open(listener)
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    assert not listener.ended.wait(0.05)
    assert listener.pcm == []
    preparing.may_go_on.set()
    thread.wait_until_ready()
    assert listener.ended.wait(20)
    close(np.concatenate(listener.pcm), whole(decoder, random_codes(1, 12)))
    thread.close()


def test_nobody_waits_for_a_decoder_that_cannot_be_prepared(decoder: CodecDecoder) -> None:
    """Who waits gets the error, streams opened before and after end with it, the thread ends."""
    error = RuntimeError("no device")
    preparing, early = PreparingDecoder(decoder, error), RecordingListener()
    thread = CodecThread(preparing)
    thread.open(early)
    preparing.may_go_on.set()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no device"):
            thread.wait_until_ready()
    assert early.ended.wait(20)
    assert early.error is error
    thread._thread.join(20)
    assert not thread._thread.is_alive()
    late = RecordingListener()
    stream = thread.open(late)
    assert late.ended.is_set()
    assert late.error is error
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    thread.drop(stream)
    thread.close()


def test_a_stream_opened_after_the_end_is_ended_at_once(decoder: CodecDecoder) -> None:
    """A thread that was closed keeps nobody waiting."""
    thread = CodecThread(StreamingDecoder(decoder, 1))
    thread.wait_until_ready()
    thread.close()
    listener = RecordingListener()
    thread.open(listener)
    assert listener.ended.is_set()
    assert listener.error is not None


def test_all_work_is_done_on_a_stream_of_the_thread(
    decoder: CodecDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing and decoding happen in the codec's thread, inside one CUDA stream."""
    entered: list[tuple[str, torch.device, int]] = []
    inside: set[str] = set()
    seen: list[tuple[str, bool]] = []

    @contextmanager
    def recorded_stream(device: torch.device, priority: int) -> Iterator[None]:
        name = threading.current_thread().name
        entered.append((name, device, priority))
        inside.add(name)
        yield
        inside.remove(name)

    class WatchedDecoder(StreamingDecoder):
        def prepare(self) -> None:
            self.record()

        def open(self, stream: int) -> None:
            self.record()
            super().open(stream)

        def advance(self, pieces: Sequence[CodecPiece]) -> list[np.ndarray]:
            self.record()
            return super().advance(pieces)

        def record(self) -> None:
            name = threading.current_thread().name
            seen.append((name, name in inside))

    monkeypatch.setattr("higgs_worker.codec.streaming.own_stream", recorded_stream)
    thread, listener = CodecThread(WatchedDecoder(decoder, 1)), RecordingListener()
    stream = thread.open(listener)
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    assert listener.ended.wait(20)
    thread.close()
    assert entered == [("codec", torch.device("cpu"), MIDDLE)]
    assert seen == [("codec", True)] * 3
    assert not inside


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")],
)
def test_a_full_device_is_said_in_words(decoder: CodecDecoder, error: Exception) -> None:
    """The listener gets an error with advice, without the tensors of the call; others go on."""

    class FullOnce(StreamingDecoder):
        is_full = True

        def advance(self, pieces: Sequence[CodecPiece]) -> list[np.ndarray]:
            if self.is_full:
                self.is_full = False
                raise error
            return super().advance(pieces)

    thread = CodecThread(FullOnce(decoder, 1))
    for expected in (EngineFailed, None):
        listener = RecordingListener()
        stream = thread.open(listener)
        thread.feed(stream, random_codes(1, 12))
        thread.finish(stream)
        assert listener.ended.wait(20)
        if expected is None:
            assert listener.error is None
            close(np.concatenate(listener.pcm), whole(decoder, random_codes(1, 12)))
        else:
            assert isinstance(listener.error, expected)
            assert "out of memory" in listener.error.message
            assert "HIGGS_MAX_SLOTS" in listener.error.message
            assert listener.error.__cause__ is listener.error.__context__ is None
    thread.close()
