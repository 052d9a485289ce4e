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

from higgs_worker import quality, reply
from higgs_worker.actions import Actions
from higgs_worker.audio.encode import MIME_TYPES, encoded_rate
from higgs_worker.errors import (
    CredentialsRefused,
    EngineBroken,
    InternalError,
    InvalidRequest,
    ResultTooLarge,
    StorageFailed,
    WorkerError,
)
from higgs_worker.logs import job_context
from higgs_worker.packets import Packer, PacketStore, check_streamable
from higgs_worker.platform import Deadlines
from higgs_worker.progress import Progress
from higgs_worker.result import SpeechResult
from higgs_worker.schema import SpeechRequest
from higgs_worker.speech import Speech
from higgs_worker.storage import Storage

# What a second of sound takes at least, in bytes; FLAC's is that of quiet speech.
_MIN_BYTES_PER_S = {"mp3": 8000, "opus": 3000, "aac": 8000, "flac": 12_000}
_MAX_ID_LENGTH = 100

_NO_BUCKET = (
    "this endpoint has none; leave it out, or set HIGGS_S3_BUCKET and its keys on the endpoint"
)

log = logging.getLogger(__name__)

Report = Callable[[Any, dict[str, Any]], Awaitable[None]]
"""Tells the platform how far a job is."""


class Service(Protocol):
    """What speaks."""

    async def speak(
        self, request: SpeechRequest, on_progress: Callable[[float], None] | None = None
    ) -> SpeechResult:
        """Speak one request, or raise a WorkerError.

        `on_progress` is called in the event loop with the part that is done, from 0 to 1.
        """

    async def start(self, request: SpeechRequest) -> Speech:
        """Begin to speak a request; its PCM comes piece by piece."""


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Run jobs on a service.

    `save_dir` is where each result's audio is also written; None writes nothing. `storage` is the
    bucket that results go to, None where the endpoint has none. `on_broken` is called when nothing
    can be spoken any more in this process.
    """

    service: Service
    max_text_chars: int
    save_dir: Path | None = None
    storage: Storage | None = None
    actions: Actions | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)
    report: Report | None = None
    on_broken: Callable[[], None] = lambda: None

    async def run(self, job: object) -> dict[str, Any]:
        """Return the job's output; a failure is an output with `error`, never an exception.

        Raises:
            asyncio.CancelledError: the job was cancelled from outside.
        """
        started = time.perf_counter()
        job_id = _job_id(job)
        with job_context(job_id):
            try:
                if (action := self._action(job)) is not None:
                    async with self.deadlines.limit():
                        return await asyncio.to_thread(action)
                request = self._request(job)
                key = await self._key(job_id, request)
                send = partial(self.report, job) if self.report else None
                # The deadline inside: a failure, too, waits for the report that is under way.
                async with Progress(send) as progress, self.deadlines.limit():
                    result = await self.service.speak(request, on_progress=progress.report)
                warnings = [*result.warnings, *await self._save(job_id, result)]
                digest = hashlib.sha256(result.audio)
                output = reply.describe(result, warnings, len(result.audio), digest.hexdigest())
                await self._deliver(output, result.audio, key, reply.max_bytes(job_id))
            except Exception as error:
                return self._failed(job_id, error, started)
            except asyncio.CancelledError:
                log.info("cancelled", extra=_elapsed(started))
                raise
            log.info("spoke", extra=_figures(result) | _elapsed(started))
            return output

    async def stream(self, job: object) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the audio in pieces, then what `run` returns, without the audio.

        All of them together are the job's output. If that is more than the platform takes, the
        audio is taken out of it after it was streamed.
        """
        if self._action(job) is not None:
            yield await self.run(job)
            return
        started = time.perf_counter()
        job_id = _job_id(job)
        # The context is not held across a yield: whoever closes a generator may have another one.
        with job_context(job_id):
            refusal = None
            try:
                request = self._request(job)
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
        asked = job.get("input") if isinstance(job, Mapping) else None
        if self.actions is None or not isinstance(asked, Mapping) or "action" not in asked:
            return None
        actions = self.actions

        def act() -> dict[str, Any]:
            _input(job)  # refuses what may not stand beside it
            output: dict[str, Any] = reply.plain(actions.run(asked))
            return output

        return act

    def _request(self, job: object) -> SpeechRequest:
        return SpeechRequest.parse(_input(job), max_text_chars=self.max_text_chars)

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
            log.info("spoke", extra=_figures(result) | _elapsed(started))
            return output

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

    async def _key(self, job_id: str, request: SpeechRequest) -> str | None:
        """Say under which key the audio will be stored; None: it is returned inside the result.

        Everything that can be known before the work is done is refused here.

        Raises:
            InvalidRequest: there is no such key, or no bucket.
            StorageFailed: the bucket cannot be asked.
            ResultTooLarge: the audio cannot but exceed what the platform takes.
        """
        if request.output == "base64" and request.key is not None:
            raise InvalidRequest(
                "key names an object in the bucket, and output is base64; send one"
            )
        if request.output == "base64" or (self.storage is None and request.output == "auto"):
            if request.key is not None:
                raise InvalidRequest(f"key needs a bucket; {_NO_BUCKET}")
            _refuse_hopeless(request, reply.max_bytes(job_id))
            return None
        if self.storage is None:
            raise InvalidRequest(f"output is s3; {_NO_BUCKET}")
        if request.key is None:
            return self.storage.key_for(job_id, request.format)
        key = self.storage.check_key(request.key)
        await asyncio.to_thread(self.storage.refuse_taken, key)
        return key

    async def _deliver(
        self, output: dict[str, Any], audio: bytes, key: str | None, limit: int
    ) -> None:
        """Put the audio where it was asked for, and else where it fits: it is never thrown away.

        Raises:
            ResultTooLarge: the platform would not take it.
            StorageFailed: it could not be stored, and does not fit into the result either.
        """
        if key is None or self.storage is None:
            reply.embed(output, audio, limit)
            return
        try:
            mime_type = output["audio"]["mime_type"]
            stored = await asyncio.to_thread(self.storage.put, audio, key=key, mime_type=mime_type)
        except StorageFailed as error:
            log.warning("the audio could not be stored: %s", error.message)
            output["warnings"].append(f"{error.message}. The audio is returned inside the result")
            try:
                reply.embed(output, audio, limit)
            except ResultTooLarge:
                raise error from None
            return
        output["audio"] |= {
            "bucket": stored.bucket,
            "key": stored.key,
            "url": stored.url,
            "expires_at": None if stored.expires_at is None else stored.expires_at.isoformat(),
        }

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


def _refuse_hopeless(request: SpeechRequest, limit: int) -> None:
    """Refuse a text whose audio cannot fit, before it is spoken; half of what is likely counts."""
    seconds = quality.expected_duration_s(request.text) / request.speed / 2
    per_second = _MIN_BYTES_PER_S.get(request.format, 2 * request.sample_rate)
    num_bytes = round(4 / 3 * seconds * per_second)
    if num_bytes > limit:
        raise ResultTooLarge(
            f"the audio of this text would have more than {num_bytes / 1e6:.0f} MB and the "
            f"platform takes {limit / 1e6:.0f} MB; ask for mp3 or opus, send a shorter text, or "
            "give the endpoint a bucket (HIGGS_S3_BUCKET)",
            details={"num_bytes": num_bytes, "max_bytes": limit},
        )


def _job_id(job: object) -> str:
    found = job.get("id") if isinstance(job, Mapping) else None
    return found if isinstance(found, str) and found else "unknown"


def _input(job: object) -> object:
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
