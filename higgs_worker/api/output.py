"""The JSON of a reply: the output of a request that succeeded, was only read, or failed.

Whatever is returned here can be written as JSON in UTF-8. Where the audio is (base64 or an address)
is added by `delivery`.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from higgs_worker.api.reading import Reading
from higgs_worker.api.result import AudioInfo, Segment, SegmentUpdate, SpeechResult
from higgs_worker.errors import WorkerError


def to_output(result: SpeechResult, audio: AudioInfo) -> dict[str, Any]:
    """Return the output of a request that succeeded, apart from where its audio is."""
    output: dict[str, Any] = to_json_safe(
        {
            "audio": {
                "format": audio.format,
                "mime_type": audio.mime_type,
                "sample_rate": audio.sample_rate,
                "channels": audio.channels,
                "duration_s": rounded(result.duration_s),
                "num_bytes": audio.num_bytes,
                "sha256": audio.sha256,
            },
            "segments": [_segment(each) for each in result.segments],
            "seed": result.seed,
            "finish_reason": result.finish_reason,
            "warnings": result.warnings,
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


def to_segments(updates: Iterable[SegmentUpdate]) -> list[dict[str, Any]]:
    """Return what is told of segments while their speech goes on."""
    told: list[dict[str, Any]] = to_json_safe(
        [
            {
                "index": each.index,
                **_segment(each.segment),
                **({"estimated": True} if each.is_estimate else {}),
            }
            for each in updates
        ]
    )
    return told


def to_reading_output(reading: Reading) -> dict[str, Any]:
    """Return the output of a request whose text was only read."""
    output: dict[str, Any] = to_json_safe(
        {
            "language": reading.language,
            "sentences": [
                {
                    "text": each.text,
                    "speaker": each.speaker,
                    **({} if each.spoken is None else {"spoken": each.spoken}),
                    "expected_s": rounded(each.expected_s),
                }
                for each in reading.sentences
            ],
            "num_characters": reading.num_characters,
            "num_words": reading.num_words,
            "num_chunks": reading.num_chunks,
            "expected_s": rounded(reading.expected_s),
            "warnings": reading.warnings,
        }
    )
    return output


def to_failure(error: WorkerError) -> dict[str, Any]:
    """Return the output of a request that failed; RunPod shows a job with `error` as FAILED."""
    output: dict[str, Any] = to_json_safe(
        {"error": f"{error.code}: {error.message}", "code": error.code, "details": error.details}
    )
    return output


def to_json_safe(value: Any) -> Any:
    """Return a value that JSON in UTF-8 can hold.

    Numbers that are not finite become null, half surrogates are written out, and what JSON has no
    type for becomes a string.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {to_json_safe(str(key)): to_json_safe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_safe(each) for each in value]
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def timing(result: SpeechResult) -> dict[str, float]:
    """Return where the time went, as the output and the log show it."""
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


def _segment(segment: Segment) -> dict[str, Any]:
    told = {
        "text": segment.text,
        "speaker": segment.speaker,
        "start_s": rounded(segment.start_s),
        "end_s": rounded(segment.end_s),
    }
    return told if segment.spoken is None else told | {"spoken": segment.spoken}
