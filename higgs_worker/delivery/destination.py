"""Where a job's audio goes: into the result, into the endpoint's bucket, into a local directory.

What cannot be delivered is refused before it is spoken, as far as that can be known; what was
spoken is never thrown away. Knows how large a result may be, not how it is posted.
"""

import asyncio
import logging
import re
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from higgs_worker.api import output as reply
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.errors import InvalidRequest, ResultTooLarge, StorageFailed
from higgs_worker.storage.storage import Storage
from higgs_worker.storage.upload import StoredObject, Upload
from higgs_worker.text.duration import expected_duration_s

# What a second of sound takes at least, in bytes; FLAC's is that of quiet speech.
_MIN_BYTES_PER_S = {"mp3": 8000, "opus": 3000, "aac": 8000, "flac": 12_000}
_MAX_STEM_CHARS = 100
_NO_BUCKET = (
    "this endpoint has none; leave it out, or set HIGGS_S3_BUCKET and its keys on the endpoint"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outlet:
    """Takes the audio of results.

    `storage` is the bucket and `save_dir` the directory into which audio is also written; None
    where the endpoint has none.
    """

    storage: Storage | None = None
    save_dir: Path | None = None

    async def key(self, job_id: str, request: SpeechRequest, room: reply.Room | None) -> str | None:
        """Say under which key the audio will be stored; None: it is not.

        Everything that can be known before the work is done is refused here.

        Args:
            job_id: begins the keys that are made here.
            request: what is asked for.
            room: for the result; None: the audio is streamed, and is stored only if that is asked
                for.

        Raises:
            InvalidRequest: there is no such key, or no bucket.
            StorageFailed: the bucket cannot be asked.
            ResultTooLarge: the audio cannot but exceed what the platform takes.
        """
        is_asked = request.output == "s3" or request.key is not None
        if request.output == "base64" and is_asked:
            raise InvalidRequest(
                "key names an object in the bucket, and output is base64; send one"
            )
        if self.storage is None:
            if is_asked:
                asked = "output is s3" if request.key is None else "key needs a bucket"
                raise InvalidRequest(f"{asked}; {_NO_BUCKET}")
        elif request.key is not None:
            key = self.storage.check_key(request.key)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self.storage.threads, self.storage.refuse_taken, key)
            return key
        elif is_asked or (room is not None and request.output == "auto"):
            return self.storage.key_for(job_id, request.format)
        if room is not None:
            _refuse_hopeless(request, room.limit)
        return None

    def open(
        self, key: str | None, request: SpeechRequest
    ) -> AbstractContextManager[Upload | None]:
        """Begin the object of this key, if there is to be one; leaving the context gives it up."""
        if key is None or self.storage is None:
            return nullcontext()
        return self.storage.open(key, MIME_TYPES[request.format])

    async def deliver(
        self,
        output: dict[str, Any],
        audio: bytes,
        storing: "Future[StoredObject] | None",
        room: reply.Room,
    ) -> None:
        """Say where the audio is stored, or else put it into the output: it is never thrown away.

        Raises:
            ResultTooLarge: the platform would not take it.
            StorageFailed: it could not be stored, and does not fit into the result either.
        """
        if storing is None:
            reply.embed(output, audio, room)
            return
        try:
            tell_where(output, await asyncio.wrap_future(storing))
        except StorageFailed as error:
            log.warning("the audio could not be stored: %s", error.message)
            output["warnings"].append(f"{error.message}. The audio is returned inside the result")
            try:
                reply.embed(output, audio, room)
            except ResultTooLarge:
                raise error from None
        else:
            reply.take_room(output, room)

    async def save(self, job_id: str, result: SpeechResult) -> list[str]:
        """Write the audio into the directory, if there is one; return what there is to warn of."""
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


def tell_where(output: dict[str, Any], stored: StoredObject) -> None:
    """Say in a job's output where its audio is stored."""
    output["audio"] |= {
        "bucket": stored.bucket,
        "key": stored.key,
        "url": stored.url,
        "expires_at": None if stored.expires_at is None else stored.expires_at.isoformat(),
    }


def _refuse_hopeless(request: SpeechRequest, limit: int) -> None:
    """Refuse a text whose audio cannot fit, before it is spoken; half of what is likely counts."""
    seconds = expected_duration_s(request.text) / request.speed / 2
    per_second = _MIN_BYTES_PER_S.get(request.format, 2 * request.sample_rate)
    num_bytes = round(4 / 3 * seconds * per_second)
    if num_bytes > limit:
        raise ResultTooLarge(
            f"the audio of this text would have more than {num_bytes / 1e6:.0f} MB and the "
            f"platform takes {limit / 1e6:.0f} MB; ask for mp3 or opus, send a shorter text, or "
            "give the endpoint a bucket (HIGGS_S3_BUCKET)",
            details={"num_bytes": num_bytes, "max_bytes": limit},
        )


def _file_stem(job_id: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", job_id).lstrip(".")
    return safe[:_MAX_STEM_CHARS] or "job"


def _write(path: Path, audio: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(audio)
