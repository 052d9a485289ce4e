"""The product kernel against torch's own products, norms and activations."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from higgs_worker.engine.kernels.product import product_kernel
from higgs_worker.engine.kernels.tiles import padded

TILE, DEPTH = 16, 32
EPS = 1e-5
NUM_SQUARES = 5


@dataclass
class Case:
    """One product: what goes in, and where it goes."""

    rows: Tensor
    weight: Tensor
    scale: Tensor
    squares: Tensor
    stream: Tensor
    norm: Tensor
    out: Tensor
    next_input: Tensor
    next_squares: Tensor
    num_outputs: int
    is_gated: bool
    is_residual: bool
    is_normed: bool

    def launch(self, splits: int) -> None:
        """Run the kernel."""
        num_slots, width = self.rows.shape
        tiles = -(-self.num_outputs // TILE)
        parts = torch.full((2 * tiles * TILE * splits * padded(num_slots),), torch.nan)
        counters = torch.zeros(tiles, dtype=torch.int32)
        for _ in range(2):  # the counters must be good for a second launch
            stream = self.stream.clone()
            product_kernel[tiles, splits](
                rows=self.rows,
                weight=self.weight,
                scale=self.scale,
                squares=self.squares,
                out=self.out,
                residual=stream,
                next_norm=self.norm,
                next_input=self.next_input,
                next_squares=self.next_squares,
                parts=parts,
                counters=counters,
                num_slots=num_slots,
                eps=EPS,
                WIDTH=width,
                NUM_OUTPUTS=self.num_outputs,
                NUM_SQUARES=NUM_SQUARES if self.is_normed else 0,
                IS_GATED=self.is_gated,
                IS_RESIDUAL=self.is_residual,
                IS_INT8=self.weight.dtype == torch.int8,
                ROWS=padded(num_slots),
                TILE=TILE,
                DEPTH=DEPTH,
                SPLITS=splits,
                STAGES=2,
                IS_DEPENDENT=False,
            )
            assert not counters.any()
        self.stream = stream

    def expected(self) -> Tensor:
        """Return what torch computes: the output, or the residual stream."""
        weight = self.weight.float()
        if self.weight.dtype == torch.int8:
            weight = weight * self.scale.float()[:, None]
        product = self.rows @ weight.t()
        if self.is_normed:
            mean = self.squares.sum(1, keepdim=True) / self.rows.shape[1]
            product = product * (mean + EPS).rsqrt()
        if self.is_gated:
            gate, up = product.chunk(2, dim=1)
            return F.silu(gate) * up
        return self.stream + product if self.is_residual else product


def case(num_slots: int, width: int, num_outputs: int, kind: str, *, int8: bool) -> Case:
    """Make a case from random numbers; outputs are NaN until they are written."""
    generator = torch.Generator().manual_seed(num_slots + width)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    weight = random(num_outputs * (2 if kind == "gated" else 1), width) / width**0.5
    scale = weight.abs().amax(1) / 127
    tiles = -(-num_outputs // TILE)
    return Case(
        rows=random(num_slots, width),
        weight=(weight / scale[:, None]).round().to(torch.int8) if int8 else weight,
        scale=scale,
        squares=random(num_slots, NUM_SQUARES).square(),
        stream=random(num_slots, num_outputs),
        norm=random(num_outputs),
        out=torch.full((num_slots, num_outputs), torch.nan),
        next_input=torch.full((num_slots, num_outputs), torch.nan),
        next_squares=torch.full((num_slots, tiles), torch.nan),
        num_outputs=num_outputs,
        is_gated=kind == "gated",
        is_residual=kind == "residual",
        is_normed=kind != "residual",
    )


@pytest.mark.parametrize("int8", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize("kind", ["plain", "gated", "residual"])
@pytest.mark.parametrize(
    ("num_slots", "width", "num_outputs", "splits"),
    # Whole tiles; ragged in both directions; more splits than blocks of columns.
    [(1, 64, 32, 1), (3, 80, 40, 2), (9, 72, 24, 4)],
)
def test_a_product_equals_torchs(
    num_slots: int, width: int, num_outputs: int, splits: int, kind: str, int8: bool
) -> None:
    """With norm, gate, residual sum and 8 bits, whatever the split; slots beyond stay unwritten."""
    ours = case(num_slots, width, num_outputs, kind, int8=int8)
    expected = ours.expected()
    ours.launch(splits)
    if kind != "residual":
        torch.testing.assert_close(ours.out, expected, rtol=1e-5, atol=1e-5)
        return
    torch.testing.assert_close(ours.stream, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.next_input, expected * ours.norm, rtol=1e-5, atol=1e-5)
    squares = ours.next_squares.sum(1)
    torch.testing.assert_close(squares, expected.square().sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["plain", "gated", "residual"])
def test_a_row_that_is_not_a_number_stays_alone(kind: str) -> None:
    """All that such a slot gives is NaN, and all others are what they are without it."""
    healthy, ill = (case(3, 80, 40, kind, int8=False) for _ in range(2))
    ill.rows[1, 7] = torch.nan
    healthy.launch(2)
    ill.launch(2)
    written = (ill.stream, healthy.stream) if kind == "residual" else (ill.out, healthy.out)
    assert written[0][1].isnan().all()
    for slot in (0, 2):
        assert torch.equal(written[0][slot], written[1][slot])
