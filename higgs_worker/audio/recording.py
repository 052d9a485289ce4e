"""Prepare the recording of a voice: rumble out, quiet ends cut, speech at one loudness.

What counts as quiet follows from the recording's own speech and noise, so a faint copy is cut where
a loud one is. Where speech and noise can hardly be told apart, nothing is cut.
"""

import numpy as np
from numpy.typing import NDArray

from higgs_worker.audio.pcm import PCM
from higgs_worker.audio.shape import loudness_lufs
from higgs_worker.errors import InvalidAudio

VERSION = 1
"""Raised whenever a recording comes out otherwise than before, because its codes differ then."""
MIN_SPEECH_S = 0.3
"""The least that must stand out from the background; one short word is longer."""
KEEP_S = 0.2
"""What stays of the quiet at each end; a soft onset, a last consonant or a breath is shorter."""
MAX_PEAK = 0.97

_GRID_S = 0.04
"""Cuts are at multiples of a frame of codes. So a copy in which the first sound is found 10 ms
earlier has the same codes, one frame later at most."""
_RUMBLE_HZ, _VOICE_HZ = 60.0, 85.0
"""Nothing up to the first stays, so no hum of the mains, and everything from the second on; the
pitch of the deepest voices lies between, and their overtones above."""
_EXTENSION_S = 0.25
"""Added at both ends for the filter, which rings for less."""

_HOP_S = 0.01
"""Levels are of frames of two hops."""
_HUM_HZ, _FORMANT_HZ = 125.0, 250.0
"""Levels are of what is above: wind and hum are below, and every sound of speech reaches above."""
_NOTHING = 1e-7
"""Power, where the mean is 1; no room is 70 dB quieter than who speaks in it."""
_ROUNDING = 1e-7
"""Of the largest sample; a recording of an offset alone keeps less."""
_FLOOR_S = 0.3
"""The quietest frames that make up this time are at the noise floor or below it."""
_CONTRAST_DB = 3.0
"""Hiss and steady tones, frame by frame, exceed their floor by less."""
_CLEAR_DB = 10.0
"""Speech that exceeds the floor by this can be told from noise."""
_VOICED_DB = 20.0
"""Frames that are this near to the loudest tenth tell the level of speech: few lie at the border,
so it hardly depends on how much noise counts as sound."""
_ABOVE_FLOOR_DB, _BELOW_SPEECH_DB = 4.0, 30.0
"""A frame is quiet below both bounds. The faintest sound of speech (th) is 28 dB below the loudest.
Source: H. Fletcher, Speech and Hearing, 1929."""
_OUTLIER_DB = 25.0
"""Louder than speech by this is a click or a slam; in the built-in voices no vowel is by 22."""


def prepare(pcm: PCM, sample_rate: int, target_lufs: float) -> PCM:
    """Return a recording without rumble and quiet ends, its speech at a loudness.

    A copy at any other level gives the same result; by a power of two, to the last bit.

    Args:
        pcm: `[S] float32`, a second or more.
        sample_rate: in hertz.
        target_lufs: integrated loudness wanted. Samples beyond MAX_PEAK are clipped, so that a
            click leaves the speech no fainter.

    Returns:
        `[S'] float32`.

    Raises:
        InvalidAudio: less than MIN_SPEECH_S of it stand out from the background.
    """
    sound, band = _filter(pcm, sample_rate)
    scale = max(np.sqrt(np.square(sound).mean()), _ROUNDING * np.abs(pcm).max()) or 1.0
    sound /= scale
    hop = round(_HOP_S * sample_rate)
    levels = _levels_db(band / scale, hop)
    floor = np.sort(levels)[min(round(_FLOOR_S / _HOP_S), len(levels) // 4)]
    active = levels[levels > floor + _CONTRAST_DB]
    if len(active) < MIN_SPEECH_S / _HOP_S:
        raise InvalidAudio(
            f"the reference audio holds {len(active) * _HOP_S:.2f} s of sound that stands out from "
            f"its background and needs {MIN_SPEECH_S} s; send a recording with more speech in it"
        )
    speech = np.median(active[active > np.percentile(active, 90) - _VOICED_DB])

    # Measured without what is no speech; before the cut, so that a cut changes nothing in it.
    outliers = np.flatnonzero(levels > speech + _OUTLIER_DB)
    measured = np.delete(sound, np.add.outer(hop * outliers, np.arange(2 * hop)))
    loudness = loudness_lufs(measured.astype(np.float32), sample_rate)
    sound *= 10 ** ((target_lufs - loudness) / 20)

    if speech > floor + _CLEAR_DB:
        loud = np.flatnonzero(levels > max(floor + _ABOVE_FLOOR_DB, speech - _BELOW_SPEECH_DB))
        keep, grid = round(KEEP_S * sample_rate), round(_GRID_S * sample_rate)
        start = max(0, hop * loud[0] - keep) // grid
        end = -(-(hop * (loud[-1] + 2) + keep) // grid)
        sound = sound[start * grid : end * grid]
    return sound.clip(-MAX_PEAK, MAX_PEAK).astype(np.float32)


def _filter(pcm: PCM, sample_rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a recording without rumble, and the part of it that levels are measured of.

    The filters have no phase, so nothing is shifted.
    """
    # Mirrored in its first and last sample, so that hum goes on smoothly and the ends do not ring;
    # and to a length without large factors, for which the transform is fast.
    extension, length = round(_EXTENSION_S * sample_rate), len(pcm)
    step = 1 << max(0, (length + 2 * extension).bit_length() - 4)
    size = -(-(length + 2 * extension) // step) * step
    widths = (extension, size - extension - length)
    extended = np.pad(pcm.astype(np.float64), widths, mode="reflect", reflect_type="odd")
    spectrum = np.fft.rfft(extended)
    hz = np.fft.rfftfreq(size, 1 / sample_rate)

    def above(low: float, high: float) -> NDArray[np.float64]:
        rise = np.clip((hz - low) / (high - low), 0, 1)
        response = 0.5 - 0.5 * np.cos(np.pi * rise)
        return np.fft.irfft(spectrum * response, size)[extension : extension + length]

    return above(_RUMBLE_HZ, _VOICE_HZ), above(_HUM_HZ, _FORMANT_HZ)


def _levels_db(sound: NDArray[np.float64], hop: int) -> NDArray[np.float64]:
    """Return the level of each frame of two hops, [frames], one for each hop but the last."""
    hops = np.square(sound[: len(sound) // hop * hop]).reshape(-1, hop).mean(axis=1)
    levels: NDArray[np.float64] = 10 * np.log10((hops[:-1] + hops[1:]) / 2 + _NOTHING)
    # The filter rings where a hum breaks off. The frames beside these hold what is at the ends.
    levels[:2], levels[-2:] = levels[2], levels[-3]
    return levels
