"""What this model is known to do wrong, and how it is noticed: cut off, runaway, silent, looping.

Judges what was said by its length, its level and its codes; what it costs to say it again is for
others to weigh. The bounds are wide: they catch what is broken, not what is unusual.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HURRIED = 0.4
"""The share of its expected length below which a text cannot have been said."""
MIN_JUDGED_S = 1.0
"""Expected length below which nothing follows from it."""
MAX_QUIET_S = 2.5
"""No reader is silent for longer within a chunk; this model is, once it has lost the thread."""
MIN_LOOP_S, MAX_LOOP_LAG_S = 1.5, 4.0
"""Frame for frame the same again, for this long at least and up to this much later."""
LOOP_CODEBOOKS = 2
"""The coarsest ones; the others differ even between two readings of one word."""
MIN_LOOP_LAG, MIN_LOOP_CODES = 8, 4
"""Shorter or poorer loops are held vowels and silence."""
CLIPPED = 0.999
MAX_CLIPPED = 0.003
"""A share of samples at full scale; loud speech that was mastered has a tenth of it."""


@dataclass(frozen=True, slots=True)
class Said:
    """What there is to judge of one take."""

    pcm: NDArray[np.float32]
    """[S], silence at the ends cut."""
    sample_rate: int
    frame_rate: int
    codes: NDArray[np.int64]
    """[F, K], of the whole take."""
    expected_s: float
    hit_cap: bool
    """It was cut off by our own cap on its length."""
    fell_silent: bool
    """It was stopped because it had been silent for long."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with a take."""

    kind: str
    sentence: str
    weight: float
    """How bad it is; of several takes, the one with the least is kept."""


def judge(said: Said) -> list[Fault]:
    """Find what is wrong with a take, worst first."""
    duration_s = len(said.pcm) / said.sample_rate
    faults = []
    if not len(said.pcm):
        faults.append(Fault("silent", "nothing can be heard", 100.0))
    elif said.expected_s >= MIN_JUDGED_S and duration_s < HURRIED * said.expected_s:
        lost = 1 - duration_s / said.expected_s
        faults.append(
            Fault(
                "early_end",
                f"it ends after {duration_s:.1f} s where about {said.expected_s:.1f} s were due",
                50.0 + 40.0 * lost,
            )
        )
    if said.hit_cap:
        faults.append(Fault("runaway", f"it did not end within {duration_s:.1f} s", 45.0))
    if said.fell_silent:
        faults.append(Fault("silence", f"it fell silent after {duration_s:.1f} s", 5.0))
    if (loop_s := longest_loop_s(said.codes, said.frame_rate)) >= MIN_LOOP_S:
        faults.append(Fault("repetition", f"it repeats itself for {loop_s:.1f} s", 40.0 + loop_s))
    if len(said.pcm) and np.mean(np.abs(said.pcm) >= CLIPPED) > MAX_CLIPPED:
        faults.append(Fault("clipping", "it is distorted by clipping", 10.0))
    return sorted(faults, key=lambda fault: -fault.weight)


def longest_loop_s(codes: NDArray[np.int64], frame_rate: int) -> float:
    """Give the longest stretch in seconds that repeats, frame for frame, what came before it."""
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
