"""The thread that decodes codes into PCM while the engine generates more of them.

The engine feeds frames as they come and does not wait; the listener's callbacks receive PCM. Each
stream has a schedule (see `piece_schedule.py`) that says when its frames are due. All streams that
are due at the same time are decoded together. The decoder has state for a fixed number of streams;
further ones wait for their turn, and keep their frames until then.

On a GPU the thread works on a CUDA stream of its own and first captures the decoder's calls, about
a second's work; streams may be opened meanwhile.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from higgs_worker.codec.piece_schedule import FIRST_SOUND_FRAMES, NEVER, NOW, PieceSchedule
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder
from higgs_worker.errors import EngineFailed, is_out_of_memory

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S = 30.0
"""How long `close` waits for the current call; far longer than any call takes."""


class Listener(Protocol):
    """Receives the audio of a stream. Runs in the codec's thread, so it must be quick."""

    def on_pcm(self, pcm: NDArray[np.float32]) -> None:
        """Receive the next samples [S], never empty."""

    def on_end(self, error: Exception | None) -> None:
        """Receive the end: None if the audio is complete, else the reason why it is not."""


class CodecStream:
    """Frames of one audio on their way to a listener."""

    def __init__(self, listener: Listener, schedule: PieceSchedule, num_codebooks: int) -> None:
        self.listener = listener
        self.schedule = schedule
        self.is_complete = False
        self.is_dropped = False
        self.index: int | None = None
        """The decoder's stream; None while it waits for one."""
        self.is_open = False
        """Whether that stream was reset for this audio."""
        self._pending = np.zeros((0, num_codebooks), dtype=np.int64)

    @property
    def due(self) -> float:
        """When the thread must look at it next: to decode a piece, or to remove it."""
        if self.is_dropped:
            return NOW
        return self.schedule.due(len(self._pending), self.is_complete)

    def add(self, codes: NDArray[np.int64]) -> None:
        """Add frames [F, K]."""
        self._pending = np.concatenate([self._pending, codes])

    def pop_piece(self) -> CodecPiece:
        """Remove and return the next piece."""
        if self.index is None:
            raise ValueError("the stream has no state")
        size = self.schedule.take(len(self._pending), self.is_complete)
        codes, self._pending = np.split(self._pending, [size])
        return CodecPiece(self.index, codes, is_last=self.is_complete and not len(self._pending))


class CodecThread:
    """Runs a `StreamingDecoder` in a thread of its own."""

    def __init__(
        self, decoder: StreamingDecoder, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the thread, which prepares the decoder first."""
        self._decoder = decoder
        self._clock = clock
        self.num_frames = 0
        """Decoded since the start."""
        self._free = list(range(decoder.num_streams))
        self._wake = threading.Condition()
        # Guarded by `_wake`, in order of arrival.
        self._streams: list[CodecStream] = []
        self._closing = False
        self._end_error: Exception | None = None
        """Why no stream is served any more; None while the thread runs."""
        self._prepared: Future[None] = Future()
        self._thread = threading.Thread(target=self._serve, name="codec", daemon=True)
        self._thread.start()

    @property
    def num_first_frames(self) -> int:
        """Frames of a live stream's first piece."""
        return self._decoder.num_lag_frames + FIRST_SOUND_FRAMES

    def wait_until_ready(self) -> None:
        """Block until the decoder is prepared; streams that are opened earlier wait by themselves.

        Raises:
            Exception: what `StreamingDecoder.prepare` raised; the thread has ended.
        """
        self._prepared.result()

    def open(self, listener: Listener, *, is_live: bool = True) -> CodecStream:
        """Open a stream; one that is not live comes in few, large pieces.

        Once the thread has ended, the listener receives the end at once, in the caller's thread.
        """
        schedule = PieceSchedule(
            sample_rate=self._decoder.config.sample_rate,
            num_first_frames=self.num_first_frames,
            is_live=is_live,
        )
        stream = CodecStream(listener, schedule, self._decoder.config.num_codebooks)
        with self._wake:
            error = self._end_error
            if error is None:
                self._streams.append(stream)
        if error is not None:
            listener.on_end(error)
        return stream

    def feed(self, stream: CodecStream, codes: NDArray[np.int64]) -> None:
        """Add frames [F, K]."""
        if not len(codes):
            return
        with self._wake:
            stream.add(codes)
            self._wake.notify()

    def finish(self, stream: CodecStream) -> None:
        """Mark a stream as fed completely; the listener receives the rest, then the end."""
        with self._wake:
            stream.is_complete = True
            self._wake.notify()

    def drop(self, stream: CodecStream) -> None:
        """Abandon a stream; at most the call under way still reaches its listener."""
        with self._wake:
            stream.is_dropped = True
            self._wake.notify()

    def close(self) -> None:
        """Stop the thread; streams that are not complete end with an error."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _serve(self) -> None:
        end_error: Exception = RuntimeError("the codec is closed")
        try:
            with self._decoder.own_stream():
                self._decoder.prepare()
                self._prepared.set_result(None)
                self._serve_until_closed()
        except Exception as error:
            log.exception("the codec's thread has ended")
            end_error = _for_listener(error)
            if not self._prepared.done():
                self._prepared.set_exception(error)
        with self._wake:
            self._end_error = end_error
        for stream in list(self._streams):
            self._end(stream, end_error)

    def _serve_until_closed(self) -> None:
        while (work := self._wait_for_work()) is not None:
            try:
                self._decode(work)
            except Exception as error:
                # These listeners must not wait for ever; other streams go on.
                log.exception("the codec failed", extra={"num_streams": len(work)})
                for stream, _ in work:
                    self._end(stream, _for_listener(error))

    def _wait_for_work(self) -> list[tuple[CodecStream, CodecPiece]] | None:
        """Wait until pieces are due and return them; None once the thread is closing."""
        with self._wake:
            while not self._closing:
                now = self._clock()
                if work := self._pop_due(now):
                    return work
                next_due = min(map(self._due, self._streams), default=NEVER)
                self._wake.wait(None if next_due == NEVER else max(0.0, next_due - now))
        return None

    def _due(self, stream: CodecStream) -> float:
        has_state = stream.index is not None or bool(self._free)
        return stream.due if has_state else NEVER

    def _pop_due(self, now: float) -> list[tuple[CodecStream, CodecPiece]]:
        """Return the pieces due by now; with its first piece a stream gets its decoder state."""
        for stream in [stream for stream in self._streams if stream.is_dropped]:
            self._remove(stream)
        work = []
        for stream in self._streams:
            if self._due(stream) > now:
                continue
            if stream.index is None:
                stream.index = self._free.pop()
            work.append((stream, stream.pop_piece()))
        return work

    def _decode(self, work: list[tuple[CodecStream, CodecPiece]]) -> None:
        for stream, piece in work:
            if not stream.is_open:
                self._decoder.open(piece.stream)
                stream.is_open = True
        pieces = [piece for _, piece in work]
        decoded = self._decoder.advance(pieces)
        self.num_frames += sum(len(piece.codes) for piece in pieces)
        for (stream, piece), pcm in zip(work, decoded, strict=True):
            if len(pcm) and not stream.is_dropped:
                stream.schedule.record_delivery(len(pcm), self._clock())
                stream.listener.on_pcm(pcm)
            if piece.is_last:
                self._end(stream, None)

    def _end(self, stream: CodecStream, error: Exception | None) -> None:
        with self._wake:
            if stream not in self._streams:
                return
            self._remove(stream)
        if not stream.is_dropped:
            stream.listener.on_end(error)

    def _remove(self, stream: CodecStream) -> None:
        self._streams.remove(stream)
        if stream.index is not None:
            self._free.append(stream.index)
            stream.index = None


def _for_listener(error: Exception) -> Exception:
    """Return what the listeners of a call that failed are told."""
    if not is_out_of_memory(error):
        return error
    return EngineFailed(
        "the device ran out of memory while it decoded audio; send this again, or lower "
        "HIGGS_MAX_SLOTS"
    )
