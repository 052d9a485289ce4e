"""What lower precision costs in sound: formats are rounded right, and the measures are sound."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.codec_precision import (
    LSB,
    MASKED_DB,
    VARIANTS,
    RoundedConvolutions,
    cut_to_tf32,
    distance,
    to_tf32,
)

RATE = 24_000


def tone(hz: float, amplitude: float) -> np.ndarray:
    """Return half a second of a sine."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(RATE // 2) / RATE)).astype(np.float32)


def noise(amplitude: float) -> np.ndarray:
    """Return half a second of white noise."""
    return np.random.default_rng(0).normal(0, amplitude, RATE // 2).astype(np.float32)


def test_tf32_has_ten_bits() -> None:
    """Ties go to the even neighbour; cutting goes towards zero; what fits is left alone."""
    step = 2.0**-10
    x = torch.tensor([1.0, 1 + step, 1 + step / 2, 1 + 3 * step / 2, -1 - 0.6 * step, 0.0])
    assert to_tf32(x).tolist() == [1, 1 + step, 1, 1 + 2 * step, -1 - step, 0]
    assert cut_to_tf32(x).tolist() == [1, 1 + step, 1, 1 + step, -1, 0]


def test_only_the_chosen_convolution_is_rounded() -> None:
    """Both its operands, and no bias."""
    x, weight, bias = torch.full((1, 1, 1), 1 + 2.0**-12), torch.ones(1, 1, 1), torch.tensor([1e-6])
    exact = torch.nn.functional.conv1d(x, weight, bias)
    with RoundedConvolutions(to_tf32, only=[1]) as mode:
        pcm = [torch.nn.functional.conv1d(x, weight, bias) for _ in range(2)]
    assert mode.num_convolutions == 2
    assert torch.equal(pcm[0], exact)
    assert torch.equal(pcm[1], torch.ones(1, 1, 1) + bias)


def test_an_error_is_heard_where_nothing_masks_it() -> None:
    """Noise beside a tone counts in most bands; as quiet as that of 16-bit PCM it does in none."""
    sound = tone(1000, 0.3)
    for level, least, most in ((0.01, 0.5, 0.99), (LSB / 12**0.5, 0, 0)):
        found = distance([sound], [sound + noise(level)], RATE)
        assert found.snr_db == pytest.approx(20 * np.log10(0.3 / 2**0.5 / level), abs=0.3)
        assert all(least <= found.heard[below] <= most for below in MASKED_DB), found


def test_a_change_of_volume_is_not_heard() -> None:
    """Its error is as loud as noise would be, but lies under the sound itself."""
    sound = noise(0.1)
    louder = distance([sound], [1.005 * sound], RATE)
    assert louder.snr_db == pytest.approx(46, abs=0.1)
    assert set(louder.heard.values()) == {0}
    assert louder.spectral_db < 0.05


@pytest.mark.long
def test_the_benchmark_ends_with_one_json_document() -> None:
    """Two sentences, every variant; TF32 has an error that bfloat16's exceeds by far."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.codec_precision", "--quick"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    rows = {row["variant"]: row for row in json.loads(run.stdout.splitlines()[-1])["variants"]}
    assert list(rows) == list(VARIANTS)
    assert rows["TF32"]["snr_db"] > rows["bfloat16 operands"]["snr_db"] + 10
    assert rows["TF32"]["heard"]["20"] < 0.01 < rows["bfloat16 operands"]["heard"]["20"]
