"""A weight matrix, and the product that is the fastest where it lies.

On a CPU torch multiplies float32 by MKL, which on some processors takes about twice as long as
oneDNN for the few rows of a step. oneDNN costs more per call, so small matrices stay with MKL.
Knows nothing of what is multiplied.
"""

import torch
from torch import Tensor

MIN_ONEDNN = 1 << 20
"""Elements from which oneDNN is the faster one at any number of rows, a single one included."""


class Matrix:
    """A weight [out, in] as a factor; a view, so it follows what is written into the weight."""

    def __init__(self, weight: Tensor) -> None:
        self._by_onednn = (
            weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and weight.numel() >= MIN_ONEDNN
            and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        )
        self._weight = weight if self._by_onednn else weight.t()

    def of(self, x: Tensor) -> Tensor:
        """Multiply rows [N, in], giving [N, out]."""
        if self._by_onednn:
            # What torch.compile emits for a linear layer; it takes weights as they are.
            product: Tensor = torch.ops.mkldnn._linear_pointwise(
                x, self._weight, None, "none", [], ""
            )
            return product
        return torch.mm(x, self._weight)

    def add_to(self, sums: Tensor, x: Tensor) -> None:
        """Add the product with rows [N, in] to `sums` [N, out], in place."""
        if self._by_onednn:
            sums.add_(self.of(x))
        else:
            sums.addmm_(x, self._weight)
