"""What goes into the engine, what comes out, and what its parts pass to each other.

Plain frozen data without torch, so that code which only prepares or queues work imports quickly.
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
    """Reference audio: codes that the engine lays out in the delay pattern."""

    codes: Codes


@dataclass(frozen=True, slots=True)
class Prompt:
    """The model's input; it ends where the first column of generated audio begins."""

    segments: tuple[TextSegment | AudioSegment, ...]
    num_shared: int = 0
    """Leading segments that other prompts are likely to share: system text and reference."""

    @property
    def num_text_ids(self) -> int:
        """Number of text ids, control tokens included."""
        return sum(len(part.ids) for part in self.segments if isinstance(part, TextSegment))

    def shared_key(self) -> bytes:
        """Return a digest of the shared segments, equal if and only if their content is."""
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
    """0 to 2^63 - 1. Every draw depends on seed, step and codebook alone."""
    temperature: float = 0.3
    """0 is greedy."""
    top_p: float = 0.95
    top_k: int = 50
    """0 keeps all ids."""
    ras_window: int = 7
    """Columns that repetition-aware sampling (RAS) looks back; 0 switches it off."""
    ras_max_repeats: int = 2
    """An id that is in the window this many times is redrawn from the raw distribution."""

    @property
    def is_greedy(self) -> bool:
        """Whether the likeliest id is chosen, whatever the seed."""
        return self.temperature == 0


@dataclass(frozen=True, slots=True)
class Submission:
    """One sequence to generate."""

    prompt: Prompt
    sampling: Sampling
    max_frames: int
    """Upper bound on the length, at 25 frames per second."""


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A finished sequence."""

    codes: Codes
    """[F, K] by the tail rule: up to the first frame that holds an end code."""
    columns: Codes
    """[N, K], the delayed columns as drawn, the first all stream BOS."""
    finish_reason: FinishReason
    """`stop`: the model ended it; `length`: it was cut at `max_frames`."""
    queue_s: float = 0.0
    """Seconds that the sequence waited for a slot."""


@dataclass(frozen=True, slots=True)
class PrefillChunk:
    """The next positions of a prompt that a slot holds."""

    slot: int
    num_positions: int


@dataclass(frozen=True, slots=True)
class SlotProgress:
    """The outcome of a poll, per slot, on the host."""

    done: NDArray[np.bool_]
    """[B], whether all columns that the audio needs are drawn."""
    failed: NDArray[np.bool_]
    """[B], whether any logit was not finite."""
    num_columns: NDArray[np.int64]
    """[B], columns drawn so far, column 0 included."""
