"""Requests in, speech sessions out.

Loads the model once, in a thread of its own: when it is told to, or with the first request.
Requests are validated before they come here.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from higgs_worker.api.progress import OnProgress
from higgs_worker.api.reading import Reading
from higgs_worker.api.request import SpeechRequest
from higgs_worker.errors import WorkerError
from higgs_worker.metrics.worker_metrics import WorkerMetrics
from higgs_worker.speech.chunking import STRETCH_CHUNKS, ChunkPlan, plan
from higgs_worker.speech.clock import Clock
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.reading import reading_of
from higgs_worker.speech.session import SpeechSession
from higgs_worker.voices.continuity import Continuity
from higgs_worker.voices.references import Reference, References

REPORT_EVERY_S = 1.0
"""How often a request that waits for the model is told how far the load is."""

log = logging.getLogger(__name__)


class SpeechService:
    """Speaks requests, as many at once as there are slots; further ones wait in the engine."""

    def __init__(
        self,
        load: Callable[[], LoadedModel],
        status: Callable[[], str] = lambda: "",
        *,
        max_chunk_words: int | None = None,
        metrics: WorkerMetrics | None = None,
    ) -> None:
        """Nothing is loaded yet.

        Args:
            load: returns the model or raises a WorkerError; blocks.
            status: describes how far the load is.
            max_chunk_words: the most that this model can say at once, whatever a request asks for.
            metrics: of the worker; None: nobody looks at them.
        """
        self._load = load
        self._status = status
        self._max_chunk_words = max_chunk_words
        self._metrics = metrics or WorkerMetrics()
        self._loading: Future[LoadedModel] | None = None

    def preload(self) -> None:
        """Start to load the model. A failure is logged, and the first request tries again."""

        def log_failure(done: "Future[LoadedModel]") -> None:
            error = done.exception()
            if error is not None:
                log.warning(
                    "the model could not be loaded at start, the first job tries again: %s", error
                )

        self._start_loading().add_done_callback(log_failure)

    async def start(
        self,
        request: SpeechRequest,
        on_progress: OnProgress | None = None,
        *,
        is_live: bool = True,
        continuity: Continuity | None = None,
    ) -> SpeechSession:
        """Prepare to speak a request and return its session; iterate over that for the PCM.

        Args:
            request: what to speak, and how.
            on_progress: is told about the load of the model, in the event loop.
            is_live: see `SpeechSession`.
            continuity: of the conversation that this request belongs to.

        Raises:
            WorkerError: the request cannot be spoken.
        """
        arrived = time.perf_counter()
        request = self._fitting(request)
        # Before the model is loaded: an error in the text is told at once.
        chunk_plan = await asyncio.to_thread(plan, request)
        planned = time.perf_counter()
        model = await self._loaded(on_progress)
        # Whoever began the load, a request that waits for it waits for no other request.
        loaded = time.perf_counter()
        clock = Clock(arrived, queue_s=planned - arrived, load_s=loaded - planned)
        references = await _resolve_references(model.references, chunk_plan)
        if continuity is not None:
            references = continuity.references | references
        return SpeechSession(
            model,
            request,
            chunk_plan,
            references,
            seed=secrets.randbelow(2**63) if request.seed is None else request.seed,
            clock=clock,
            is_live=is_live,
            metrics=self._metrics,
            continuity=continuity,
        )

    async def read(self, request: SpeechRequest) -> Reading:
        """Tell what would be spoken; needs no model, and starts to load none.

        Voices are not looked for.

        Raises:
            InvalidRequest: a tag is wrong, or nothing is left to say.
        """
        request = self._fitting(request)
        chunk_plan = await asyncio.to_thread(plan, request)
        num = STRETCH_CHUNKS
        # Stretch by stretch: if the caller gives up, the rest is not planned.
        while len(await asyncio.to_thread(chunk_plan.first, num)) == num:
            num += STRETCH_CHUNKS
        return await asyncio.to_thread(reading_of, request, chunk_plan)

    def _fitting(self, request: SpeechRequest) -> SpeechRequest:
        """Return a request whose chunks this model can say."""
        if self._max_chunk_words is None or request.chunk_words <= self._max_chunk_words:
            return request
        return request.model_copy(update={"chunk_words": self._max_chunk_words})

    def _start_loading(self) -> "Future[LoadedModel]":
        """Load the model once, however many ask for it; a request that ends early ends no load."""
        if self._loading is not None:
            return self._loading
        loading = self._loading = Future()
        loading.set_running_or_notify_cancel()  # from here on nobody can cancel it for the others

        def load() -> None:
            try:
                model = self._load()
                self._metrics.watch(model.engine, model.codec)
                loading.set_result(model)
            except BaseException as error:
                if not isinstance(error, WorkerError):
                    # Here and not with the job that waits: of that, no message is logged.
                    log.exception("the model could not be loaded")
                # The next request tries again: the weights may be there by then.
                self._loading = None
                loading.set_exception(error)

        # A daemon thread: a worker that is told to stop does not wait for gigabytes.
        threading.Thread(target=load, name="load", daemon=True).start()
        return loading

    async def _loaded(self, on_progress: OnProgress | None) -> LoadedModel:
        loading = asyncio.wrap_future(self._start_loading())
        # Mark the exception as retrieved; asyncio would otherwise warn when nobody awaits it.
        loading.add_done_callback(lambda done: done.cancelled() or done.exception())
        while not loading.done():
            if on_progress is not None:
                on_progress(0.0, self._status() or "loading the model")
            await asyncio.wait([loading], timeout=REPORT_EVERY_S)
        if on_progress is not None:
            on_progress(0.0)
        return loading.result()


async def _resolve_references(
    library: References, chunk_plan: ChunkPlan
) -> dict[str | None, Reference]:
    """Return the recordings of all speakers who have one, found side by side."""
    wanted = {
        speaker: role.voice
        for speaker, role in chunk_plan.roles.items()
        if role.voice is not None and role.has_recording
    }
    found = await asyncio.gather(
        *(asyncio.to_thread(library.resolve, voice) for voice in wanted.values())
    )
    return dict(zip(wanted, found, strict=True))
