"""Resample on the device, with torchaudio's filter.

HuBERT's features depend on how 24 kHz audio became 16 kHz. So this is the same windowed sinc as
upstream, not the better filter of `audio`.
Source: torchaudio 2.11 `functional.resample`, its defaults; https://ccrma.stanford.edu/~jos/resample/
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ZERO_CROSSINGS = 6
"""Of the sinc, on each side of its middle."""
ROLLOFF = 0.99
"""Cutoff of the low pass, as a fraction of the lower of the two Nyquist frequencies."""


def resample(pcm: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Resample along the last dimension: [..., S] -> [..., ceil(S * to_hz / from_hz)].

    Samples before the first and after the last count as zero. No host sync.
    """
    if from_hz == to_hz:
        return pcm
    divisor = math.gcd(from_hz, to_hz)
    from_hz, to_hz = from_hz // divisor, to_hz // divisor
    kernels, reach = _kernels(from_hz, to_hz, pcm.device)
    rows = F.pad(pcm.reshape(-1, 1, pcm.shape[-1]), (reach, reach + from_hz))
    # Each output channel is one phase: of every `to_hz` samples, the first, the second, ...
    phases = F.conv1d(rows, kernels.to(pcm.dtype), stride=from_hz)
    num_samples = math.ceil(pcm.shape[-1] * to_hz / from_hz)
    resampled = phases.transpose(1, 2).flatten(1)[:, :num_samples]
    return resampled.reshape(*pcm.shape[:-1], num_samples)


def _kernels(from_hz: int, to_hz: int, device: torch.device) -> tuple[Tensor, int]:
    """Return the kernel of every phase, [to_hz, 1, 2 * reach + from_hz] float64, and the reach.

    In float64: in float32 torchaudio itself errs by 1e-5 at rates with a small common divisor.
    """
    cutoff = min(from_hz, to_hz) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * from_hz / cutoff)
    taps = torch.arange(-reach, reach + from_hz, dtype=torch.float64, device=device) / from_hz
    phases = torch.arange(to_hz, dtype=torch.float64, device=device) / to_hz
    # Distance between input and output sample, in zero crossings.
    distance = (cutoff * (taps - phases[:, None])).clamp(-ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = torch.cos(distance * (math.pi / 2 / ZERO_CROSSINGS)).square()
    return (torch.sinc(distance) * window * (cutoff / from_hz))[:, None], reach
