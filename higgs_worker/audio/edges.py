"""Trim and fade the edges of a chunk, so that chunks can be joined.

Works on PCM as it arrives and gives the same samples for any sizes of the pieces. Quiet samples are
held back until sound follows; quiet at the end is cut to a quarter of a second.
"""

import math

import numpy as np

from higgs_worker.audio.pcm import PCM
from higgs_worker.audio.shape import loudness_lufs, ramp

QUIET = 10 ** (-50.0 / 20)
"""Amplitude below which a sample counts as quiet."""
LEAD_S, TAIL_S = 0.1, 0.25
"""Quiet that stays at each end, so that neither a soft onset nor a breath is cut."""
FADE_S = 0.005
"""Too short to be heard, long enough to avoid a click."""
MAX_GAIN_DB = 6.0
"""Chunks of one voice differ by less; a whisper remains a whisper."""
MAX_PEAK = 0.97


class Edges:
    """Trims and fades the ends of one chunk."""

    def __init__(self, sample_rate: int) -> None:
        self._lead, self._tail, self._fade = (
            round(seconds * sample_rate) for seconds in (LEAD_S, TAIL_S, FADE_S)
        )
        self._sample_rate = sample_rate
        self._held: PCM = np.zeros(0, np.float32)
        """Samples not returned yet: the quiet so far, or at least what a fade would need."""
        self._num_released = 0
        self._has_sound = False
        self._num_quiet = 0

    @property
    def quiet_s(self) -> float:
        """Seconds of quiet at the end so far; 0 before the first sound."""
        return self._num_quiet / self._sample_rate if self._has_sound else 0.0

    def feed(self, pcm: PCM) -> PCM:
        """Accept the next samples; return those that are final, [S] float32, maybe none."""
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
        # Everything up to the last sound is final, except what a fade at the end would change.
        num_final = len(held) - max(self._num_quiet, self._fade)
        if not len(loud) or num_final <= 0:
            num_final = 0
        self._held = held[num_final:]
        return self._release(held[:num_final])

    def finish(self) -> PCM:
        """Return the rest, trimmed and faded."""
        if not self._has_sound:
            return self._held[:0]
        num_loud = max(0, len(self._held) - self._num_quiet)
        rest = self._release(self._held[: num_loud + self._tail])
        fall = ramp(self._fade)[::-1][-len(rest) :] if len(rest) else rest
        rest[len(rest) - len(fall) :] *= fall
        return rest

    def _release(self, pcm: PCM) -> PCM:
        """Count the samples that are returned, and fade in the chunk's first ones."""
        start, self._num_released = self._num_released, self._num_released + len(pcm)
        if start >= self._fade:
            return pcm.copy()
        risen = pcm.copy()
        rise = ramp(self._fade)[start : start + len(pcm)]
        risen[: len(rise)] *= rise
        return risen


def matching_gain(pcm: PCM, sample_rate: int, target_lufs: float) -> float:
    """Return the factor that brings a chunk to a loudness, as far as the bounds allow."""
    measured = loudness_lufs(pcm, sample_rate)
    if math.isinf(measured) or math.isinf(target_lufs):
        return 1.0
    gain_db = min(MAX_GAIN_DB, max(-MAX_GAIN_DB, target_lufs - measured))
    max_gain = MAX_PEAK / float(np.abs(pcm).max())
    return min(10 ** (gain_db / 20), max(max_gain, 1.0))
