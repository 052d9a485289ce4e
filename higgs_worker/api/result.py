"""What comes back for a request: how its speech went, and which file holds it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence, and when it is heard."""

    text: str
    """As the caller wrote it."""
    speaker: str | None
    start_s: float
    end_s: float
    spoken: str | None = None
    """As it was spoken, where that differs: numbers and symbols written out."""


@dataclass(frozen=True, slots=True)
class SegmentUpdate:
    """What is known of a segment while its speech goes on; a later one replaces it."""

    index: int
    """Among the segments of the result."""
    segment: Segment
    is_estimate: bool
    """Whether its times, or its end alone, follow from the text and not from its sound."""


@dataclass(frozen=True, slots=True)
class Usage:
    """How much the request used."""

    text_tokens: int
    audio_frames: int
    characters: int


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in seconds of wall clock."""

    queue_s: float
    """Waited for the text to be split and for a slot."""
    load_s: float
    """Waited for the model to be loaded, whoever had asked for it."""
    first_audio_s: float
    """From the request to its first PCM, waiting included."""
    total_s: float
    """From the request to the end of its PCM."""
    rtf: float
    """Compute seconds per second of audio; below 1 is faster than real time."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which weights spoke."""

    id: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class SpeechResult:
    """What the caller gets of a speech, apart from its encoded audio."""

    duration_s: float
    segments: tuple[Segment, ...]
    seed: int
    """The seed that was used, drawn or given."""
    finish_reason: Literal["stop", "length"]
    """`length`: cut off by `max_duration_s` or by the length of a slot."""
    warnings: tuple[str, ...]
    usage: Usage
    timing: Timing
    model: ModelInfo


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Encoded audio without its bytes."""

    format: str
    mime_type: str
    sample_rate: int
    """In hertz, as stored."""
    num_bytes: int
    sha256: str
    """Hexadecimal, of those bytes."""
    channels: int = 1
