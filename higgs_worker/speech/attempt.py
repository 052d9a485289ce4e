"""One attempt at one chunk: a sequence in the engine, its frames in the codec, PCM as it comes.

The engine's thread hands frames to the codec's thread, and that one hands PCM to the event loop, so
no part waits for the whole.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import numpy as np

from higgs_worker.audio.pcm import PCM
from higgs_worker.engine.sequence import Codes, Generation, Submission
from higgs_worker.errors import InternalError, WorkerError

if TYPE_CHECKING:
    from higgs_worker.codec.thread import CodecThread
    from higgs_worker.engine.engine import Engine


class Attempt:
    """Generates one submission; iterate over it once for its PCM.

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
            is_live: whether PCM is wanted as early as possible. Otherwise it comes in larger
                pieces, which cost less and have the same sizes every time.

        Raises:
            WorkerError: the engine refuses the submission.
        """
        self._codec = codec
        self._frames: list[Codes] = []
        self._is_complete = False
        self._queue = _PcmQueue(asyncio.get_running_loop())
        self._stream = codec.open(self._queue, is_live=is_live)
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
        """What was generated; None when the iteration was left early."""
        return self._handle.result(0) if self._is_complete else None

    async def __aiter__(self) -> AsyncGenerator[PCM, None]:
        """Yield the PCM piece by piece; a piece is final.

        Raises:
            WorkerError: generation failed before its end.
        """
        try:
            while (pcm := await self._queue.next()) is not None:
                yield pcm
            self._is_complete = True
        finally:
            # Both do nothing after a complete iteration.
            self._handle.cancel()
            self._codec.drop(self._stream)

    def _on_frames(self, codes: Codes) -> None:
        """Pass the next frames on. Called in the engine's thread."""
        self._frames.append(codes)
        self._codec.feed(self._stream, codes)

    def _on_generated(self, error: WorkerError | None) -> None:
        """End the codec's stream. Called in the engine's thread, after the last frames."""
        if error is None:
            self._codec.finish(self._stream)
        else:
            self._codec.drop(self._stream)
            self._queue.on_end(error)


class _PcmQueue:
    """Carries PCM from the codec's thread into an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: asyncio.Queue[PCM | Exception | None] = asyncio.Queue()

    def on_pcm(self, pcm: PCM) -> None:
        """Add the next samples. Any thread may call."""
        self._put(pcm)

    def on_end(self, error: Exception | None) -> None:
        """Add the end; None means success. Any thread may call."""
        self._put(error)

    async def next(self) -> PCM | None:
        """Wait for the next samples and return them, or None at the end."""
        item = await self._items.get()
        if isinstance(item, WorkerError):
            raise item
        if isinstance(item, Exception):
            raise InternalError("the codec failed; send this again") from item
        return item

    def _put(self, item: PCM | Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:
            # The loop is closed: nobody waits for PCM any more.
            return
