"""PCM in, encoded bytes out.

PCM is float32, mono, nominally in [-1, 1]. This module knows no model and no job; it does not
resample and never changes the loudness. `soundfile` is imported at the first encoding, because it
costs 0.14 s that an invalid job or the command line's help should not pay.
"""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

MIME_TYPES: Mapping[str, str] = MappingProxyType({"wav": "audio/wav"})

_FULL_SCALE = 32767  # the same on both sides, so that silence stays centred


def encode_wav(pcm: NDArray[np.float32], sample_rate: int) -> bytes:
    """Encode as 16-bit mono WAV.

    Args:
        pcm: `[S] float32`; values outside [-1, 1] are clipped rather than wrapped round.
        sample_rate: in hertz.

    Raises:
        ValueError: `pcm` is not one-dimensional or holds NaN.
    """
    if pcm.ndim != 1:
        raise ValueError(f"PCM must be one-dimensional, not of shape {pcm.shape}")
    if np.isnan(pcm).any():
        raise ValueError("PCM holds NaN; the model or the codec computed something impossible")
    import soundfile

    samples = np.rint(np.clip(pcm, -1.0, 1.0) * _FULL_SCALE).astype(np.int16)
    file = BytesIO()
    soundfile.write(file, samples, sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
