"""Runs RunPod's jobs: exactly one reply for each, as a whole or in pieces.

Every reply is one that the SDK can post: JSON in UTF-8, within the platform's limits. The SDK
itself is in `sdk.py`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from higgs_worker.api import openai
from higgs_worker.api.batch import Batch
from higgs_worker.api.openai import OpenAISpeech
from higgs_worker.api.output import to_failure, to_json_safe
from higgs_worker.api.request import SpeechRequest
from higgs_worker.delivery.budget import SizeBudget
from higgs_worker.delivery.encoding import check_streamable
from higgs_worker.delivery.pieces import PieceQueue
from higgs_worker.delivery.responder import Responder
from higgs_worker.errors import StorageFailed
from higgs_worker.logs import job_context
from higgs_worker.serverless.job import Job
from higgs_worker.serverless.limits import (
    MAX_PIECE_AUDIO_BYTES,
    MAX_PIECE_BYTES,
    max_result_bytes,
    result_budget,
)
from higgs_worker.serverless.pieces import QuietOutput, StreamedPieces
from higgs_worker.serverless.progress import EVERY_S, JobProgress

Report = Callable[[Any, dict[str, Any]], Awaitable[None]]
"""Tells the platform how far a job is: the SDK's job dict, and the report."""


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Runs the SDK's jobs with a responder."""

    responder: Responder
    max_text_chars: int
    report: Report | None = None
    """None: nobody wants reports."""
    report_every_s: float = EVERY_S

    async def run(self, raw: object) -> QuietOutput:
        """Return the job's output; a failure is an output with `error`, never an exception.

        Raises:
            asyncio.CancelledError: the job was cancelled from outside.
        """
        job = await self._parse(raw)
        return QuietOutput(await self._run(job, raw, result_budget(job.id)))

    async def stream(self, raw: object) -> AsyncGenerator[QuietOutput, None]:
        """Yield the audio in pieces, then what `run` returns, without the audio.

        All of them together are the job's output. If that is more than the platform takes, the
        audio is taken out of it after it was streamed.
        """
        started = time.perf_counter()
        job = await self._parse(raw)
        if not isinstance(job.body, SpeechRequest | OpenAISpeech):
            yield QuietOutput(await self._run(job, raw, SizeBudget(MAX_PIECE_BYTES)))
            return
        # The context is not held across a yield: a generator may be closed in another one.
        with job_context(job.id):
            refusal = None
            try:
                request = await self.responder.to_request(job.body)
                check_streamable(request)
                key = await self.responder.delivery.choose_key(job.id, request, None)
            except Exception as error:
                refusal = self._to_failure(job, error, started)
        if refusal is not None:
            yield QuietOutput(refusal)
            return
        queue = PieceQueue(MAX_PIECE_AUDIO_BYTES)
        speaking = asyncio.create_task(self._fill(queue, job, raw, request, key, started))
        _cancel_with_current_task(speaking)
        pieces = StreamedPieces(request, max_result_bytes(job.id))
        try:
            while audio := await queue.take():
                piece = pieces.make(audio)
                yield piece
                pieces.add(piece)
            output, storage_failure = await speaking
            if storage_failure is not None and pieces.has_dropped_audio:
                with job_context(job.id):
                    output = self._to_failure(job, storage_failure, started)
            if "error" not in output:
                pieces.finish(output)
            yield QuietOutput(output)
        finally:
            speaking.cancel()

    async def _run(self, job: Job, raw: object, budget: SizeBudget) -> dict[str, Any]:
        started = time.perf_counter()
        with job_context(job.id):
            try:
                return await self._respond(job, raw, budget, started)
            except Exception as error:
                return self._to_failure(job, error, started)
            except asyncio.CancelledError:
                self.responder.record_cancel(started)
                raise

    async def _respond(
        self, job: Job, raw: object, budget: SizeBudget, started: float
    ) -> dict[str, Any]:
        responder, body = self.responder, job.body
        if isinstance(body, Exception):
            raise body
        if isinstance(body, Batch):
            async with self._progress(raw) as progress:
                return await responder.speak_batch(job.id, body, budget, progress.report)
        if isinstance(body, SpeechRequest | OpenAISpeech):
            # The deadline is inside: a failure, too, waits for the report that is under way.
            progress = self._progress(raw)
            async with progress, responder.deadlines.limit(progress.now):
                request = await responder.to_request(body)
                return await responder.speak(job.id, request, budget, progress.report, started)
        async with responder.deadlines.limit():
            return await responder.act(body, budget)

    async def _fill(
        self,
        queue: PieceQueue,
        job: Job,
        raw: object,
        request: SpeechRequest,
        key: str | None,
        started: float,
    ) -> tuple[dict[str, Any], StorageFailed | None]:
        """Fill the queue; return the output without the audio, and why that is not stored."""
        with job_context(job.id):
            try:
                progress = self._progress(raw)
                async with self.responder.deadlines.limit(progress.now):
                    async with progress:  # until there is sound, which tells more
                        speech = await self.responder.service.start(request, progress.report)
                    return await self.responder.speak_pieces(job.id, speech, queue, key, started)
            except Exception as error:
                return self._to_failure(job, error, started), None
            except asyncio.CancelledError:
                self.responder.record_cancel(started)
                raise
            finally:
                await queue.close()

    async def _parse(self, raw: object) -> Job:
        return await asyncio.to_thread(Job.parse, raw, max_text_chars=self.max_text_chars)

    def _progress(self, raw: object) -> JobProgress:
        send = partial(self.report, raw) if self.report else None
        return JobProgress(send, every_s=self.report_every_s)

    def _to_failure(self, job: Job, error: Exception, started: float) -> dict[str, Any]:
        failure = self.responder.to_error(job.id, error, started)
        openai_fields = openai.error_object(failure) if job.is_openai else {}
        return {**to_failure(failure), **to_json_safe(openai_fields)}


def _cancel_with_current_task(speaking: "asyncio.Task[Any]") -> None:
    """Cancel a task when the current one ends.

    The SDK (1.12, 2.0) closes no generator whose job is stopped while it posts a piece.
    """
    if current := asyncio.current_task():
        current.add_done_callback(lambda _: speaking.cancel())
