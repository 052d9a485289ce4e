"""What goes into the engine, what comes out, and what its parts tell each other.

Plain frozen data without torch, so that those who only prepare or queue work start in milliseconds.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
"""[F, K], undelayed, without stream ids."""

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A run of text ids."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class AudioSegment:
    """Audio that the model hears: reference codes, laid out by the engine in the delay pattern."""

    codes: Codes


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads before it speaks; ends where the first column of audio begins."""

    segments: tuple[TextSegment | AudioSegment, ...]
    num_shared: int = 0
    """How many leading segments other prompts are likely to share: system text and reference."""

    @property
    def num_text_ids(self) -> int:
        """How many text ids the prompt holds, control tokens included."""
        return sum(len(part.ids) for part in self.segments if isinstance(part, TextSegment))

    def shared_key(self) -> bytes:
        """Name the shared segments by their content."""
        digest = hashlib.blake2b(digest_size=16)
        for part in self.segments[: self.num_shared]:
            kind, values = (
                (b"a", part.codes) if isinstance(part, AudioSegment) else (b"t", part.ids)
            )
            data = np.asarray(values, dtype=np.int64).tobytes()
            digest.update(kind + len(data).to_bytes(8, "little") + data)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one sequence is drawn. Defaults are upstream's recommended ones.

    Source: boson-ai/higgs-audio README (temperature 0.3) and generation_config.json (RAS 7/2).
    """

    seed: int
    """0 to 2^63 - 1. With the step and the codebook it decides every draw."""
    temperature: float = 0.3
    """0 is greedy."""
    top_p: float = 0.95
    top_k: int = 50
    """0 keeps all ids."""
    ras_window: int = 7
    """Columns that repetition-aware sampling looks back; 0 switches it off."""
    ras_max_repeats: int = 2
    """Occurrences in the window from which an id is drawn again from the raw distribution."""

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest id is taken, whatever the seed."""
        return self.temperature == 0


@dataclass(frozen=True, slots=True)
class Submission:
    """One sequence to generate."""

    prompt: Prompt
    sampling: Sampling
    max_frames: int
    """Hard cap; at 25 frames a second."""


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A finished sequence."""

    codes: Codes
    """[F, K] by the tail rule: up to the first frame that holds an end code."""
    columns: Codes
    """[N, K], the delayed columns as they were drawn, the first all stream BOS."""
    finish_reason: FinishReason
    queue_s: float = 0.0
    """How long the sequence waited for a slot."""


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """A part of a prompt to read now."""

    slot: int
    num_positions: int


@dataclass(frozen=True, slots=True)
class SlotProgress:
    """What `poll` saw, per slot on the host."""

    done: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    num_columns: NDArray[np.int64]
    """Columns drawn so far, column 0 included."""
