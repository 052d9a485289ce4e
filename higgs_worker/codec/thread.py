"""The thread that turns codes into PCM while the engine's thread makes more of them.

Whoever generates feeds frames as they come and goes on; whoever listens is called with PCM. Each
stream has a pace (see `pace.py`) that says when its frames are due; all that are due at the same
time are decoded together. Streams beyond the decoder's number wait their turn, and keep their
frames.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from higgs_worker.codec.pace import MAX_PIECE_FRAMES, NEVER, NOW, PieceSchedule
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 30.0


class Listener(Protocol):
    """Who hears a stream; called in the codec's thread, so it must be quick."""

    def on_pcm(self, pcm: NDArray[np.float32]) -> None:
        """Take the next samples [S], never empty."""

    def on_end(self, error: Exception | None) -> None:
        """Nothing more will come: the audio is complete, or this is why it is not."""


class CodecStream:
    """One stream of frames on its way to a listener."""

    def __init__(self, listener: Listener, pace: PieceSchedule, num_codebooks: int) -> None:
        self.listener = listener
        self.pace = pace
        self.is_complete = False
        self.is_dropped = False
        self.index: int | None = None
        """Where the decoder keeps its state."""
        self.has_begun = False
        """Whether that state is its own yet."""
        self._pending = np.zeros((0, num_codebooks), dtype=np.int64)

    @property
    def due(self) -> float:
        """When there is something to decode or to tidy up."""
        if self.is_dropped:
            return NOW
        return self.pace.due(len(self._pending), self.is_complete)

    def add(self, codes: NDArray[np.int64]) -> None:
        """Add frames [F, K]."""
        self._pending = np.concatenate([self._pending, codes])

    def take(self) -> CodecPiece:
        """Take the next piece off the front."""
        if self.index is None:
            raise ValueError("the stream has no state")
        taken, self._pending = np.split(self._pending, [MAX_PIECE_FRAMES])
        return CodecPiece(self.index, taken, is_last=self.is_complete and not len(self._pending))


class CodecThread:
    """Runs a `StreamingDecoder` in a thread of its own."""

    def __init__(
        self, decoder: StreamingDecoder, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._decoder = decoder
        self._clock = clock
        self._free = list(range(decoder.num_streams))
        self._wake = threading.Condition()
        # Guarded by `_wake`, in order of arrival.
        self._streams: list[CodecStream] = []
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="codec", daemon=True)
        self._thread.start()

    @property
    def num_first_frames(self) -> int:
        """Frames without which there is nothing to hear yet."""
        return self._decoder.num_lag_frames

    def open(self, listener: Listener, *, is_live: bool = True) -> CodecStream:
        """Begin a stream; one that is not live comes in few pieces, as only its end matters."""
        pace = PieceSchedule(
            sample_rate=self._decoder.config.sample_rate,
            num_first_frames=self.num_first_frames,
            is_live=is_live,
        )
        stream = CodecStream(listener, pace, self._decoder.config.num_codebooks)
        with self._wake:
            self._streams.append(stream)
        return stream

    def feed(self, stream: CodecStream, codes: NDArray[np.int64]) -> None:
        """Add frames [F, K]."""
        if not len(codes):
            return
        with self._wake:
            stream.add(codes)
            self._wake.notify()

    def finish(self, stream: CodecStream) -> None:
        """Say that all frames have been fed; the listener hears the rest, then the end."""
        with self._wake:
            stream.is_complete = True
            self._wake.notify()

    def drop(self, stream: CodecStream) -> None:
        """Give a stream up; at most the call that is under way still reaches its listener."""
        with self._wake:
            stream.is_dropped = True
            self._wake.notify()

    def close(self) -> None:
        """Stop the thread; what is not complete by now ends with an error."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _serve(self) -> None:
        with self._decoder.own_queue():
            self._serve_until_closed()
        for stream in list(self._streams):
            self._end(stream, RuntimeError("the codec is closed"))

    def _serve_until_closed(self) -> None:
        while (work := self._wait_for_work()) is not None:
            try:
                self._decode(work)
            except Exception as error:
                # The listeners must not wait for ever; the frames of others are not lost.
                log.exception("the codec failed", extra={"num_streams": len(work)})
                for stream, _ in work:
                    self._end(stream, error)

    def _wait_for_work(self) -> list[tuple[CodecStream, CodecPiece]] | None:
        """Wait until frames are due and take them; None: the thread is being closed."""
        with self._wake:
            while not self._closing:
                now = self._clock()
                if work := self._take(now):
                    return work
                next_due = min(map(self._due, self._streams), default=NEVER)
                self._wake.wait(None if next_due == NEVER else max(0.0, next_due - now))
        return None

    def _due(self, stream: CodecStream) -> float:
        has_place = stream.index is not None or bool(self._free)
        return stream.due if has_place else NEVER

    def _take(self, now: float) -> list[tuple[CodecStream, CodecPiece]]:
        """Take what is due by now; a stream gets its place in the decoder with its first piece."""
        for stream in [stream for stream in self._streams if stream.is_dropped]:
            self._forget(stream)
        work = []
        for stream in self._streams:
            if self._due(stream) > now:
                continue
            if stream.index is None:
                stream.index = self._free.pop()
            work.append((stream, stream.take()))
        return work

    def _decode(self, work: list[tuple[CodecStream, CodecPiece]]) -> None:
        for stream, piece in work:
            if not stream.has_begun:
                self._decoder.open(piece.stream)
                stream.has_begun = True
        pieces = [piece for _, piece in work]
        for (stream, piece), pcm in zip(work, self._decoder.advance(pieces), strict=True):
            if len(pcm) and not stream.is_dropped:
                stream.pace.passed_on(len(pcm), self._clock())
                stream.listener.on_pcm(pcm)
            if piece.is_last:
                self._end(stream, None)

    def _end(self, stream: CodecStream, error: Exception | None) -> None:
        with self._wake:
            if stream not in self._streams:
                return
            self._forget(stream)
        if not stream.is_dropped:
            stream.listener.on_end(error)

    def _forget(self, stream: CodecStream) -> None:
        self._streams.remove(stream)
        if stream.index is not None:
            self._free.append(stream.index)
            stream.index = None
