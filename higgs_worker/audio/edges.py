"""Where chunks of speech meet: the silence that a sequence leaves at its ends, and the edges.

Works on PCM as it comes and gives the same samples whatever the sizes of the pieces. What is quiet
is held back until more sound follows; what only ends in quiet is cut to a breath.
"""

import math

import numpy as np
from numpy.typing import NDArray

from higgs_worker.audio.shape import loudness_lufs, ramp

PCM = NDArray[np.float32]

QUIET = 10 ** (-50.0 / 20)
"""Peak below which nothing is heard."""
LEAD_S, TAIL_S = 0.1, 0.25
"""Quiet that stays: no soft onset is cut, and no breath."""
FADE_S = 0.005
"""Too short to hear, long enough that no player clicks."""
MAX_GAIN_DB = 6.0
"""Chunks of one voice differ by less; a whisper stays one."""
MAX_PEAK = 0.97


class Edges:
    """Cuts and fades the ends of one chunk."""

    def __init__(self, sample_rate: int) -> None:
        self._lead, self._tail, self._fade = (
            round(seconds * sample_rate) for seconds in (LEAD_S, TAIL_S, FADE_S)
        )
        self._sample_rate = sample_rate
        self._held: PCM = np.zeros(0, np.float32)
        """Not passed on: quiet so far, and at least the samples that a fade would need."""
        self._num_passed = 0
        self._has_sound = False
        self._num_quiet = 0

    @property
    def quiet_s(self) -> float:
        """How long nothing has been heard; 0 before the first sound."""
        return self._num_quiet / self._sample_rate if self._has_sound else 0.0

    def feed(self, pcm: PCM) -> PCM:
        """Take the next samples and give those that are final, [S] float32; maybe none."""
        loud = np.flatnonzero(np.abs(pcm) > QUIET)
        self._num_quiet = len(pcm) - 1 - int(loud[-1]) if len(loud) else self._num_quiet + len(pcm)
        held = np.concatenate([self._held, pcm])
        if not len(loud) and not self._has_sound:
            self._held = held[max(0, len(held) - self._lead) :]
            return held[:0]
        if not self._has_sound:
            first = len(self._held) + int(loud[0])
            held = held[max(0, first - self._lead) :]
            self._has_sound = True
        # All up to the last sound is final, save what a fade at the end would touch.
        num_final = len(held) - max(self._num_quiet, self._fade)
        if not len(loud) or num_final <= 0:
            num_final = 0
        self._held = held[num_final:]
        return self._passed(held[:num_final])

    def finish(self) -> PCM:
        """Give the rest, cut and faded."""
        if not self._has_sound:
            return self._held[:0]
        num_loud = max(0, len(self._held) - self._num_quiet)
        rest = self._passed(self._held[: num_loud + self._tail])
        fall = ramp(self._fade)[::-1][-len(rest) :] if len(rest) else rest
        rest[len(rest) - len(fall) :] *= fall
        return rest

    def _passed(self, pcm: PCM) -> PCM:
        """Count what is passed on, and let the chunk's first samples rise."""
        begun, self._num_passed = self._num_passed, self._num_passed + len(pcm)
        if begun >= self._fade:
            return pcm.copy()
        risen = pcm.copy()
        rise = ramp(self._fade)[begun : begun + len(pcm)]
        risen[: len(rise)] *= rise
        return risen


def matching_gain(pcm: PCM, sample_rate: int, target_lufs: float) -> float:
    """Give the factor that brings a chunk near to the loudness of another, within bounds."""
    measured = loudness_lufs(pcm, sample_rate)
    if math.isinf(measured) or math.isinf(target_lufs):
        return 1.0
    gain_db = min(MAX_GAIN_DB, max(-MAX_GAIN_DB, target_lufs - measured))
    room = MAX_PEAK / float(np.abs(pcm).max())
    return min(10 ** (gain_db / 20), max(room, 1.0))
