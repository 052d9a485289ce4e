"""Products: the same whichever library makes them."""

import pytest
import torch

from higgs_worker.engine.matrix import MIN_ONEDNN, MIN_PACKED, Matrix

SMALL, MIDDLE, LARGE = (48, 64), (512, 512), (1024, 1024)


def test_all_ways_are_tested() -> None:
    """Left to torch, packed for two rows and more, packed for one too."""
    small, middle, large = (rows * width for rows, width in (SMALL, MIDDLE, LARGE))
    assert small < MIN_PACKED <= middle < MIN_ONEDNN <= large


@pytest.mark.parametrize("may_pack", [True, False], ids=("packed", "as it is"))
@pytest.mark.parametrize("shape", [SMALL, MIDDLE, LARGE], ids=("small", "middle", "large"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("num_rows", [1, 3, 8, 65])
def test_products_are_right(
    shape: tuple[int, int], dtype: torch.dtype, num_rows: int, may_pack: bool
) -> None:
    """Rows times the matrix, alone and added to sums, as float64 gives them."""
    torch.manual_seed(num_rows)
    weight, sums = torch.randn(shape, dtype=dtype), torch.randn(num_rows, shape[0], dtype=dtype)
    # Every other half, as a slice of a wider tensor: rows that do not follow one another.
    x = torch.randn(num_rows, 2 * shape[1], dtype=dtype)[:, : shape[1]]
    right = x.double() @ weight.double().t()
    near = {torch.float64: 1e-12, torch.float32: 1e-3, torch.bfloat16: 1.0}[dtype]
    matrix = Matrix(weight, may_pack=may_pack)
    torch.testing.assert_close(matrix.of(x).double(), right, atol=near, rtol=0)
    added, wide = sums.double() + right, torch.zeros(num_rows, 2 * shape[0], dtype=dtype)
    for place in (sums.clone(), wide[:, : shape[0]].copy_(sums)):
        matrix.add_to(place, x)
        torch.testing.assert_close(place.double(), added, atol=near, rtol=0)


def test_what_may_not_be_packed_is_a_view() -> None:
    """No copy takes memory."""
    for shape in (SMALL, MIDDLE, LARGE):
        weight = torch.randn(shape)
        matrix = Matrix(weight)
        weight.fill_(1.0)
        ones = torch.ones(2, shape[1])
        assert torch.equal(matrix.of(ones), torch.full((2, shape[0]), shape[1] * 1.0))
