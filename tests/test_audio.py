"""Encoding: what was computed is what is heard."""

import io

import numpy as np
import pytest
import soundfile

from higgs_worker.audio import MIME_TYPES, encode_wav


def test_wav_is_16_bit_mono_at_the_given_rate() -> None:
    """Reading the file back gives the samples, to half a step of 16 bits."""
    pcm = np.sin(np.arange(2400, dtype=np.float32) / 10).astype(np.float32)
    with soundfile.SoundFile(io.BytesIO(encode_wav(pcm, 24000))) as file:
        assert (file.samplerate, file.channels, file.subtype) == (24000, 1, "PCM_16")
        read = file.read(dtype="int16")
    np.testing.assert_allclose(read / 32767, pcm, atol=0.5 / 32767 + 1e-7)


def test_loud_samples_are_clipped() -> None:
    """Too loud stays loud: no sample changes its sign."""
    pcm = np.array([2.0, -2.0, 1.0, -1.0, np.inf, 0.0], dtype=np.float32)
    read, _ = soundfile.read(io.BytesIO(encode_wav(pcm, 8000)), dtype="int16")
    assert read.tolist() == [32767, -32767, 32767, -32767, 32767, 0]


@pytest.mark.parametrize("pcm", [np.array([0.0, np.nan]), np.zeros((2, 3))])
def test_what_is_no_sound_is_refused(pcm: np.ndarray) -> None:
    """NaN and stacks of channels are defects, not audio."""
    with pytest.raises(ValueError, match="PCM"):
        encode_wav(pcm.astype(np.float32), 24000)


def test_equal_pcm_gives_equal_bytes() -> None:
    """The file holds nothing but the sound: no time, no chance."""
    pcm = np.zeros(100, dtype=np.float32)
    assert encode_wav(pcm, 24000) == encode_wav(pcm, 24000)


def test_the_mime_type_is_known() -> None:
    """Players are told what they get."""
    assert MIME_TYPES["wav"] == "audio/wav"
