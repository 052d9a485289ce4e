"""Recordings of voices: the same voice, however loud it was recorded and whatever else is on it.

The built-in voices are the speech here, a second of a room's hiss before and after it.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from higgs_worker.audio import read
from higgs_worker.audio.recording import MAX_PEAK, prepare
from higgs_worker.audio.shape import loudness_lufs
from higgs_worker.errors import InvalidAudio
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from tests.audio.sounds import tone

RATE = 24_000
VOICES = ("bram", "clara", "edda", "pippa")
GRID = RATE // 25
TARGET_LUFS = -23.0
PCM = NDArray[np.float32]


@cache
def voice(name: str) -> PCM:
    """Read a built-in voice: speech at -23 LUFS, a tenth of a second of quiet at its ends."""
    wav = VoiceLibrary(Path("no volume"), presets=PRESETS).get(name).wav
    return read.read(wav, sample_rate=RATE, min_s=0, max_s=60)


def hiss(seconds: float, rms: float = 2e-4) -> PCM:
    """Make the noise of a quiet room."""
    rng = np.random.default_rng(0)
    return (rms * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def recorded(name: str) -> PCM:
    """Put a room around a voice."""
    return np.concatenate([hiss(1.0), voice(name), hiss(1.0)])


def at_level(pcm: PCM, db: float) -> PCM:
    """Return a copy as a 16-bit file holds it."""
    scaled = np.round(pcm * 10 ** (db / 20) * 32768).clip(-32768, 32767)
    return (scaled / 32768).astype(np.float32)


def prepared(pcm: PCM) -> PCM:
    """Prepare at the level of references."""
    return prepare(pcm.astype(np.float32), RATE, TARGET_LUFS)


def place(part: PCM, whole: PCM) -> int:
    """Return where a sound begins within another."""
    size = 1 << (len(part) + len(whole)).bit_length()
    spectrum = np.fft.rfft(whole, size) * np.fft.rfft(part, size).conj()
    shift = int(np.abs(np.fft.irfft(spectrum, size)).argmax())
    return shift - size if shift > len(whole) else shift


def assert_whole(name: str, pcm: PCM, quiet_s: float = 0.1) -> None:
    """Assert that all of a voice is there, but for the quiet at its own ends."""
    quiet = round(quiet_s * RATE)
    spoken = voice(name)[quiet:-quiet]
    start = place(spoken, pcm)
    assert start >= 0
    assert start + len(spoken) <= len(pcm)


@pytest.mark.parametrize("name", VOICES)
def test_a_faint_copy_is_cut_like_a_loud_one(name: str) -> None:
    """To the sample; 48 dB down, where 16 bits round the ends away, to one frame of codes."""
    loud = prepared(at_level(recorded(name), 0))
    assert_whole(name, loud)
    assert len(loud) < len(voice(name)) + 0.5 * RATE
    for db in (1.5, -12, -24, -36, -48):
        faint = prepared(at_level(recorded(name), db))
        assert abs(len(faint) - len(loud)) <= (GRID if db < -36 else 0)
        assert place(loud, faint) == 0
        assert loudness_lufs(faint, RATE) == pytest.approx(loudness_lufs(loud, RATE), abs=0.1)


@pytest.mark.parametrize("name", VOICES)
def test_at_the_end_of_16_bits_the_voice_is_still_whole(name: str) -> None:
    """60 dB down, a sample has five bits, and only what was rounded away is missing."""
    assert_whole(name, prepared(at_level(recorded(name), -60)))


def test_a_level_that_floats_changes_nothing() -> None:
    """By a power of two to the last bit, by any factor to rounding."""
    pcm = recorded("clara")
    expected = prepared(pcm)
    for power in (-20, -9, 2):
        np.testing.assert_array_equal(prepared(pcm * np.float32(2.0**power)), expected)
    np.testing.assert_allclose(prepared(pcm * np.float32(0.00173)), expected, atol=1e-5)


def hum(hz: float, peak: float) -> Callable[[PCM], PCM]:
    """Return what adds a hum."""
    return lambda pcm: pcm + peak * np.sin(2 * np.pi * hz / RATE * np.arange(len(pcm)))


@pytest.mark.parametrize("name", ["bram", "pippa"])
@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(lambda pcm: pcm + 0.5, id="offset"),
        pytest.param(lambda pcm: 0.1 * pcm - 0.9, id="offset near full scale"),
        pytest.param(hum(50, 0.3), id="hum of 50 Hz"),
        pytest.param(hum(60, 0.3), id="hum of 60 Hz"),
        pytest.param(hum(12.3, 0.4), id="rumble"),
    ],
)
def test_what_is_below_the_voice_is_taken_out(name: str, disturb: Callable[[PCM], PCM]) -> None:
    """An offset, hum or rumble louder than the voice changes neither the cut nor the voice."""
    clean = prepared(recorded(name) / 4)
    disturbed = prepared(at_level(disturb(recorded(name) / 4), 0))
    assert (place(clean, disturbed), len(disturbed)) == (0, len(clean))
    rest = disturbed - clean
    assert np.square(rest).mean() < 0.01 * np.square(clean).mean()


def with_click(pcm: PCM) -> PCM:
    """Add clicks before, in and after the voice."""
    pcm = pcm.copy()
    pcm[[5000, len(pcm) // 2, -5000]] = 1, -1, 1
    return pcm


def with_slam(pcm: PCM) -> PCM:
    """Add a third of a second of loud noise at the start."""
    pcm = pcm.copy()
    pcm[2400:9600] += 2000 * hiss(0.3)
    return pcm


def with_pause(pcm: PCM) -> PCM:
    """Add three seconds of nothing in the middle."""
    half = len(pcm) // 2
    return np.concatenate([pcm[:half], np.zeros(3 * RATE, np.float32), pcm[half:]])


def with_soft_ends(pcm: PCM) -> PCM:
    """Let the first and the last second be 20 dB fainter than the rest."""
    seconds = np.arange(len(pcm)) / RATE
    middle = np.minimum(seconds - 1, seconds[::-1] - 1).clip(0, 1)
    return pcm * 10 ** (middle - 1)


@pytest.mark.parametrize("name", VOICES)
@pytest.mark.parametrize("db", [0, -36])
@pytest.mark.parametrize("disturb", [with_click, with_slam, with_pause, with_soft_ends])
def test_nothing_of_the_voice_is_called_silence(
    name: str, db: float, disturb: Callable[[PCM], PCM]
) -> None:
    """Neither for a click, a slam, a pause or soft words; and the voice is as loud as ever."""
    pcm = prepared(at_level(disturb(recorded(name) / 4), db))
    expected = disturb(recorded(name))[RATE + 2400 : -RATE - 2400]
    start = place(expected, pcm)
    assert start >= 0
    assert start + len(expected) <= len(pcm)
    assert np.abs(pcm).max() <= np.float32(MAX_PEAK)
    spoken = pcm[max(start, 10_000) : start + len(expected)]
    assert loudness_lufs(spoken, RATE) == pytest.approx(TARGET_LUFS, abs=1)


@pytest.mark.parametrize("name", VOICES)
@pytest.mark.parametrize("snr_db", [30, 20, 10, 0, -3])
def test_noise_costs_nothing_of_the_voice(name: str, snr_db: float) -> None:
    """The more noise there is, the less is cut."""
    pcm = recorded(name)
    rms = 10 ** (-snr_db / 20) * np.sqrt(np.square(voice(name)).mean())
    assert_whole(name, prepared(0.2 * (pcm + hiss(len(pcm) / RATE, rms))), 0.15)


@pytest.mark.parametrize("name", VOICES)
def test_what_is_prepared_is_not_cut_again(name: str) -> None:
    """Nor are the built-in voices, which are prepared."""
    once = prepared(recorded(name))
    assert len(prepared(once)) == len(once)
    assert len(prepared(voice(name))) == len(voice(name))
    assert len(once) % GRID == 0


@pytest.mark.parametrize(
    "pcm",
    [
        np.zeros(2 * RATE),
        np.full(2 * RATE, 0.3),
        tone(2.0, RATE),
        at_level(hum(50, 0.5)(np.zeros(2 * RATE, np.float32)), 0),
        hiss(5.0, 0.1),
        np.concatenate([np.zeros(RATE), hiss(0.2, 0.1), np.zeros(RATE)]),
    ],
    ids=["zeros", "offset", "tone", "hum", "hiss", "0.2 s"],
)
def test_what_nobody_speaks_in_is_refused(pcm: PCM) -> None:
    """Silence and steady sounds hold nothing that stands out, at any level."""
    for gain in (1, 1e-3):
        with pytest.raises(InvalidAudio, match=r"holds 0\.[0-2]\d s of sound that stands out"):
            prepared(gain * pcm)
