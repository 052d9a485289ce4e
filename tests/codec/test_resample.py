"""Our resampler against values of the real torchaudio, which cannot be installed beside CPU torch.

They are those of `torchaudio.functional.resample` 2.11.0 (its compiled parts, which it does not
call, removed) for `waveform()` in float32.
"""

import numpy as np
import pytest
import torch

from higgs_worker.codec.resample import resample

START = (
    0.14652371, 0.36807147, 0.00454777, 0.04124779, 0.14541058, 0.82025468,
    0.22187404, 0.19043124, 0.34483707, 0.12390704, -1.21779203, -0.04847163,
)  # fmt: skip
MIDDLE = (
    0.23721212, 0.12649918, -0.50023580, 0.40094215, -0.34438840, -0.09716391,
    0.62772512, -0.52280378, 0.05395455, -0.03083475, -0.63917893, -0.13985440,
)  # fmt: skip
END = (
    0.30904430, 0.43131036, 0.48781994, 0.42474857, -0.09390827, -0.39014190,
    -0.68835837, 0.22060418, -0.27275568, 0.03533147, 0.29002422, -0.06472223,
)  # fmt: skip
"""Output samples 0 to 11, 300 to 311 and the last 12, at 24 kHz -> 16 kHz."""


def waveform() -> torch.Tensor:
    """Return 1,000 samples; numpy promises that this old generator never changes."""
    return torch.from_numpy(np.random.RandomState(0).uniform(-1, 1, 1000)).float()


def test_samples_are_those_of_torchaudio() -> None:
    """24 kHz becomes 16 kHz as torchaudio does it, at the start, inside and at the end."""
    out = resample(waveform(), 24000, 16000)
    assert (out.shape, out.dtype) == ((667,), torch.float32)
    wanted = torch.tensor([START, MIDDLE, END])
    got = torch.stack([out[:12], out[300:312], out[-12:]])
    torch.testing.assert_close(got, wanted, rtol=0, atol=5e-7)


@pytest.mark.parametrize(
    ("from_hz", "to_hz", "total", "energy"),
    [
        (24000, 16000, -5.500611059833318, 135.2966507510401),
        (16000, 24000, -12.191693852772005, 458.38954338508034),
    ],
)
def test_sums_are_those_of_torchaudio(
    from_hz: int, to_hz: int, total: float, energy: float
) -> None:
    """Sum and sum of squares of all samples are torchaudio's, downwards and upwards."""
    out = resample(waveform(), from_hz, to_hz).double()
    assert out.sum().item() == pytest.approx(total, abs=1e-4)
    assert out.square().sum().item() == pytest.approx(energy, abs=1e-4)


@pytest.mark.parametrize(
    ("num_samples", "num_resampled", "total"),
    [
        (1, 1, 0.06443382799625397),
        (2, 2, 0.41561858355998993),
        (3, 2, 0.5029521733522415),
        (998, 666, -5.187277153600007),
        (999, 666, -5.437074386049062),
    ],
)
def test_any_length(num_samples: int, num_resampled: int, total: float) -> None:
    """A length that the ratio does not divide is rounded up, down to a single sample."""
    out = resample(waveform()[:num_samples], 24000, 16000)
    assert out.shape == (num_resampled,)
    assert out.double().sum().item() == pytest.approx(total, abs=2e-5)


def test_rows_are_independent() -> None:
    """All leading dimensions stay, and a row is what it is alone."""
    rows = waveform()[:960].view(2, 4, 120)
    out = resample(rows, 24000, 16000)
    assert out.shape == (2, 4, 80)
    torch.testing.assert_close(out[1, 2], resample(rows[1, 2], 24000, 16000), rtol=0, atol=1e-6)


def test_same_rate_changes_nothing() -> None:
    """Equal rates return the samples unchanged."""
    assert torch.equal(resample(waveform(), 16000, 16000), waveform())


def test_tone_stays_a_tone() -> None:
    """A tone below the new Nyquist frequency keeps pitch, phase and loudness; one above goes."""

    def tone(hz: float, rate_hz: int) -> torch.Tensor:
        return torch.sin(2 * torch.pi * hz * torch.arange(rate_hz, dtype=torch.float64) / rate_hz)

    inside = slice(100, -100)
    low = resample(tone(1000, 24000), 24000, 16000)
    torch.testing.assert_close(low[inside], tone(1000, 16000)[inside], rtol=0, atol=3e-3)
    assert resample(tone(11000, 24000), 24000, 16000)[inside].abs().max() < 0.01
