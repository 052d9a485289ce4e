"""Products: the same in every layout."""

import pytest
import torch

from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.engine.linear import (
    MAX_PACKED_BYTES,
    MAX_TRANSPOSED_BYTES,
    Int8Linear,
    Linear,
    WeightLayout,
    best_layout,
)

CPU, F32 = torch.device("cpu"), torch.float32


def test_the_size_of_a_model_decides() -> None:
    """Small models are transposed, medium ones packed, large ones and a GPU's are shared."""
    assert best_layout(MAX_TRANSPOSED_BYTES, CPU, F32) == "transposed"
    assert best_layout(MAX_TRANSPOSED_BYTES + 1, CPU, F32) == "packed"
    assert best_layout(MAX_PACKED_BYTES + 1, CPU, F32) == "shared"
    assert best_layout(1, CPU, torch.bfloat16) == "shared"
    assert best_layout(1, torch.device("cuda"), F32) == "shared"


@pytest.mark.parametrize(
    ("layout", "dtype", "tolerance"),
    [
        ("shared", torch.float64, 1e-12),
        ("shared", torch.float32, 1e-3),
        ("shared", torch.bfloat16, 1.0),
        ("transposed", torch.float32, 1e-3),
        ("packed", torch.float32, 1e-3),
    ],
)
@pytest.mark.parametrize("shape", [(48, 64), (1024, 512)], ids=str)
@pytest.mark.parametrize("num_rows", [1, 2, 8, 65])
def test_products_are_right(
    layout: WeightLayout,
    dtype: torch.dtype,
    tolerance: float,
    shape: tuple[int, int],
    num_rows: int,
) -> None:
    """Rows times the matrix, alone and added to sums, as float64 gives them."""
    torch.manual_seed(num_rows)
    weight, sums = torch.randn(shape, dtype=dtype), torch.randn(num_rows, shape[0], dtype=dtype)
    # Every other half, as a slice of a wider tensor: rows that do not follow one another.
    x = torch.randn(num_rows, 2 * shape[1], dtype=dtype)[:, : shape[1]]
    right = x.double() @ weight.double().t()
    matrix = Linear(weight, layout)
    torch.testing.assert_close(matrix.forward(x).double(), right, atol=tolerance, rtol=0)
    added, wide = sums.double() + right, torch.zeros(num_rows, 2 * shape[0], dtype=dtype)
    for place in (sums.clone(), wide[:, : shape[0]].copy_(sums)):
        matrix.add_to(place, x)
        torch.testing.assert_close(place.double(), added, atol=tolerance, rtol=0)


def test_what_is_shared_is_a_view() -> None:
    """The shared layout makes no copy."""
    weight = torch.randn(48, 64)
    matrix = Linear(weight)
    weight.fill_(1.0)
    assert torch.equal(matrix.forward(torch.ones(2, 64)), torch.full((2, 48), 64.0))


@pytest.mark.parametrize("shape", [(48, 64), (50, 33), (1, 1), (513, 512)], ids=str)
@pytest.mark.parametrize("num_rows", [1, 2, 8, 65])
def test_products_in_8_bits_are_right(shape: tuple[int, int], num_rows: int) -> None:
    """As the matrix that is stored gives them, but for the rounding of bfloat16 sums."""
    torch.manual_seed(num_rows)
    weight = Int8Matrix.empty(*shape, CPU)
    weight.copy_(torch.randn(shape) * torch.rand(shape[0], 1))
    x = torch.randn(num_rows, 2 * shape[1]).bfloat16()[:, : shape[1]]
    right = x.double() @ weight.dequantized(torch.float64).t()
    matrix = Int8Linear(weight)
    # Of sums that are rounded at most twice, by 1 part in 256 each.
    torch.testing.assert_close(matrix.forward(x).double(), right, rtol=2**-7, atol=2e-3)
    sums = torch.randn(num_rows, shape[0]).bfloat16()
    added, wide = sums.double() + right, torch.zeros(num_rows, 2 * shape[0]).bfloat16()
    for place in (sums.clone(), wide[:, : shape[0]].copy_(sums)):
        matrix.add_to(place, x)
        torch.testing.assert_close(place.double(), added, rtol=2**-6, atol=2**-5)
