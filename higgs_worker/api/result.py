"""What comes back for a request: encoded audio, and everything there is to say about it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence and when it is heard."""

    text: str
    """As the caller wrote it."""
    speaker: str | None
    start_s: float
    end_s: float
    spoken: str | None = None
    """What was said, where it differs: numbers and symbols written out."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the request took."""

    text_tokens: int
    audio_frames: int
    characters: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in seconds of wall clock."""

    queue_s: float
    load_s: float
    first_audio_s: float
    total_s: float
    rtf: float
    """Compute seconds per second of audio; below 1 is faster than real time."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which weights spoke."""

    id: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class SpeechResult:
    """Encoded audio and what there is to say about it."""

    audio: bytes
    format: str
    sample_rate: int
    channels: int
    duration_s: float
    segments: tuple[Segment, ...]
    seed: int
    """The seed that was used, drawn or given."""
    finish_reason: Literal["stop", "length"]
    """`length`: cut off by `max_duration_s` or by the room in a slot."""
    warnings: tuple[str, ...]
    usage: Usage
    timing: Timing
    model: ModelInfo
