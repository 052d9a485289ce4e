"""RunPod's shapes: a job dict becomes a request, a result becomes the job's output.

Whatever comes in, exactly one reply goes out, and it is always JSON that the SDK can post: a reply
that cannot be encoded is silently dropped there and the job hangs until it times out. It imports
neither the SDK nor torch and does not know how speech is made.
"""

import asyncio
import base64
import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.errors import (
    CredentialsRefused,
    InternalError,
    InvalidRequest,
    ResultTooLarge,
    WorkerError,
)
from higgs_worker.logs import job_context
from higgs_worker.result import SpeechResult
from higgs_worker.schema import SpeechRequest

# The platform's payload limits; `/runsync` marks its jobs by their id.
_SYNC_PREFIX = "sync-"
_MAX_SYNC_BYTES = 20_000_000
_MAX_RUN_BYTES = 10_000_000

_MAX_ID_LENGTH = 100

log = logging.getLogger(__name__)


class Service(Protocol):
    """What speaks."""

    async def speak(self, request: SpeechRequest) -> SpeechResult:
        """Speak one request, or raise a WorkerError."""


@dataclass(frozen=True, slots=True)
class JobRunner:
    """Run jobs on a service.

    `save_dir` is where each result's audio is also written; None writes nothing.
    """

    service: Service
    max_text_chars: int
    save_dir: Path | None = None

    async def run(self, job: object) -> dict[str, Any]:
        """Return the job's output; a failure is an output with `error`, never an exception.

        Raises:
            asyncio.CancelledError: the job was cancelled from outside.
        """
        started = time.perf_counter()
        job_id = _job_id(job)
        with job_context(job_id):
            try:
                request = SpeechRequest.parse(_input(job), max_text_chars=self.max_text_chars)
                result = await self.service.speak(request)
                warnings = [*result.warnings, *await self._save(job_id, result)]
                output = _output(job_id, request, result, warnings)
            except WorkerError as error:
                failure = error
            except Exception:
                log.exception("the job met a defect", extra=_elapsed(started))
                shown = job_id[:_MAX_ID_LENGTH]
                return _failure(
                    InternalError(
                        f"the worker failed on job '{shown}' in a way it did not foresee; look for "
                        "this id in the worker's log, and report what stands there"
                    )
                )
            else:
                log.info("spoke", extra=_figures(result) | _elapsed(started))
                return output
            log.warning("%s: %s", failure.code, failure.message, extra=_elapsed(started))
            return _failure(failure)

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


def _output(
    job_id: str, request: SpeechRequest, result: SpeechResult, warnings: list[str]
) -> dict[str, Any]:
    """Return the output of a job that succeeded.

    Raises:
        ResultTooLarge: the platform would not take it.
    """
    output: dict[str, Any] = _plain(
        {
            "audio": {
                "format": result.format,
                "mime_type": MIME_TYPES[result.format],
                "sample_rate": result.sample_rate,
                "channels": result.channels,
                "duration_s": _rounded(result.duration_s),
                "num_bytes": len(result.audio),
                "sha256": hashlib.sha256(result.audio).hexdigest(),
                request.output: "",
            },
            "segments": [
                {
                    "text": each.text,
                    "speaker": each.speaker,
                    "start_s": _rounded(each.start_s),
                    "end_s": _rounded(each.end_s),
                }
                for each in result.segments
            ],
            "seed": result.seed,
            "finish_reason": result.finish_reason,
            "warnings": warnings,
            "usage": {
                "text_tokens": result.usage.text_tokens,
                "audio_frames": result.usage.audio_frames,
                "characters": result.usage.characters,
            },
            "timing": _timing(result),
            "model": {"id": result.model.id, "revision": result.model.revision},
        }
    )
    # Measured before the audio is encoded: base64 has a known length and needs no escaping.
    envelope = json.dumps({"output": output}, ensure_ascii=False, allow_nan=False)
    num_bytes = len(envelope.encode("utf-8")) + 4 * math.ceil(len(result.audio) / 3)
    sync = job_id.startswith(_SYNC_PREFIX)
    max_bytes = _MAX_SYNC_BYTES if sync else _MAX_RUN_BYTES
    if num_bytes > max_bytes:
        raise ResultTooLarge(
            f"the result has {num_bytes / 1e6:.1f} MB and the platform takes {max_bytes / 1e6:.0f} "
            f"MB for this route; send a shorter text or a lower max_duration_s"
            + ("" if sync else f", or use /runsync, which takes {_MAX_SYNC_BYTES / 1e6:.0f} MB"),
            details={"num_bytes": num_bytes, "max_bytes": max_bytes},
        )
    output["audio"][request.output] = base64.b64encode(result.audio).decode("ascii")
    return output


def _failure(error: WorkerError) -> dict[str, Any]:
    """Return what the SDK reports as FAILED: an output with a truthy `error`."""
    reply: dict[str, Any] = _plain(
        {"error": f"{error.code}: {error.message}", "code": error.code, "details": error.details}
    )
    return reply


def _plain(value: Any) -> Any:
    """Return what JSON in UTF-8 can hold; what it cannot is written out or becomes null."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _timing(result: SpeechResult) -> dict[str, float]:
    timing = result.timing
    return {
        "queue_s": _rounded(timing.queue_s),
        "load_s": _rounded(timing.load_s),
        "first_audio_s": _rounded(timing.first_audio_s),
        "total_s": _rounded(timing.total_s),
        "rtf": _rounded(timing.rtf),
    }


def _figures(result: SpeechResult) -> dict[str, Any]:
    """Return what the log says of a job; the text itself is the caller's and stays out."""
    return {
        "characters": result.usage.characters,
        "duration_s": _rounded(result.duration_s),
        "finish_reason": result.finish_reason,
        **_timing(result),
    }


def _elapsed(started: float) -> dict[str, float]:
    return {"job_s": _rounded(time.perf_counter() - started)}


def _rounded(value: float) -> float:
    return round(float(value), 3)


def _file_stem(job_id: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", job_id).lstrip(".")
    return safe[:_MAX_ID_LENGTH] or "job"


def _write(path: Path, audio: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(audio)
