"""RunPod's jobs: a job dict becomes a request, a result becomes the job's output.

Whatever comes in, exactly one reply goes out, as a whole or in pieces, and it is always one that
the SDK can post (`reply.py`). It imports neither the SDK nor torch and does not know how speech is
made.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from higgs_worker import batch, openai_api, reply
from higgs_worker.actions import Actions
from higgs_worker.audio.encode import MIME_TYPES, encoded_rate
from higgs_worker.errors import (
    BatchFailed,
    CredentialsRefused,
    EngineBroken,
    InternalError,
    InvalidRequest,
    WorkerError,
)
from higgs_worker.logs import job_context
from higgs_worker.outlet import Outlet
from higgs_worker.packets import Packer, PacketStore, check_streamable
from higgs_worker.platform import Deadlines
from higgs_worker.progress import Progress
from higgs_worker.result import SpeechResult, Timing
from higgs_worker.schema import SpeechRequest
from higgs_worker.service import OnProgress
from higgs_worker.speech import Speech

_MAX_ID_LENGTH = 100
_MAX_FAILURE_BYTES = 1000  # of one text in a batch, about
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

    async def start(self, request: SpeechRequest) -> Speech:
        """Begin to speak a request; its PCM comes piece by piece."""


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Run jobs on a service.

    `save_dir` is where each result's audio is also written; None writes nothing. `on_broken` is
    called when nothing can be spoken any more in this process, `on_spoke` after each success.
    """

    service: Service
    max_text_chars: int
    save_dir: Path | None = None
    outlet: Outlet = field(default_factory=Outlet)
    actions: Actions | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    report: Report | None = None
    on_broken: Callable[[], None] = lambda: None
    on_spoke: Callable[[Timing], None] = lambda _: None
    _batch_room: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(_BATCH_TOGETHER), repr=False
    )

    async def run(self, job: object) -> dict[str, Any]:
        """Return the job's output; a failure is an output with `error`, never an exception.

        Raises:
            asyncio.CancelledError: the job was cancelled from outside.
        """
        return await self._run(job, reply.Room(reply.max_bytes(_job_id(job))))

    async def _run(self, job: object, room: reply.Room) -> dict[str, Any]:
        started = time.perf_counter()
        job_id = _job_id(job)
        with job_context(job_id):
            try:
                if (action := self._action(job)) is not None:
                    async with self.deadlines.limit():
                        return await asyncio.to_thread(action)
                send = partial(self.report, job) if self.report else None
                if _asks_for(job, "batch"):
                    items = batch.items_of(_input(job))
                    async with Progress(send) as progress:
                        return await self._run_batch(job_id, items, room, progress)
                # The deadline inside: a failure, too, waits for the report that is under way.
                async with Progress(send) as progress, self.deadlines.limit():
                    asked = await self._asked(job)
                    return await self._spoken(job_id, asked, room, progress.report, started)
            except Exception as error:
                return self._failed(job_id, error, started)
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
        result = await self.service.speak(request, on_progress=on_progress)
        warnings = [*result.warnings, *await self._save(job_id, result)]
        digest = hashlib.sha256(result.audio)
        output = reply.describe(result, warnings, len(result.audio), digest.hexdigest())
        await self.outlet.deliver(output, result.audio, key, room)
        self._note(result, started)
        return output

    async def _run_batch(
        self, job_id: str, items: list[object], room: reply.Room, progress: Progress
    ) -> dict[str, Any]:
        """Speak many requests side by side; those that fail leave the others alone.

        Raises:
            BatchFailed: all of them did.
        """
        done = [0.0] * len(items)
        # Failures are told inside the same result.
        room.num_taken += _MAX_FAILURE_BYTES * len(items)

        async def speak(index: int, item: object) -> dict[str, Any]:
            started = time.perf_counter()

            def report(fraction: float, doing: str = "") -> None:
                done[index] = fraction
                progress.report(sum(done) / len(done), doing)

            own_id = f"{job_id}-{index}"
            with job_context(own_id):
                try:
                    async with self.deadlines.limit(), self._batch_room:
                        return await self._spoken(own_id, item, room, report, started)
                except Exception as error:
                    return self._failed(own_id, error, started)
                finally:
                    report(1.0)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(speak(*each)) for each in enumerate(items)]
        outputs = [task.result() for task in tasks]
        num_failed = sum("error" in output for output in outputs)
        if num_failed == len(outputs):
            raise BatchFailed(
                f"none of the {len(outputs)} texts could be spoken; the first: "
                f"{outputs[0]['error']}",
                details={"batch": outputs},
            )
        return {"batch": outputs, "num_failed": num_failed}

    async def stream(self, job: object) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the audio in pieces, then what `run` returns, without the audio.

        All of them together are the job's output. If that is more than the platform takes, the
        audio is taken out of it after it was streamed.
        """
        if self._action(job) is not None or _asks_for(job, "batch"):
            yield await self._run(job, reply.Room(reply.MAX_PIECE_BYTES))
            return
        started = time.perf_counter()
        job_id = _job_id(job)
        # The context is not held across a yield: whoever closes a generator may have another one.
        with job_context(job_id):
            refusal = None
            try:
                request = self._request(await self._asked(job))
                check_streamable(request)
            except Exception as error:
                refusal = self._failed(job_id, error, started)
        if refusal is not None:
            yield refusal
            return
        store = PacketStore(reply.MAX_PIECE_AUDIO_BYTES)
        speaking = asyncio.create_task(self._speak_into(store, job_id, request, started))
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
            output = await speaking
            if "error" not in output:
                posted.finish(output)
            yield output
        finally:
            speaking.cancel()

    def _action(self, job: object) -> Callable[[], dict[str, Any]] | None:
        """Give what a job asks for, if that is something else than speech."""
        actions = self.actions
        if actions is None or not (_asks_for(job, "action") or _asks_for(job, "openai_route")):
            return None

        def act() -> dict[str, Any]:
            output: dict[str, Any] = reply.plain(actions.run(_input(job)))
            return output

        def list_for_openai() -> dict[str, Any]:
            if openai_api.route_of(_input(job)) == openai_api.MODELS:
                return openai_api.models(actions.model)
            return openai_api.voices(actions.names())

        if _asks_for(job, "action"):
            return act
        is_speech = _raw_input(job)["openai_route"] == openai_api.SPEECH
        return None if is_speech else list_for_openai

    def _request(self, asked: object) -> SpeechRequest:
        return SpeechRequest.parse(asked, max_text_chars=self.max_text_chars)

    async def _asked(self, job: object) -> Any:
        """Give what is to be spoken, in this worker's own words."""
        asked = _input(job)
        if not _asks_for(job, "openai_route"):
            return asked
        openai_api.route_of(asked)
        names = await asyncio.to_thread(self.actions.names) if self.actions else ()
        return openai_api.speech_input(asked.get("openai_input"), names)

    async def _speak_into(
        self, store: PacketStore, job_id: str, request: SpeechRequest, started: float
    ) -> dict[str, Any]:
        """Fill the store and return the job's output, without the audio."""
        with job_context(job_id):
            try:
                digest = hashlib.sha256()
                saved = bytearray()
                num_bytes = 0
                async with self.deadlines.limit():
                    speech = await self.service.start(request)
                    async with aclosing(_packets(speech)) as packets:
                        async for packet, duration_s in packets:
                            num_bytes += len(packet)
                            digest.update(packet)
                            if self.save_dir is not None:
                                saved += packet
                            await store.put(packet, duration_s)
                result = replace(speech.result(b""), audio=bytes(saved))
                warnings = [*result.warnings, *await self._save(job_id, result)]
                output = reply.describe(result, warnings, num_bytes, digest.hexdigest())
            except Exception as error:
                return self._failed(job_id, error, started)
            except asyncio.CancelledError:
                log.info("cancelled", extra=_elapsed(started))
                raise
            finally:
                await store.close()
            self._note(result, started)
            return output

    def _note(self, result: SpeechResult, started: float) -> None:
        log.info("spoke", extra=_figures(result) | _elapsed(started))
        self.on_spoke(result.timing)

    def _failed(self, job_id: str, error: Exception, started: float) -> dict[str, Any]:
        """Log a failure and return what the caller sees of it."""
        if isinstance(error, EngineBroken):
            self.on_broken()
        if isinstance(error, WorkerError):
            log.warning("%s: %s", error.code, error.message, extra=_elapsed(started))
            return reply.failure(error)
        log.error("the job met a defect", exc_info=error, extra=_elapsed(started))
        return reply.failure(
            InternalError(
                f"the worker failed on job '{job_id[:_MAX_ID_LENGTH]}' in a way it did not "
                "foresee; look for this id in the worker's log, and report what stands there"
            )
        )

    async def _save(self, job_id: str, result: SpeechResult) -> list[str]:
        """Write the audio into `save_dir` and return what there is to warn of."""
        if self.save_dir is None:
            return []
        path = self.save_dir / f"{_file_stem(job_id)}.{result.format}"
        try:
            await asyncio.to_thread(_write, path, result.audio)
        except OSError as error:
            warning = f"the audio could not be saved as {path}: {error.strerror or error}"
            log.warning(warning)
            return [warning]
        log.info(
            "saved %s: %.2f s of audio in %.2f s", path, result.duration_s, result.timing.total_s
        )
        return []


async def _packets(speech: Speech) -> AsyncGenerator[tuple[bytes, float], None]:
    """Encode a speech as it comes; how much sound went in stands beside each packet."""
    rate = speech.speaker.sample_rate
    packer = Packer(speech.request, rate)
    async with aclosing(aiter(speech)) as pieces:
        async for pcm in pieces:
            yield await asyncio.to_thread(packer.feed, pcm), len(pcm) / rate
    yield await asyncio.to_thread(packer.finish), 0.0


def _raw_input(job: object) -> Mapping[Any, Any]:
    asked = job.get("input") if isinstance(job, Mapping) else None
    return asked if isinstance(asked, Mapping) else {}


def _asks_for(job: object, field: str) -> bool:
    return field in _raw_input(job)


def _job_id(job: object) -> str:
    found = job.get("id") if isinstance(job, Mapping) else None
    return found if isinstance(found, str) and found else "unknown"


def _input(job: object) -> Any:
    """Return what the caller sent as `input`."""
    if not isinstance(job, Mapping):
        raise InvalidRequest('the job must be an object such as {"id": "1", "input": {…}}')
    # The platform documents this sibling of `input`; others are its own affair.
    if job.get("s3Config"):
        raise CredentialsRefused(
            "credentials do not belong into a job, and 's3Config' holds some; set them in the "
            "endpoint's environment and replace any that were sent here"
        )
    if "input" not in job:
        raise InvalidRequest('the job has no input; send {"input": {"text": "Hello."}}')
    return job["input"]


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


def _file_stem(job_id: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", job_id).lstrip(".")
    return safe[:_MAX_ID_LENGTH] or "job"


def _write(path: Path, audio: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(audio)
