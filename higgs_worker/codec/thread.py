"""The thread that turns codes into PCM while the engine's thread makes more of them.

Whoever generates feeds frames as they come and goes on; whoever listens is called with PCM. All
that waits at the same time is decoded together, streams with equally many frames in one call.
Streams beyond the decoder's number wait their turn, and keep their frames.
"""

import logging
import threading
from collections import deque
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from higgs_worker.codec.streaming import Piece, StreamingDecoder

log = logging.getLogger(__name__)

MAX_PIECE_FRAMES = 25
"""A second of audio: bounds the memory of a call, and how long one stream holds up the others."""
CLOSE_TIMEOUT_S = 30.0


class Listener(Protocol):
    """Who hears a stream; called in the codec's thread, so it must be quick."""

    def on_pcm(self, pcm: NDArray[np.float32]) -> None:
        """Take the next samples [S], never empty."""

    def on_end(self, error: Exception | None) -> None:
        """Nothing more will come: the audio is complete, or this is why it is not."""


class CodecStream:
    """One stream of frames on its way to a listener."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.pending: deque[NDArray[np.int64]] = deque()
        self.is_complete = False
        self.is_dropped = False
        self.index: int | None = None
        """Where the decoder keeps its state."""

    @property
    def needs_work(self) -> bool:
        """Whether there is something to decode or to tidy up."""
        return bool(self.pending) or self.is_complete or self.is_dropped

    def take(self, max_frames: int) -> NDArray[np.int64]:
        """Take up to some frames off the front, [F, K]."""
        taken: list[NDArray[np.int64]] = []
        while self.pending and max_frames:
            first = self.pending.popleft()
            if len(first) > max_frames:
                self.pending.appendleft(first[max_frames:])
            taken.append(first[:max_frames])
            max_frames -= len(taken[-1])
        return np.concatenate(taken)


class CodecThread:
    """Runs a `StreamingDecoder` in a thread of its own."""

    def __init__(self, decoder: StreamingDecoder) -> None:
        self._decoder = decoder
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

    def open(self, listener: Listener) -> CodecStream:
        """Begin a stream."""
        stream = CodecStream(listener)
        with self._wake:
            self._streams.append(stream)
        return stream

    def feed(self, stream: CodecStream, codes: NDArray[np.int64]) -> None:
        """Add frames [F, K]."""
        if not len(codes):
            return
        with self._wake:
            stream.pending.append(codes)
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
        while True:
            with self._wake:
                while not (self._closing or any(map(self._can_work, self._streams))):
                    self._wake.wait()
                if self._closing:
                    return
                work = self._admit()
            try:
                self._decode(work)
            except Exception as error:
                # The listeners must not wait for ever; the frames of others are not lost.
                log.exception("the codec failed", extra={"num_streams": len(work)})
                for stream in work:
                    self._end(stream, error)

    def _can_work(self, stream: CodecStream) -> bool:
        has_place = stream.index is not None or bool(self._free) or stream.is_dropped
        return stream.needs_work and has_place

    def _admit(self) -> list[CodecStream]:
        """Give decoder streams to those that have something to decode, as far as they go."""
        for stream in [stream for stream in self._streams if stream.is_dropped]:
            self._forget(stream)
        work = []
        for stream in self._streams:
            if not self._can_work(stream):
                continue
            if stream.index is None:
                stream.index = self._free.pop()
                self._decoder.open(stream.index)
            work.append(stream)
        return work

    def _decode(self, work: list[CodecStream]) -> None:
        with self._wake:
            fed = [(s, s.take(MAX_PIECE_FRAMES)) for s in work if s.pending and s.index is not None]
        pieces = [Piece(_index(stream), codes) for stream, codes in fed]
        for (stream, _), pcm in zip(fed, self._decoder.advance(pieces), strict=True):
            self._tell(stream, pcm)
        with self._wake:
            ending = [s for s in work if s.is_complete and not s.pending and s.index is not None]
        tails = self._decoder.finish([_index(stream) for stream in ending])
        for stream, pcm in zip(ending, tails, strict=True):
            self._tell(stream, pcm)
            self._end(stream, None)

    def _tell(self, stream: CodecStream, pcm: NDArray[np.float32]) -> None:
        if len(pcm) and not stream.is_dropped:
            stream.listener.on_pcm(pcm)

    def _end(self, stream: CodecStream, error: Exception | None) -> None:
        with self._wake:
            self._forget(stream)
            if stream.is_dropped:
                return
        stream.listener.on_end(error)

    def _forget(self, stream: CodecStream) -> None:
        self._streams.remove(stream)
        if stream.index is not None:
            self._free.append(stream.index)
            stream.index = None


def _index(stream: CodecStream) -> int:
    if stream.index is None:
        raise ValueError("the stream has no state")
    return stream.index
