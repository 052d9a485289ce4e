"""What this model is known to do wrong: cut off, run on, fall silent, loop, clip.

An attempt is judged by its length, its level and its codes. The bounds are wide: they find what is
broken, not what is unusual.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_LENGTH_SHARE = 0.4
"""Share of the expected length below which the text cannot have been spoken whole."""
MIN_JUDGED_S = 1.0
"""Expected length below which the length is not judged."""
MAX_QUIET_S = 2.5
"""No reader is silent for longer within a chunk; this model is, once it has lost its place."""
MIN_LOOP_S, MAX_LOOP_LAG_S = 1.5, 4.0
"""A loop repeats frame for frame, for at least this long, up to this much later."""
LOOP_CODEBOOKS = 2
"""The coarsest codebooks; the others differ even between two utterances of one word."""
MIN_LOOP_LAG, MIN_LOOP_CODES = 8, 4
"""In frames, and in different codes: anything less is a held vowel or silence."""
CLIPPED = 0.999
"""Absolute sample value from which on a sample counts as clipped."""
MAX_CLIPPED_SHARE = 0.003
"""Of all samples; loud, mastered speech has a tenth of it."""


@dataclass(frozen=True, slots=True)
class AttemptAudio:
    """What is judged of one attempt."""

    pcm: NDArray[np.float32]
    """[S], without the silence at its ends."""
    sample_rate: int
    frame_rate: int
    codes: NDArray[np.int64]
    """[F, K], of the whole attempt."""
    expected_s: float
    """0: there is no telling, because the caller's limit ended it."""
    hit_cap: bool
    """Whether our own cap on its length ended it."""
    fell_silent: bool
    """Whether it was stopped because it had been silent for too long."""


@dataclass(frozen=True, slots=True)
class SpeechFault:
    """Something that is wrong with an attempt."""

    kind: str
    sentence: str
    weight: float
    """How bad it is; of several attempts, the one with the lowest sum is kept."""


def judge(attempt: AttemptAudio) -> list[SpeechFault]:
    """Return what is wrong with an attempt, worst first."""
    duration_s = len(attempt.pcm) / attempt.sample_rate
    faults = []
    if not len(attempt.pcm):
        faults.append(SpeechFault("silent", "nothing can be heard", 100.0))
    elif attempt.expected_s >= MIN_JUDGED_S and duration_s < MIN_LENGTH_SHARE * attempt.expected_s:
        lost = 1 - duration_s / attempt.expected_s
        faults.append(
            SpeechFault(
                "early_end",
                f"it ends after {duration_s:.1f} s where about {attempt.expected_s:.1f} s were due",
                50.0 + 40.0 * lost,
            )
        )
    if attempt.hit_cap:
        faults.append(SpeechFault("runaway", f"it did not end within {duration_s:.1f} s", 45.0))
    if attempt.fell_silent:
        faults.append(SpeechFault("silence", f"it fell silent after {duration_s:.1f} s", 5.0))
    if (loop_s := longest_loop_s(attempt.codes, attempt.frame_rate)) >= MIN_LOOP_S:
        sentence = f"it repeats itself for {loop_s:.1f} s"
        faults.append(SpeechFault("repetition", sentence, 40.0 + loop_s))
    if len(attempt.pcm) and np.mean(np.abs(attempt.pcm) >= CLIPPED) > MAX_CLIPPED_SHARE:
        faults.append(SpeechFault("clipping", "it is distorted by clipping", 10.0))
    return sorted(faults, key=lambda fault: -fault.weight)


def longest_loop_s(codes: NDArray[np.int64], frame_rate: int) -> float:
    """Return the longest stretch, in seconds, that repeats what came before it frame for frame."""
    coarse = codes[:, :LOOP_CODEBOOKS]
    longest = 0
    for lag in range(MIN_LOOP_LAG, min(round(MAX_LOOP_LAG_S * frame_rate), len(coarse) - 1)):
        same = (coarse[lag:] == coarse[:-lag]).all(axis=1)
        borders = np.flatnonzero(np.diff(np.concatenate([[False], same, [False]])))
        for start, end in zip(borders[::2], borders[1::2], strict=True):
            is_longer = end - start > longest and end - start >= lag
            if is_longer and len(np.unique(coarse[lag + start : lag + end, 0])) >= MIN_LOOP_CODES:
                longest = int(end - start)
    return longest / frame_rate
