"""The built-in voices, as they lie in the package."""

import io
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from higgs_worker.audio.shape import loudness_lufs
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from higgs_worker.voices.references import LOUDNESS_LUFS
from higgs_worker.voices.voice_file import SAMPLE_RATE, Voice

NAMES = ("bram", "clara", "edda", "pippa")
MAX_BYTES = 1_500_000
"""All of them together: they are in every image."""


@pytest.fixture(scope="module", params=NAMES)
def preset(request: pytest.FixtureRequest) -> Voice:
    """Each built-in voice."""
    return VoiceLibrary(Path("no volume"), presets=PRESETS).get(request.param)


def samples_of(voice: Voice) -> np.ndarray:
    """Read a voice's recording, which must be mono at our rate."""
    with wave.open(io.BytesIO(voice.wav)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        assert file.getframerate() == SAMPLE_RATE
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2") / 32768


def test_every_preset_is_listed() -> None:
    """All are there, sound, and small enough to be in the image."""
    listed = VoiceLibrary(Path("no volume"), presets=PRESETS).list()
    assert tuple(each.name for each in listed) == NAMES
    assert all(each.preset and each.problem is None for each in listed)
    assert sum(path.stat().st_size for path in PRESETS.iterdir()) < MAX_BYTES


def test_a_preset_says_what_it_is(preset: Voice) -> None:
    """Each has a transcript, a description, and a note on its licence and its making."""
    assert preset.text[0].isupper()
    assert preset.text[-1] in ".!?"
    assert preset.description
    assert preset.licence is not None
    assert "Apache-2.0" in preset.licence
    assert "hibari-tts" in preset.licence


def test_a_preset_is_a_good_reference(preset: Voice) -> None:
    """Each is 5 to 15 s long, at the level of references, not clipped, with no long silence."""
    samples = samples_of(preset)
    assert preset.duration_s == pytest.approx(len(samples) / SAMPLE_RATE)
    assert 5 <= preset.duration_s <= 15
    assert np.abs(samples).max() < 0.99
    assert loudness_lufs(samples.astype(np.float32), SAMPLE_RATE) == pytest.approx(
        LOUDNESS_LUFS, abs=0.5
    )
    quiet = np.abs(samples).reshape(-1)[: len(samples) // 2400 * 2400].reshape(-1, 2400).max(1)
    assert "1111111111" not in "".join("1" if level < 0.003 else "0" for level in quiet)


def test_the_transcript_fits_the_recording(preset: Voice) -> None:
    """Each is spoken at a pace of 12 to 22 characters a second, as English is."""
    assert 12 <= len(preset.text) / preset.duration_s <= 22


def test_presets_are_different_voices() -> None:
    """No two have the same recording, nor the same middle pitch within 5 %."""
    library = VoiceLibrary(Path("no volume"), presets=PRESETS)
    pitches = sorted(pitch(samples_of(library.get(name))) for name in NAMES)
    assert all(high / low > 1.05 for low, high in pairwise(pitches))
    assert 70 < pitches[0] < 150
    assert 200 < pitches[-1] < 300


def pitch(samples: np.ndarray) -> float:
    """Find the middle of a voice's pitch, in hertz, by autocorrelation of its loud parts."""
    found = []
    for start in range(0, len(samples) - 2048, 1024):
        piece = samples[start : start + 2048] - samples[start : start + 2048].mean()
        if np.sqrt((piece**2).mean()) < 0.05:
            continue
        spectrum = np.fft.rfft(piece, 4096)
        likeness = np.fft.irfft(spectrum * spectrum.conj())[: 24000 // 70]
        lag = 24000 // 400 + int(np.argmax(likeness[24000 // 400 :]))
        if likeness[lag] > 0.5 * likeness[0]:
            found.append(SAMPLE_RATE / lag)
    return float(np.median(found))
