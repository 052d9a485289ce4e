"""Quantising: every value within half a step, every row by itself, nothing hidden."""

import pytest
import torch

from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.engine.linear import Int8Linear
from tests.fakes.live_bytes import LiveBytes

CPU = torch.device("cpu")
MOST = 1e36
"""A value far beyond any weight, and still within bfloat16 when it is multiplied by 257 / 256."""


def quantised(rows: torch.Tensor) -> Int8Matrix:
    """Return a matrix as the loader makes it."""
    matrix = Int8Matrix.empty(*rows.shape, CPU)
    matrix.copy_(rows)
    return matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 33), (129, 257), (64, 512)])
def test_no_value_is_more_than_half_a_step_away(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Whatever the sizes of the rows, which differ by many orders of magnitude."""
    generator = torch.Generator().manual_seed(shape[0])
    widest = 4.0 if dtype == torch.float16 else 30.0
    magnitudes = 10 ** (widest * (torch.rand(shape[0], 1, generator=generator) - 0.5))
    rows = (magnitudes * torch.randn(shape, generator=generator)).to(dtype)
    matrix = quantised(rows)
    assert (matrix.values.dtype, matrix.scale.dtype) == (torch.int8, torch.bfloat16)
    assert matrix.values.min() >= -127
    # A row uses the whole range.
    assert (matrix.values.abs().amax(1) >= 126).all()
    steps = (matrix.dequantized(torch.float64) - rows.double()) / matrix.scale.double()[:, None]
    assert steps.abs().max() <= 0.5 + 1e-4


@pytest.mark.parametrize("largest", [1e-45, 1e-38, 1e-30, 1.0, 255.0 / 256, 128.5, MOST])
def test_the_largest_value_of_a_row_is_127_steps(largest: float) -> None:
    """However its scale is rounded, no value is beyond the range; a tiny row is no NaN."""
    rows = largest * torch.tensor([[1.0, -1.0, 0.5, 0.0]])
    matrix = quantised(rows)
    assert matrix.scale.isfinite().all()
    assert (matrix.scale > 0).all()
    assert int(matrix.values[0, 0]) == -int(matrix.values[0, 1]) <= 127
    error = (matrix.dequantized(torch.float64) - rows.double()).abs().max()
    assert error <= 0.5 * matrix.scale.double()[0]


def test_every_scale_keeps_its_values_in_range() -> None:
    """All roundings of a scale: the largest values from 127 to 254, in small steps."""
    largest = torch.linspace(127, 254, 100_001)[:, None]
    values = quantised(torch.cat([largest, -largest], dim=1)).values
    assert torch.equal(values[:, 0], -values[:, 1])
    assert values[:, 0].min() >= 126


def test_zeros_stay_zeros() -> None:
    """A row of zeros has a scale that can be divided by."""
    matrix = quantised(torch.zeros(3, 5))
    assert not matrix.values.any()
    assert (matrix.scale > 0).all()
    assert not matrix.dequantized(torch.bfloat16).any()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("width", [33, 64], ids=["no kernel", "kernel"])
def test_what_is_not_finite_is_not_hidden(wrong: float, width: int) -> None:
    """Every product with such a row is NaN, and other rows are as they were."""
    rows = torch.randn(8, width, generator=torch.Generator().manual_seed(0))
    good = quantised(rows)
    rows[3, 2] = wrong
    bad = quantised(rows)
    assert torch.equal(bad.values[4:], good.values[4:])
    assert torch.equal(bad.scale[:3], good.scale[:3])
    x = torch.randn(5, width).bfloat16()
    product, expected = Int8Linear(bad).forward(x), Int8Linear(good).forward(x)
    assert product[:, 3].isnan().all()
    others = [0, 1, 2, 4, 5, 6, 7]
    assert torch.equal(product[:, others], expected[:, others])


def test_slices_are_views() -> None:
    """Rows that are quantised one range after another make the same matrix, in its memory."""
    rows = torch.randn(50, 24, generator=torch.Generator().manual_seed(1))
    whole, parts = quantised(rows), Int8Matrix.empty(50, 24, CPU)
    for part in (slice(40, 50), slice(0, 7), slice(7, 40)):
        parts[part].copy_(rows[part])
    assert torch.equal(parts.values, whole.values)
    assert torch.equal(parts.scale, whole.scale)
    assert parts[7:40][3:].shape == (30, 24)
    assert parts[7:].values.data_ptr() == parts.values[7:].data_ptr()


def test_what_it_takes() -> None:
    """A byte a value and two a row; while it is made, 4 MB more, however large it is."""
    matrix, rows = Int8Matrix.empty(1000, 4096, CPU), torch.randn(1000, 4096).bfloat16()
    assert matrix.nbytes == 1000 * 4096 + 2 * 1000
    with LiveBytes() as live:
        matrix.copy_(rows)
    assert 4e6 < live.peak < 4.3e6
