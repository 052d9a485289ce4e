"""A weight matrix, and the product that is the fastest where it lies.

On a CPU torch multiplies float32 by MKL, which on some processors takes twice as long as oneDNN
for the few rows of a step, and four times as long where the matrix was packed for it. Packing takes
the matrix's memory once more, so it is for small models; oneDNN costs more per call, so small
matrices stay with MKL. Knows nothing of what is multiplied.
"""

import torch
from torch import Tensor

MIN_PACKED = 1 << 18
"""Elements from which a packed matrix is faster, for two rows and more."""
MIN_ONEDNN = 1 << 20
"""Elements from which oneDNN is the faster one for any matrix, and for a single row too."""
_PACKED_FOR = 8
"""Rows that the layout is made for; as good for one and for 32."""


class Matrix:
    """A weight [out, in] as a factor; what is written into the weight afterwards may not count."""

    def __init__(self, weight: Tensor, *, may_pack: bool = False) -> None:
        self._plain = weight.t()
        self._for_onednn: Tensor | None = None
        self._min_rows = 1 if weight.numel() >= MIN_ONEDNN else 2
        if (
            weight.device.type != "cpu"
            or weight.dtype != torch.float32
            or not torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        ):
            return
        if may_pack and weight.numel() >= MIN_PACKED:
            self._for_onednn = torch.ops.mkldnn._reorder_linear_weight(weight, _PACKED_FOR)
        elif weight.numel() >= MIN_ONEDNN:
            self._for_onednn = weight

    def of(self, x: Tensor) -> Tensor:
        """Multiply rows [N, in], giving [N, out]."""
        if self._for_onednn is None or len(x) < self._min_rows:
            return torch.mm(x, self._plain)
        # What torch.compile emits for a linear layer; it takes weights as they are, too.
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self._for_onednn, None, "none", [], ""
        )
        return product

    def add_to(self, sums: Tensor, x: Tensor) -> None:
        """Add the product with rows [N, in] to `sums` [N, out], in place."""
        if self._for_onednn is None or len(x) < self._min_rows:
            sums.addmm_(x, self._plain)
        else:
            sums.add_(self.of(x))
