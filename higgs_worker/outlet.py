"""Where a job's audio goes: into the result, or into the endpoint's bucket.

What cannot be delivered is refused before it is spoken, as far as that can be known; what was
spoken is never thrown away. Knows how large a result may be, not how it is posted.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from higgs_worker import quality, reply
from higgs_worker.errors import InvalidRequest, ResultTooLarge, StorageFailed
from higgs_worker.schema import SpeechRequest
from higgs_worker.storage import Storage

# What a second of sound takes at least, in bytes; FLAC's is that of quiet speech.
_MIN_BYTES_PER_S = {"mp3": 8000, "opus": 3000, "aac": 8000, "flac": 12_000}
_NO_BUCKET = (
    "this endpoint has none; leave it out, or set HIGGS_S3_BUCKET and its keys on the endpoint"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outlet:
    """Takes the audio of results; `storage` is the bucket, None where the endpoint has none."""

    storage: Storage | None = None

    async def key(self, job_id: str, request: SpeechRequest, room: reply.Room) -> str | None:
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
            _refuse_hopeless(request, room.limit)
            return None
        if self.storage is None:
            raise InvalidRequest(f"output is s3; {_NO_BUCKET}")
        if request.key is None:
            return self.storage.key_for(job_id, request.format)
        key = self.storage.check_key(request.key)
        await asyncio.to_thread(self.storage.refuse_taken, key)
        return key

    async def deliver(
        self, output: dict[str, Any], audio: bytes, key: str | None, room: reply.Room
    ) -> None:
        """Put the audio where it was asked for, and else where it fits: it is never thrown away.

        Raises:
            ResultTooLarge: the platform would not take it.
            StorageFailed: it could not be stored, and does not fit into the result either.
        """
        if key is None or self.storage is None:
            reply.embed(output, audio, room)
            return
        try:
            mime_type = output["audio"]["mime_type"]
            stored = await asyncio.to_thread(self.storage.put, audio, key=key, mime_type=mime_type)
        except StorageFailed as error:
            log.warning("the audio could not be stored: %s", error.message)
            output["warnings"].append(f"{error.message}. The audio is returned inside the result")
            try:
                reply.embed(output, audio, room)
            except ResultTooLarge:
                raise error from None
            return
        output["audio"] |= {
            "bucket": stored.bucket,
            "key": stored.key,
            "url": stored.url,
            "expires_at": None if stored.expires_at is None else stored.expires_at.isoformat(),
        }


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
