"""One attempt at one chunk: a sequence in the engine, its frames in the codec, PCM as it comes.

Frames go from the engine's thread to the codec's and PCM from there to the event loop, so nothing
here waits for a whole. Knows no request and judges nothing.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from higgs_worker.engine.sequence import Codes, Generation, Submission
from higgs_worker.errors import InternalError, WorkerError

if TYPE_CHECKING:
    from higgs_worker.codec.thread import CodecThread
    from higgs_worker.engine.engine import Engine

PCM = NDArray[np.float32]
"""[S], mono, nominally in [-1, 1]."""


class Attempt:
    """Speaks one submission; iterate over it once to hear it.

    Leaving the iteration early cancels what has not been generated.
    """

    def __init__(
        self, engine: "Engine", codec: "CodecThread", submission: Submission, *, is_live: bool
    ) -> None:
        """Queue the submission.

        Args:
            engine: generates frames.
            codec: turns them into PCM.
            submission: what to generate.
            is_live: whether PCM is wanted as early as can be; else it comes in larger pieces, which
                cost less and are of the same sizes every time.

        Raises:
            WorkerError: the engine does not take it.
        """
        self._codec = codec
        self._frames: list[Codes] = []
        self._is_complete = False
        self._ear = _PcmQueue(asyncio.get_running_loop())
        self._stream = codec.open(self._ear, is_live=is_live)
        try:
            self._handle = engine.submit(
                submission, on_frames=self._on_frames, num_first_frames=codec.num_first_frames
            )
        except WorkerError:
            codec.drop(self._stream)
            raise
        self._handle.when_done(self._on_generated)

    @property
    def codes(self) -> Codes:
        """[F, K], the frames so far."""
        return np.concatenate(self._frames) if self._frames else np.zeros((0, 1), np.int64)

    @property
    def generation(self) -> Generation | None:
        """What was generated; None when it was left early."""
        return self._handle.result(0) if self._is_complete else None

    async def __aiter__(self) -> AsyncGenerator[PCM, None]:
        """Give the PCM piece by piece, each final.

        Raises:
            WorkerError: it could not be spoken to its end.
        """
        try:
            while (pcm := await self._ear.next()) is not None:
                yield pcm
            self._is_complete = True
        finally:
            # Both do nothing when all has been said.
            self._handle.cancel()
            self._codec.drop(self._stream)

    def _on_frames(self, codes: Codes) -> None:
        """In the engine's thread: the next frames."""
        self._frames.append(codes)
        self._codec.feed(self._stream, codes)

    def _on_generated(self, error: WorkerError | None) -> None:
        """In the engine's thread: no more frames will come."""
        if error is None:
            self._codec.finish(self._stream)
        else:
            self._codec.drop(self._stream)
            self._ear.on_end(error)


class _PcmQueue:
    """Carries PCM from the codec's thread into an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._heard: asyncio.Queue[PCM | Exception | None] = asyncio.Queue()

    def on_pcm(self, pcm: PCM) -> None:
        """Take the next samples, in any thread."""
        self._put(pcm)

    def on_end(self, error: Exception | None) -> None:
        """Take the end, in any thread."""
        self._put(error)

    async def next(self) -> PCM | None:
        """Wait for the next samples; None: it is complete."""
        item = await self._heard.get()
        if isinstance(item, WorkerError):
            raise item
        if isinstance(item, Exception):
            raise InternalError("the codec failed; send this again") from item
        return item

    def _put(self, item: PCM | Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._heard.put_nowait, item)
        except RuntimeError:
            # The loop is closed: whoever listened is gone.
            return
