"""What RunPod is told of a job: its output's shape, and what of it the platform takes.

A reply that JSON in UTF-8 cannot hold is silently dropped by the SDK and the job hangs until it
times out; one that is too large is lost the same way. So everything here is plain and measured.
It does not know how speech is made, nor how a reply is posted.
"""

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from higgs_worker.api.result import SpeechResult
from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.errors import ResultTooLarge, WorkerError

# The platform's payload limits; `/runsync` marks its jobs by their id.
_SYNC_PREFIX = "sync-"
_MAX_SYNC_BYTES = 20_000_000
_MAX_RUN_BYTES = 10_000_000
_MAX_PIECE_BYTES = 1_000_000
_ENVELOPE_BYTES = 1000  # around the audio of a streamed piece, generously

MAX_FAILURE_BYTES = 1000
"""What one failure of several takes."""

MAX_PIECE_BYTES = _MAX_PIECE_BYTES - _ENVELOPE_BYTES
"""What an output may have that is posted as a streamed piece."""
MAX_PIECE_AUDIO_BYTES = MAX_PIECE_BYTES // 4 * 3
"""Audio that a streamed piece can hold, before it is written as base64."""


def max_bytes(job_id: str) -> int:
    """Return how large a job's result may be; its id tells how it was sent."""
    return _MAX_SYNC_BYTES if job_id.startswith(_SYNC_PREFIX) else _MAX_RUN_BYTES


@dataclass(slots=True)
class Room:
    """What the platform takes of one job's result, and what of that is taken."""

    limit: int
    num_taken: int = 0

    @property
    def num_left(self) -> int:
        """Bytes that still fit."""
        return self.limit - self.num_taken


def describe(
    result: SpeechResult, warnings: list[str], num_bytes: int, sha256: str
) -> dict[str, Any]:
    """Return the output of a job that succeeded, but for where its audio is."""
    output: dict[str, Any] = plain(
        {
            "audio": {
                "format": result.format,
                "mime_type": MIME_TYPES[result.format],
                "sample_rate": result.sample_rate,
                "channels": result.channels,
                "duration_s": rounded(result.duration_s),
                "num_bytes": num_bytes,
                "sha256": sha256,
            },
            "segments": [
                {
                    "text": each.text,
                    "speaker": each.speaker,
                    "start_s": rounded(each.start_s),
                    "end_s": rounded(each.end_s),
                    **({} if each.spoken is None else {"spoken": each.spoken}),
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
            "timing": timing(result),
            "model": {"id": result.model.id, "revision": result.model.revision},
        }
    )
    return output


def embed(output: dict[str, Any], audio: bytes, room: Room) -> None:
    """Put the audio into a job's output, or into one of several, where there is room for it.

    Raises:
        ResultTooLarge: the platform would not take it.
    """
    output["audio"]["base64"] = ""
    # Measured before the audio is encoded: base64 has a known length and needs no escaping.
    num_bytes = _posted_bytes(output) + 4 * math.ceil(len(audio) / 3)
    if num_bytes > room.num_left:
        del output["audio"]["base64"]
        others = f", {room.num_taken / 1e6:.1f} MB of which are taken" if room.num_taken else ""
        raise ResultTooLarge(
            f"the result has {num_bytes / 1e6:.1f} MB and the platform takes "
            f"{room.limit / 1e6:.0f} MB for this route{others}; ask for mp3 or opus, send a "
            "shorter text or a lower max_duration_s, give the endpoint a bucket (HIGGS_S3_BUCKET)"
            + (", or use /runsync, which takes 20 MB" if room.limit == _MAX_RUN_BYTES else ""),
            details={"num_bytes": num_bytes, "max_bytes": room.limit},
        )
    room.num_taken += num_bytes
    output["audio"]["base64"] = base64_of(audio)


def take_room(output: dict[str, Any], room: Room) -> None:
    """Fit an output without audio into the room; a very long text leaves none for its segments."""
    trim(output, room.num_left)
    room.num_taken += _posted_bytes(output)


def trim(output: dict[str, Any], max_bytes: int) -> None:
    """Leave the segments out of an output that is otherwise larger than may be posted."""
    if _posted_bytes(output) > max_bytes:
        output["segments"] = []
        output["warnings"].append("the segments were left out: the result has no room for them")


def failure(error: WorkerError) -> dict[str, Any]:
    """Return what the SDK reports as FAILED: an output with a truthy `error`."""
    reply: dict[str, Any] = plain(
        {"error": f"{error.code}: {error.message}", "code": error.code, "details": error.details}
    )
    return reply


def brief(failure: dict[str, Any]) -> dict[str, Any]:
    """Return a failure that is told beside others: without details where they are many."""
    if _posted_bytes(failure) <= MAX_FAILURE_BYTES:
        return failure
    return failure | {"details": {}}


def plain(value: Any) -> Any:
    """Return what JSON in UTF-8 can hold; what it cannot is written out or becomes null."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def timing(result: SpeechResult) -> dict[str, float]:
    """Return where the time went."""
    times = result.timing
    return {
        "queue_s": rounded(times.queue_s),
        "load_s": rounded(times.load_s),
        "first_audio_s": rounded(times.first_audio_s),
        "total_s": rounded(times.total_s),
        "rtf": rounded(times.rtf),
    }


def rounded(value: float) -> float:
    """Return seconds to the millisecond."""
    return round(float(value), 3)


def base64_of(audio: bytes) -> str:
    """Return how JSON carries bytes."""
    return base64.b64encode(audio).decode("ascii")


class Posted:
    """The streamed pieces of one job.

    The SDK keeps the very objects that it posted and makes the job's output of them; so audio that
    would make the output too large can be taken out of them once it has been streamed.
    """

    def __init__(self, max_bytes: int) -> None:
        self.num = 0
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._pieces: list[dict[str, Any]] = []
        self.is_over = False
        """Whether the audio was taken out of them."""

    def add(self, piece: dict[str, Any]) -> None:
        """Take note of a piece that the SDK has posted."""
        self.num += 1
        self._num_bytes += len(piece["audio"]["base64"]) + _ENVELOPE_BYTES
        self._pieces.append(piece)
        if self._num_bytes > self._max_bytes - _MAX_PIECE_BYTES:
            self.is_over = True
        if self.is_over:
            for each in self._pieces:
                del each["audio"]
            self._pieces.clear()

    def finish(self, output: dict[str, Any]) -> None:
        """Number the last piece, and cut it to what a piece may hold."""
        output["index"] = self.num
        if self.is_over and "key" not in output["audio"]:
            output["warnings"].append(
                "the pieces together are more than the platform keeps of a job; their audio was "
                "only streamed"
            )
        trim(output, MAX_PIECE_BYTES)


def _posted_bytes(output: dict[str, Any]) -> int:
    """Return how many bytes the SDK makes of it."""
    return len(json.dumps({"output": output}, ensure_ascii=False, allow_nan=False).encode("utf-8"))
