"""The codec's thread: everyone hears their own audio, in pieces that follow their pace."""

import threading
import time
from collections.abc import Sequence

import numpy as np

from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder
from higgs_worker.codec.thread import CodecStream, CodecThread
from tests.codec.streams import close, random_codes, whole

HOP = 960


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.pcm: list[np.ndarray] = []
        self.ended = threading.Event()
        self.error: Exception | None = None
        self._heard = threading.Condition()

    def on_pcm(self, pcm: np.ndarray) -> None:
        """Keep the samples."""
        assert not self.ended.is_set()
        with self._heard:
            self.pcm.append(pcm)
            self._heard.notify()

    def on_end(self, error: Exception | None) -> None:
        """Note the end, which comes once."""
        assert not self.ended.is_set()
        self.error = error
        self.ended.set()

    def wait(self, num_pieces: int) -> None:
        """Wait until so many pieces have come."""
        with self._heard:
            assert self._heard.wait_for(lambda: len(self.pcm) >= num_pieces, timeout=20)


class StoppedClock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Give the time."""
        return self.now


class RecordingDecoder(StreamingDecoder):
    """Remembers how many frames of how many streams it was given at a time."""

    def __init__(self, decoder: CodecDecoder, num_streams: int) -> None:
        super().__init__(decoder, num_streams)
        self.calls: list[list[int]] = []

    def advance(self, pieces: Sequence[CodecPiece]) -> list[np.ndarray]:
        """Decode, and note the sizes."""
        self.calls.append([len(piece.codes) for piece in pieces])
        return super().advance(pieces)


def test_the_thread_serves_more_listeners_than_streams(decoder: CodecDecoder) -> None:
    """Seven listeners on three streams, fed from several threads, each hear their own audio."""
    thread = CodecThread(StreamingDecoder(decoder, 3))
    ears = [Ear() for _ in range(7)]
    codes = [random_codes(i, 12 + 5 * i) for i in range(7)]

    def speak(i: int) -> None:
        stream = thread.open(ears[i])
        for start in range(0, len(codes[i]), 8):
            thread.feed(stream, codes[i][start : start + 8])
            time.sleep(0.002)
        thread.finish(stream)

    speakers = [threading.Thread(target=speak, args=(i,)) for i in range(7)]
    for speaker in speakers:
        speaker.start()
    for ear, expected in zip(ears, codes, strict=True):
        assert ear.ended.wait(20)
        assert ear.error is None
        close(np.concatenate(ear.pcm), whole(decoder, expected))
    thread.close()


def test_a_dropped_stream_is_silent_and_frees_its_place(decoder: CodecDecoder) -> None:
    """Dropping a stream lets the next one in, and its listener hears no end."""
    thread = CodecThread(StreamingDecoder(decoder, 1))
    gone, ear = Ear(), Ear()
    first = thread.open(gone)
    thread.feed(first, random_codes(0, 30))
    thread.drop(first)
    stream = thread.open(ear)
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    assert ear.ended.wait(20)
    close(np.concatenate(ear.pcm), whole(decoder, random_codes(1, 12)))
    assert not gone.ended.is_set()
    thread.close()


def test_a_failure_ends_its_listeners_and_the_thread_goes_on(decoder: CodecDecoder) -> None:
    """Codes that cannot be decoded end their stream with the error; the next stream is served."""
    thread = CodecThread(StreamingDecoder(decoder, 2))
    bad, good = Ear(), Ear()
    stream = thread.open(bad)
    thread.feed(stream, np.full((12, 8), 10**6))
    assert bad.ended.wait(20)
    assert bad.error is not None
    stream = thread.open(good)
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    assert good.ended.wait(20)
    assert good.error is None
    thread.close()


def test_closing_ends_what_waits(decoder: CodecDecoder) -> None:
    """Nobody waits for a thread that is gone."""
    thread = CodecThread(StreamingDecoder(decoder, 1))
    ear = Ear()
    thread.feed(thread.open(ear), random_codes(0, 3))
    thread.close()
    assert ear.ended.is_set()
    assert ear.error is not None


def test_pieces_grow_with_the_lead(decoder: CodecDecoder) -> None:
    """A live stream is heard at once and small, then, half a second ahead, in large pieces."""
    recorded, clock, ear = RecordingDecoder(decoder, 1), StoppedClock(), Ear()
    thread = CodecThread(recorded, clock=clock)
    stream = thread.open(ear)
    codes = random_codes(1, 100)
    fed = 0

    def feed(count: int) -> None:
        nonlocal fed
        thread.feed(stream, codes[fed : fed + count])
        fed += count

    feed(4)
    feed(6)
    ear.wait(1)
    feed(8)
    ear.wait(2)
    feed(8)
    ear.wait(3)
    for _ in range(4):
        feed(8)
    ear.wait(4)
    clock.now += 10
    feed(3)
    ear.wait(5)
    assert recorded.calls == [[10], [8], [8], [24], [11]]
    assert [len(pcm) for pcm in ear.pcm] == [142, 8 * HOP, 8 * HOP, 24 * HOP, 11 * HOP]
    feed(30)
    thread.finish(stream)
    assert ear.ended.wait(20)
    assert recorded.calls[5:] == [[24], [6]]
    close(np.concatenate(ear.pcm), whole(decoder, codes[:fed]))
    thread.close()


def test_a_listener_does_not_run_dry(decoder: CodecDecoder) -> None:
    """Frames that are too few for a large piece are decoded in time, without another call."""
    recorded, ear = RecordingDecoder(decoder, 1), Ear()
    thread = CodecThread(recorded)
    stream = thread.open(ear)
    thread.feed(stream, random_codes(1, 24))
    ear.wait(1)
    thread.feed(stream, random_codes(2, 5))
    ear.wait(2)
    assert recorded.calls == [[24], [5]]
    thread.close()


def test_whole_results_come_in_large_pieces(decoder: CodecDecoder) -> None:
    """Streams that nobody hears yet wait for a large piece, and advance together."""
    recorded = RecordingDecoder(decoder, 3)
    thread = CodecThread(recorded, clock=StoppedClock())
    ears = [Ear() for _ in range(3)]
    streams: list[CodecStream] = []
    codes = [random_codes(i, 48) for i in range(3)]
    with thread._wake:  # so that all are there when the thread looks
        for ear, frames in zip(ears, codes, strict=True):
            streams.append(thread.open(ear, is_live=False))
            for first in range(0, 48, 8):
                thread.feed(streams[-1], frames[first : first + 8])
    for ear in ears:
        ear.wait(1)
    with thread._wake:
        for stream in streams:
            thread.finish(stream)
    for ear, frames in zip(ears, codes, strict=True):
        assert ear.ended.wait(20)
        close(np.concatenate(ear.pcm), whole(decoder, frames))
    assert recorded.calls == [[24] * 3, [24] * 3]
    thread.close()


def test_a_listener_that_fails_harms_no_other(decoder: CodecDecoder) -> None:
    """What a listener raises ends its call's streams, each once, and the thread goes on."""

    class Deaf(Ear):
        def on_pcm(self, pcm: np.ndarray) -> None:
            raise OSError("the line is cut")

    thread = CodecThread(StreamingDecoder(decoder, 2), clock=StoppedClock())
    ears = [Ear(), Deaf()]
    with thread._wake:
        for ear in ears:
            stream = thread.open(ear)
            thread.feed(stream, random_codes(1, 12))
            thread.finish(stream)
    for ear in ears:
        assert ear.ended.wait(20)
    assert ears[0].error is None
    assert isinstance(ears[1].error, OSError)
    ear = Ear()
    stream = thread.open(ear)
    thread.feed(stream, random_codes(2, 12))
    thread.finish(stream)
    assert ear.ended.wait(20)
    close(np.concatenate(ear.pcm), whole(decoder, random_codes(2, 12)))
    thread.close()
