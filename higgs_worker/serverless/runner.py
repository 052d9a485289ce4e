"""RunPod's jobs: a job dict becomes a request, a result becomes the job's output.

Whatever comes in, exactly one reply goes out, as a whole or in pieces, and it is always one that
the SDK can post (`reply.py`). It imports neither the SDK nor torch and does not know how speech is
made.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from higgs_worker.api import batch
from higgs_worker.api import openai as openai_api
from higgs_worker.api import output as reply
from higgs_worker.api.openai import SPEECH
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.audio.encode import MIME_TYPES, encoded_rate
from higgs_worker.delivery.destination import Outlet, tell_where
from higgs_worker.delivery.packets import (
    Packer,
    PacketDigest,
    PacketStore,
    check_streamable,
    is_whole,
)
from higgs_worker.errors import EngineBroken, InternalError, StorageFailed, WorkerError
from higgs_worker.logs import job_context
from higgs_worker.serverless import job as envelope
from higgs_worker.serverless.intake import Deadlines
from higgs_worker.serverless.progress import EVERY_S, JobProgress
from higgs_worker.speech.service import OnProgress
from higgs_worker.speech.session import SpeechSession
from higgs_worker.storage.upload import StoredObject, Upload
from higgs_worker.voices.actions import Actions

_MAX_ID_LENGTH = 100
_BATCH_TOGETHER = 64  # texts of batches at once, so that they leave room in the engine's queue

log = logging.getLogger(__name__)

Report = Callable[[Any, dict[str, Any]], Awaitable[None]]
"""Tells the platform how far a job is."""


class Service(Protocol):
    """What speaks."""

    def preload(self) -> None:
        """Begin to load the model."""

    async def speak(
        self, request: SpeechRequest, on_progress: OnProgress | None = None
    ) -> SpeechResult:
        """Speak one request, or raise a WorkerError."""

    async def start(
        self,
        request: SpeechRequest,
        on_progress: OnProgress | None = None,
        *,
        is_live: bool = True,
    ) -> SpeechSession:
        """Begin to speak a request; its PCM comes piece by piece."""


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Run jobs on a service.

    `on_broken` is called when nothing can be spoken any more in this process, `on_spoke` after each
    success: when it began, on `time.perf_counter`, and how long it took to its first sound.
    """

    service: Service
    max_text_chars: int
    outlet: Outlet = field(default_factory=Outlet)
    actions: Actions | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    report: Report | None = None
    report_every_s: float = EVERY_S
    on_broken: Callable[[], None] = lambda: None
    on_spoke: Callable[[float, float], None] = lambda *_: None
    _batch_room: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_BATCH_TOGETHER), repr=False
    )

    async def run(self, job: object) -> dict[str, Any]:
        """Return the job's output; a failure is an output with `error`, never an exception.

        Raises:
            asyncio.CancelledError: the job was cancelled from outside.
        """
        return await self._run(job, reply.Room(reply.max_bytes(envelope.job_id(job))))

    async def _run(self, job: object, room: reply.Room) -> dict[str, Any]:
        started = time.perf_counter()
        job_id = envelope.job_id(job)
        with job_context(job_id):
            try:
                if (action := self._action(job)) is not None:
                    async with self.deadlines.limit():
                        return await asyncio.to_thread(action)
                telling = self._telling(job)
                if "batch" in envelope.fields(job):
                    items = batch.items_of(envelope.content(job))
                    async with telling as progress:
                        return await self._run_batch(job_id, items, room, progress)
                # The deadline inside: a failure, too, waits for the report that is under way.
                async with telling as progress, self.deadlines.limit(telling.now):
                    asked = await self._asked(job)
                    return await self._spoken(job_id, asked, room, progress.report, started)
            except Exception as error:
                failure = self._noted(job_id, error, started)
                is_openai = "openai_route" in envelope.fields(job)
                told = openai_api.error_object(failure) if is_openai else {}
                return {**reply.failure(failure), **reply.plain(told)}
            except asyncio.CancelledError:
                log.info("cancelled", extra=_elapsed(started))
                raise

    async def _spoken(
        self,
        job_id: str,
        asked: object,
        room: reply.Room,
        on_progress: OnProgress,
        started: float,
    ) -> dict[str, Any]:
        """Speak one request and return what there is to say of it, its audio delivered.

        Raises:
            WorkerError: it could not be spoken or delivered.
        """
        request = self._request(asked)
        key = await self.outlet.key(job_id, request, room)
        with self.outlet.open(key, request) as upload:
            result, storing = await self._speak(request, upload, on_progress)
            warnings = [*result.warnings, *await self.outlet.save(job_id, result)]
            digest = hashlib.sha256(result.audio)
            output = reply.describe(result, warnings, len(result.audio), digest.hexdigest())
            await self.outlet.deliver(output, result.audio, storing, room)
        self._note(result, started)
        return output

    async def _speak(
        self, request: SpeechRequest, upload: Upload | None, on_progress: OnProgress
    ) -> tuple[SpeechResult, "Future[StoredObject] | None"]:
        """Speak a request to its end, and send its audio on meanwhile where that can be."""
        if upload is None:
            return await self.service.speak(request, on_progress), None
        if is_whole(request):
            result = await self.service.speak(request, on_progress)
            return result, upload.finish(result.audio)
        speech = await self.service.start(request, on_progress, is_live=False)
        packer = Packer(request, speech.speaker.sample_rate, is_file=True)
        async with aclosing(aiter(speech)) as pieces:
            async for pcm in pieces:
                upload.feed(await asyncio.to_thread(packer.feed, pcm))
                on_progress(speech.fraction_spoken)
        rest, head = await asyncio.to_thread(packer.finish)
        storing = upload.finish(rest, head=head)
        return speech.result(upload.data), storing

    async def _run_batch(
        self, job_id: str, items: list[object], room: reply.Room, progress: JobProgress
    ) -> dict[str, Any]:
        """Speak many requests side by side.

        Raises:
            BatchFailed: none of them could be spoken.
        """
        # Failures are told inside the same result.
        room.num_taken += reply.MAX_FAILURE_BYTES * len(items)

        async def speak(index: int, item: object, on_progress: OnProgress) -> dict[str, Any]:
            started = time.perf_counter()
            own_id = f"{job_id}-{index}"
            with job_context(own_id):
                try:
                    async with self.deadlines.limit(), self._batch_room:
                        return await self._spoken(own_id, item, room, on_progress, started)
                except Exception as error:
                    return reply.brief(self._failed(own_id, error, started))

        return await batch.run_all(items, speak, progress.report)

    async def stream(self, job: object) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the audio in pieces, then what `run` returns, without the audio.

        All of them together are the job's output. If that is more than the platform takes, the
        audio is taken out of it after it was streamed.
        """
        if self._action(job) is not None or "batch" in envelope.fields(job):
            yield await self._run(job, reply.Room(reply.MAX_PIECE_BYTES))
            return
        started = time.perf_counter()
        job_id = envelope.job_id(job)
        # The context is not held across a yield: whoever closes a generator may have another one.
        with job_context(job_id):
            refusal = None
            try:
                request = self._request(await self._asked(job))
                check_streamable(request)
                key = await self.outlet.key(job_id, request, None)
            except Exception as error:
                refusal = self._failed(job_id, error, started)
        if refusal is not None:
            yield refusal
            return
        store = PacketStore(reply.MAX_PIECE_AUDIO_BYTES)
        telling = self._telling(job)
        speaking = asyncio.create_task(
            self._speak_into(store, job_id, request, key, telling, started)
        )
        if sdk_task := asyncio.current_task():
            # A job that is stopped while the SDK posts a piece does not reach this generator.
            sdk_task.add_done_callback(lambda _: speaking.cancel())
        posted = reply.Posted(reply.max_bytes(job_id))
        try:
            head = {
                "format": request.format,
                "mime_type": MIME_TYPES[request.format],
                "sample_rate": encoded_rate(request.format, request.sample_rate),
            }
            while audio := await store.take():
                piece = {"index": posted.num, "audio": head | {"base64": reply.base64_of(audio)}}
                yield piece
                posted.add(piece)
            output, unstored = await speaking
            if unstored is not None and posted.is_over:
                with job_context(job_id):
                    output = self._failed(job_id, unstored, started)
            if "error" not in output:
                posted.finish(output)
            yield output
        finally:
            speaking.cancel()

    def _action(self, job: object) -> Callable[[], dict[str, Any]] | None:
        """Give what a job asks for, if that is something else than speech."""
        actions, asked = self.actions, envelope.fields(job)
        if actions is None:
            return None

        def act() -> dict[str, Any]:
            output: dict[str, Any] = reply.plain(actions.run(envelope.content(job)))
            return output

        def list_for_openai() -> dict[str, Any]:
            if openai_api.route_of(envelope.content(job)) == openai_api.MODELS:
                return openai_api.models(actions.model)
            return openai_api.voices(actions.names())

        if "action" in asked:
            return act
        return list_for_openai if asked.get("openai_route", SPEECH) != SPEECH else None

    def _request(self, asked: object) -> SpeechRequest:
        return SpeechRequest.parse(asked, max_text_chars=self.max_text_chars)

    async def _asked(self, job: object) -> Any:
        """Give what is to be spoken, in this worker's own words."""
        asked = envelope.content(job)
        if "openai_route" not in envelope.fields(job):
            return asked
        openai_api.route_of(asked)
        names = await asyncio.to_thread(self.actions.names) if self.actions else ()
        return openai_api.speech_input(asked.get("openai_input"), names)

    async def _speak_into(
        self,
        store: PacketStore,
        job_id: str,
        request: SpeechRequest,
        key: str | None,
        telling: JobProgress,
        started: float,
    ) -> tuple[dict[str, Any], StorageFailed | None]:
        """Fill the store; return the output, without the audio, and why that is not stored."""
        with job_context(job_id):
            try:
                heard = PacketDigest(keeps=self.outlet.save_dir is not None)
                async with self.deadlines.limit(telling.now):
                    async with telling:  # until there is sound, which tells more
                        speech = await self.service.start(request, telling.report)
                    with self.outlet.open(key, request) as upload:
                        async with aclosing(_packets(speech)) as packets:
                            async for packet, duration_s in packets:
                                heard.add(packet)
                                if upload is not None:
                                    upload.feed(packet)
                                await store.put(packet, duration_s)
                        await store.close()  # nobody waits for the bucket
                        result = speech.result(bytes(heard.kept))
                        warnings = [*result.warnings, *await self.outlet.save(job_id, result)]
                        output = reply.describe(result, warnings, heard.num_bytes, heard.sha256)
                        unstored = await _store(output, upload)
            except Exception as error:
                return self._failed(job_id, error, started), None
            except asyncio.CancelledError:
                log.info("cancelled", extra=_elapsed(started))
                raise
            finally:
                await store.close()
            self._note(result, started)
            return output, unstored

    def _telling(self, job: object) -> JobProgress:
        send = partial(self.report, job) if self.report else None
        return JobProgress(send, every_s=self.report_every_s)

    def _note(self, result: SpeechResult, started: float) -> None:
        log.info("spoke", extra=_figures(result) | _elapsed(started))
        self.on_spoke(started, result.timing.first_audio_s)

    def _failed(self, job_id: str, error: Exception, started: float) -> dict[str, Any]:
        return reply.failure(self._noted(job_id, error, started))

    def _noted(self, job_id: str, error: Exception, started: float) -> WorkerError:
        """Log a failure and return what the caller sees of it."""
        if isinstance(error, EngineBroken):
            self.on_broken()
        if isinstance(error, WorkerError):
            log.warning("%s: %s", error.code, error.message, extra=_elapsed(started))
            return error
        log.error("the job met a defect", exc_info=error, extra=_elapsed(started))
        return InternalError(
            f"the worker failed on job '{job_id[:_MAX_ID_LENGTH]}' in a way it did not "
            "foresee; look for this id in the worker's log, and report what stands there"
        )


async def _packets(speech: SpeechSession) -> AsyncGenerator[tuple[bytes, float], None]:
    """Encode a speech as it comes; how much sound went in stands beside each packet."""
    rate = speech.speaker.sample_rate
    packer = Packer(speech.request, rate)
    async with aclosing(aiter(speech)) as pieces:
        async for pcm in pieces:
            yield await asyncio.to_thread(packer.feed, pcm), len(pcm) / rate
    last, _ = await asyncio.to_thread(packer.finish)
    yield last, 0.0


async def _store(output: dict[str, Any], upload: Upload | None) -> StorageFailed | None:
    """Let the object of streamed audio appear and say where; a failure is told, and returned."""
    if upload is None:
        return None
    try:
        tell_where(output, await asyncio.wrap_future(upload.finish()))
    except StorageFailed as error:
        log.warning("the audio could not be stored: %s", error.message)
        output["warnings"].append(f"{error.message}. The audio was only streamed")
        return error
    return None


def _figures(result: SpeechResult) -> dict[str, Any]:
    """Return what the log says of a job; the text itself is the caller's and stays out."""
    return {
        "characters": result.usage.characters,
        "duration_s": reply.rounded(result.duration_s),
        "finish_reason": result.finish_reason,
        **reply.timing(result),
    }


def _elapsed(started: float) -> dict[str, float]:
    return {"job_s": reply.rounded(time.perf_counter() - started)}
