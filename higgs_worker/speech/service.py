"""Requests in, speech out.

Loads the model when it is told to or with the first request, once, and in a thread of its own;
`speech.py` does the rest. Knows no job, no HTTP and no platform; whoever calls it validated the
request.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import aclosing
from typing import Protocol

import numpy as np

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.audio import encode, shape
from higgs_worker.errors import WorkerError
from higgs_worker.speech.attempt import PCM
from higgs_worker.speech.chunking import ChunkPlan, plan
from higgs_worker.speech.session import Clock, LoadedModel, SpeechSession
from higgs_worker.voices.references import Reference, References

TOLD_EVERY_S = 1.0
"""How often who waits for the model is told how far it is."""


class OnProgress(Protocol):
    """Takes the share of the text that has been spoken, 0 to 1, and what else is under way."""

    def __call__(self, fraction: float, doing: str = "") -> None:
        """Take note; in the event loop."""


log = logging.getLogger(__name__)


class SpeechService:
    """Speaks requests, as many at once as there are slots; further ones wait in the engine."""

    def __init__(
        self,
        load: Callable[[], LoadedModel],
        status: Callable[[], str] = lambda: "",
        *,
        max_chunk_words: int | None = None,
    ) -> None:
        """Begin without a model.

        Args:
            load: gives it, or raises a WorkerError; blocks.
            status: says how far that is.
            max_chunk_words: more than these at once the model cannot say, whatever is asked for.
        """
        self._load = load
        self._status = status
        self._max_chunk_words = max_chunk_words
        self._loading: Future[LoadedModel] | None = None

    def preload(self) -> None:
        """Begin to load; a failure is logged, and the first request tries again."""

        def log_failure(done: "Future[LoadedModel]") -> None:
            error = done.exception()
            if error is not None:
                log.warning(
                    "the model could not be loaded at start, the first job tries again: %s",
                    error,
                    exc_info=None if isinstance(error, WorkerError) else error,
                )

        self._begin().add_done_callback(log_failure)

    async def start(
        self,
        request: SpeechRequest,
        on_progress: OnProgress | None = None,
        *,
        is_live: bool = True,
    ) -> SpeechSession:
        """Prepare to speak a request; its PCM comes piece by piece to whoever iterates.

        Raises:
            WorkerError: it cannot begin.
        """
        arrived = time.perf_counter()
        if self._max_chunk_words is not None and request.chunk_words > self._max_chunk_words:
            request = request.model_copy(update={"chunk_words": self._max_chunk_words})
        # Before anything heavy: what is wrong with a text is said at once.
        script = await asyncio.to_thread(plan, request)
        started = time.perf_counter()
        is_first = self._loading is None
        speaker = await self._loaded(on_progress)
        waited_s = time.perf_counter() - started
        # Who came while it was being loaded waited like in a queue.
        clock = Clock(
            arrived,
            queue_s=started - arrived + (0.0 if is_first else waited_s),
            load_s=waited_s if is_first else 0.0,
        )
        return SpeechSession(
            speaker,
            request,
            script,
            await _references(speaker.references, script),
            seed=secrets.randbelow(2**63) if request.seed is None else request.seed,
            clock=clock,
            is_live=is_live,
        )

    def _begin(self) -> "Future[LoadedModel]":
        """Load the model once, however many ask for it and whoever of them gives up."""
        if self._loading is not None:
            return self._loading
        loading = self._loading = Future()
        loading.set_running_or_notify_cancel()  # nobody can give it up for the others

        def load() -> None:
            try:
                loading.set_result(self._load())
            except BaseException as error:
                # Weights that were not there may be there next time.
                self._loading = None
                loading.set_exception(error)

        # A daemon: a worker that is told to stop waits for no gigabytes.
        threading.Thread(target=load, name="load", daemon=True).start()
        return loading

    async def _loaded(self, on_progress: OnProgress | None) -> LoadedModel:
        loading = asyncio.wrap_future(self._begin())
        loading.add_done_callback(lambda done: done.cancelled() or done.exception())  # it was seen
        while not loading.done():
            if on_progress is not None:
                on_progress(0.0, self._status() or "loading the model")
            await asyncio.wait([loading], timeout=TOLD_EVERY_S)
        if on_progress is not None:
            on_progress(0.0)
        return loading.result()

    async def speak(
        self, request: SpeechRequest, on_progress: OnProgress | None = None
    ) -> SpeechResult:
        """Speak one request to its end.

        Raises:
            WorkerError: with a code and a sentence for the caller.
        """
        speech = await self.start(request, on_progress, is_live=False)
        pieces = []
        async with aclosing(aiter(speech)) as heard:
            async for pcm in heard:
                pieces.append(pcm)
                if on_progress is not None:
                    on_progress(speech.fraction_spoken)
        rate = speech.speaker.sample_rate
        audio = await asyncio.to_thread(finish, np.concatenate(pieces), rate, request)
        return speech.result(audio)


async def _references(library: References, script: ChunkPlan) -> dict[str | None, Reference]:
    """Find the recordings of all speakers who have one, side by side."""
    wanted = {
        speaker: role.choice
        for speaker, role in script.roles.items()
        if role.choice is not None and role.has_recording
    }
    found = await asyncio.gather(
        *(asyncio.to_thread(library.resolve, choice) for choice in wanted.values())
    )
    return dict(zip(wanted, found, strict=True))


def finish(pcm: PCM, sample_rate: int, request: SpeechRequest) -> bytes:
    """Give the audio the speed, loudness, rate and form that were asked for; blocks."""
    if request.speed != 1:
        pcm = shape.change_speed(pcm, sample_rate, request.speed)
    if request.loudness_lufs is not None:
        pcm = shape.match_loudness(pcm, sample_rate, request.loudness_lufs)
    if request.sample_rate != sample_rate:
        pcm = shape.resample(pcm, sample_rate, request.sample_rate)
    return encode.encode(pcm, request.sample_rate, request.format)
