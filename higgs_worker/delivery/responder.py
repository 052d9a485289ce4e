"""A validated body in, the output of a reply out: for speech, for batches, for actions.

What a RunPod job and an HTTP request have in common lies here. Failures are raised; `to_error` logs
one and returns what the caller may see of it.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from higgs_worker.api import openai
from higgs_worker.api.action import Action, LibraryAction, ReadText
from higgs_worker.api.batch import Batch
from higgs_worker.api.openai import OpenAIList, OpenAISpeech
from higgs_worker.api.output import (
    rounded,
    to_failure,
    to_json_safe,
    to_output,
    to_reading_output,
)
from higgs_worker.api.progress import OnProgress
from higgs_worker.api.reading import Reading
from higgs_worker.api.request import FIELDS_BY_NAME, SpeechRequest
from higgs_worker.deadlines import Deadlines
from higgs_worker.delivery.budget import SizeBudget, without_details
from higgs_worker.delivery.delivery import Delivery
from higgs_worker.delivery.file import AudioFile, MemorySink
from higgs_worker.delivery.pieces import PieceQueue
from higgs_worker.delivery.sink import SpeechSource, deliver
from higgs_worker.errors import (
    BatchFailed,
    EngineBroken,
    InternalError,
    StorageFailed,
    WorkerError,
)
from higgs_worker.logs import frames_of, job_context
from higgs_worker.metrics.worker_metrics import CANCELLED, OK, RequestKind, WorkerMetrics
from higgs_worker.voices.actions import Actions
from higgs_worker.voices.continuity import Continuity

_MAX_NAME_LENGTH = 100
_MAX_BATCH_TEXTS = 64
"""Texts of batches that are spoken at once, so that they leave room in the engine's queue."""

log = logging.getLogger(__name__)


class Service(Protocol):
    """Speaks requests; `SpeechService`, or a stand-in."""

    def preload(self) -> None:
        """Start to load the model."""

    async def start(
        self,
        request: SpeechRequest,
        on_progress: OnProgress | None = None,
        *,
        is_live: bool = True,
        continuity: Continuity | None = None,
    ) -> SpeechSource:
        """Prepare to speak a request, or raise a WorkerError."""

    async def read(self, request: SpeechRequest) -> Reading:
        """Tell what would be spoken, or raise a WorkerError."""


@dataclass(frozen=True, slots=True)
class Responder:
    """Answers bodies with a service, a delivery and the actions."""

    service: Service
    actions: Actions
    delivery: Delivery = field(default_factory=Delivery)
    deadlines: Deadlines = field(default_factory=Deadlines)
    on_broken: Callable[[], None] = lambda: None
    """Called when nothing can be spoken any more in this process."""
    metrics: WorkerMetrics = field(default_factory=WorkerMetrics)
    kind: RequestKind = "job"
    """How these bodies came, for the metrics."""
    _batch_slots: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_MAX_BATCH_TEXTS), repr=False
    )

    async def act(
        self, body: Action | OpenAIList, budget: SizeBudget | None = None
    ) -> dict[str, Any]:
        """Return the output of an action or a list.

        Args:
            body: what is asked for.
            budget: of the reply; None: it may have any size.

        Raises:
            WorkerError: it cannot be done.
        """
        if isinstance(body, ReadText):
            reading = await self.service.read(body.request)
            output = await asyncio.to_thread(to_reading_output, reading)
        else:
            output = await asyncio.to_thread(self._act, body)
        if budget is not None:
            await asyncio.to_thread(budget.check, output)
        self.count_success()
        return output

    async def to_request(self, body: SpeechRequest | OpenAISpeech) -> SpeechRequest:
        """Return the request of a body, with a voice for one of OpenAI's."""
        if isinstance(body, SpeechRequest):
            return body
        if not openai.has_stand_in(body.request):
            return body.request  # nobody waits for the volume, which may be slow
        taken = await asyncio.to_thread(self.actions.library.taken_names)
        return openai.with_stand_in(body.request, taken)

    async def speak(
        self,
        name: str,
        request: SpeechRequest,
        budget: SizeBudget,
        on_progress: OnProgress,
        started: float,
    ) -> dict[str, Any]:
        """Speak one request and return the output, its audio delivered.

        Args:
            name: what the request is called in keys, files and the log.
            request: what to speak.
            budget: of the reply.
            on_progress: is told how far the request is.
            started: when the request came, on `time.perf_counter`.

        Raises:
            WorkerError: it could not be spoken or delivered.
        """
        key = await self.delivery.choose_key(name, request, budget)
        speech = await self.service.start(request, on_progress, is_live=False)
        with self.delivery.open_reply(
            name, request, speech.sample_rate, key=key, budget=budget
        ) as sink:
            output = await deliver(speech, sink, on_progress)
        self._record_success(output, started)
        return output

    async def speak_pieces(
        self,
        name: str,
        speech: SpeechSource,
        queue: PieceQueue,
        key: str | None,
        started: float,
        *,
        tells_head: bool = True,
    ) -> tuple[dict[str, Any], StorageFailed | None]:
        """Speak into a queue; return the output, and why the audio is not stored if it is not.

        Args:
            name: what the request is called in keys, files and the log.
            speech: prepared by the service.
            queue: gets the audio.
            key: as `Delivery.choose_key` returned it.
            started: when the request came, on `time.perf_counter`.
            tells_head: whether the output tells how the stream becomes a file.

        Raises:
            WorkerError: it could not be spoken.
        """
        with self.delivery.open_pieces(
            name, speech.request, speech.sample_rate, queue, key=key, tells_head=tells_head
        ) as sink:
            output = await deliver(speech, sink)
        self._record_success(output, started)
        return output, sink.storage_failure

    async def speak_file(
        self, speech: SpeechSource, started: float
    ) -> tuple[AudioFile, dict[str, Any]]:
        """Speak to the end; return the file, and the output without it.

        Args:
            speech: prepared by the service.
            started: when the request came, on `time.perf_counter`.

        Raises:
            WorkerError: it could not be spoken.
        """
        file = await deliver(speech, MemorySink(speech.request, speech.sample_rate))
        output = await asyncio.to_thread(to_output, speech.result(), file.info)
        self._record_success(output, started)
        return file, output

    async def speak_batch(
        self, name: str, batch: Batch, budget: SizeBudget, on_progress: OnProgress
    ) -> dict[str, Any]:
        """Speak the entries of a batch side by side and return their outputs, in order.

        Raises:
            BatchFailed: none of them could be spoken.
        """
        budget.reserve_failures(len(batch.entries))
        fractions = [0.0] * len(batch.entries)

        async def speak(index: int, entry: SpeechRequest | WorkerError) -> dict[str, Any]:
            def report(fraction: float, doing: str = "") -> None:
                fractions[index] = fraction
                on_progress(sum(fractions) / len(fractions), doing)

            started = time.perf_counter()
            own_name = f"{name}-{index}"
            with job_context(own_name):
                try:
                    async with self.deadlines.limit(), self._batch_slots:
                        if isinstance(entry, WorkerError):
                            raise entry
                        output = await self.speak(own_name, entry, budget, report, started)
                except Exception as error:
                    output = without_details(to_failure(self.to_error(own_name, error, started)))
            report(1.0)
            return {"index": index} | output

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(speak(*each)) for each in enumerate(batch.entries)]
        outputs = [task.result() for task in tasks]
        num_failed = sum("error" in output for output in outputs)
        if num_failed == len(outputs):
            raise BatchFailed(
                f"none of the {num_failed} texts could be spoken; the first: {outputs[0]['error']}",
                details={"batch": outputs},
            )
        return {"batch": outputs, "num_failed": num_failed}

    def to_error(self, name: str, error: Exception, started: float) -> WorkerError:
        """Log and count a failure, and return what the caller may see of it."""
        if isinstance(error, EngineBroken):
            self.on_broken()
        code = error.code if isinstance(error, WorkerError) else InternalError.code
        self.metrics.requests.add(self.kind, code)
        if isinstance(error, WorkerError):
            if error.quotes_caller:
                log.warning(error.code, extra=_problems(error) | elapsed(started))
            else:
                log.warning("%s: %s", error.code, error.message, extra=elapsed(started))
            return error
        log.error("the job met a defect", extra={"exception": frames_of(error), **elapsed(started)})
        return InternalError(
            f"the worker failed on job '{name[:_MAX_NAME_LENGTH]}' in a way it did not "
            "foresee; look for this id in the worker's log, and report what stands there"
        )

    def count_success(self) -> None:
        """Count a success."""
        self.metrics.requests.add(self.kind, OK)

    def record_cancel(self, started: float) -> None:
        """Log and count a request that its caller gave up."""
        log.info("cancelled", extra=elapsed(started))
        self.metrics.requests.add(self.kind, CANCELLED)

    def _act(self, body: LibraryAction | OpenAIList) -> dict[str, Any]:
        if not isinstance(body, OpenAIList):
            output: dict[str, Any] = to_json_safe(self.actions.run(body))
            return output
        if body.route == openai.MODELS:
            return openai.models(self.actions.model)
        return openai.voices(self.actions.names())

    def _record_success(self, output: dict[str, Any], started: float) -> None:
        """Log and count a success; the text itself is the caller's and stays out."""
        figures = {
            "characters": output["usage"]["characters"],
            "duration_s": output["audio"]["duration_s"],
            "finish_reason": output["finish_reason"],
            **output["timing"],
        }
        log.info("spoke", extra=figures | elapsed(started))
        self.count_success()


def _problems(error: WorkerError) -> dict[str, Any]:
    """Return what a log may tell of a refused request: which fields are wrong, and how many.

    A name that the caller made up is counted, and not told.
    """
    problems = error.details.get("errors")
    if not isinstance(problems, list):
        return {}
    wrong = {each["field"] for each in problems}
    return {"fields": sorted(wrong & FIELDS_BY_NAME.keys()), "num_problems": len(problems)}


def elapsed(started: float) -> dict[str, float]:
    """Return what each line of the log about a request's end has: how long it took."""
    return {"job_s": rounded(time.perf_counter() - started)}
