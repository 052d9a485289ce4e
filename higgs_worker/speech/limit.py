"""The most audio that a request may get: `max_duration_s` in samples, and the cut where it ends.

Only the sound before the cut is faded, and only where something is cut: a speech that ends in time
is passed on unchanged.
"""

import math
import sys

import numpy as np

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio.edges import FADE_S
from higgs_worker.audio.pcm import PCM
from higgs_worker.audio.shape import ramp


class AudioLimit:
    """Passes PCM on until as much was heard as the caller wants."""

    def __init__(self, max_samples: int, num_fade: int) -> None:
        """
        Args:
            max_samples: of the PCM.
            num_fade: samples before a cut that are faded out; at most `max_samples`.
        """
        self.num_taken = 0
        """Samples that are heard, or will be."""
        self.is_reached = False
        """Whether something is left out."""
        self.max_samples = max_samples
        self._num_fade = num_fade
        self._held: PCM = np.zeros(0, np.float32)
        """Samples at the limit, which are faded only if more follow."""

    @classmethod
    def of(cls, request: SpeechRequest, sample_rate: int) -> "AudioLimit":
        """Return the limit of a request; `sample_rate` is that of the PCM, in hertz."""
        return cls(_max_samples(request, sample_rate), round(FADE_S * sample_rate))

    @property
    def num_left(self) -> int:
        """How many samples may still be heard."""
        return self.max_samples - self.num_taken

    def pass_on(self, pcm: PCM) -> PCM:
        """Accept the next samples; return those that are final, [S] float32, maybe none."""
        room = self.num_left
        self.num_taken += min(len(pcm), room)
        heard = np.concatenate([self._held, pcm[:room]]) if len(self._held) else pcm[:room]
        if len(pcm) > room:
            self.is_reached = True
            self._held = heard[:0]
            fall = ramp(self._num_fade)[::-1][-len(heard) :] if len(heard) else heard
            sure = len(heard) - len(fall)
            return np.concatenate([heard[:sure], heard[sure:] * fall])
        sure = len(heard) - max(0, self._num_fade - self.num_left)
        self._held = heard[sure:]
        return heard[:sure]

    def end(self) -> None:
        """Leave out whatever would follow."""
        self.is_reached = True

    def finish(self) -> PCM:
        """Return the samples that were held back."""
        held, self._held = self._held, self._held[:0]
        return held


def _max_samples(request: SpeechRequest, sample_rate: int) -> int:
    """Return how many samples make an audio of `max_duration_s`.

    Speed and rate are changed afterwards and give whole samples, the output tells milliseconds.
    Each step is rounded down here, so that none rounds up beyond the limit.

    Args:
        request: has the limit, and how the audio is shaped afterwards.
        sample_rate: of the PCM, in hertz.
    """
    if request.max_duration_s is None:
        return sys.maxsize
    milliseconds = math.floor(request.max_duration_s * 1000 + 1e-6)  # 0.57 * 1000 is below 570
    num_in_file = milliseconds * request.audio_rate // 1000
    return math.floor(num_in_file * sample_rate // request.audio_rate * request.speed)
