"""Sounds to test with, and decoders that are not ours.

PyAV without any of `read`'s rules, and libsndfile for what has no header to find.
"""

import io
from functools import cache

import av
import numpy as np
import soundfile
from numpy.typing import NDArray


def tone(seconds: float, sample_rate: int, hz: float = 440.0) -> NDArray[np.float32]:
    """A steady sine at half scale."""
    phase = 2 * np.pi * hz / sample_rate * np.arange(round(seconds * sample_rate))
    return (0.5 * np.sin(phase)).astype(np.float32)


@cache
def speech(seconds: float, sample_rate: int) -> NDArray[np.float32]:
    """Something with a pitch, overtones, syllables and a little noise."""
    t = np.arange(round(seconds * sample_rate)) / sample_rate
    phase = 2 * np.pi * 140 * (t + 0.01 * np.sin(2 * np.pi * 1.3 * t))
    voice = sum(np.sin(k * phase + k * k) / k for k in range(1, 16))
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * 3.1 * t)
    noise = np.random.default_rng(7).standard_normal(len(t))
    sound = (0.25 * voice * syllables + 0.002 * noise).astype(np.float32)
    sound.setflags(write=False)  # several tests hear it
    return sound


def decode(data: bytes) -> tuple[NDArray[np.float32], int, int]:
    """Return samples [S], sample rate and number of channels of a file."""
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
    planes = [frame.to_ndarray() for frame in frames]
    channels = frames[0].layout.nb_channels
    samples = np.concatenate([plane.reshape(-1) for plane in planes])
    if samples.dtype == np.int16:
        samples = samples / 32767
    elif samples.dtype == np.int32:
        samples = samples / 2**31
    return samples.astype(np.float32), frames[0].sample_rate, channels


def decode_g711(data: bytes, format: str) -> NDArray[np.int16]:
    """Return the samples that libsndfile finds in G.711 without a header."""
    samples: NDArray[np.int16]
    samples, _ = soundfile.read(
        io.BytesIO(data),
        samplerate=8000,
        channels=1,
        format="RAW",
        subtype=format.upper(),
        dtype="int16",
    )
    return samples


def likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the normalised correlation of two sounds at the shift where it is highest."""
    size = len(a) + len(b)
    spectrum = np.fft.rfft(a, size) * np.fft.rfft(b, size).conj()
    return float(np.fft.irfft(spectrum, size).max() / np.linalg.norm(a) / np.linalg.norm(b))
