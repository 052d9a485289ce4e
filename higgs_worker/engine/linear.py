"""A weight matrix, stored for the product of a few rows.

On a GPU, and for weights that memory holds only once, a weight serves as it is. On a CPU a copy is
faster, and which one is best depends on where all the weights of a step come from: out of the
caches MKL takes half the time for a factor that it need not transpose; out of memory oneDNN takes
two thirds of MKL's, packed as it likes (docs/performance.md). Knows nothing of what is multiplied.
"""

from typing import Literal

import torch
from torch import Tensor

WeightLayout = Literal["shared", "transposed", "packed"]
"""Shared with the weight, or a copy."""

MAX_TRANSPOSED_BYTES = 1 << 26
"""Weights that caches hold."""
MAX_PACKED_BYTES = 1 << 30
"""Weights that memory may hold twice."""
_PACKED_FOR = 8
"""Rows that the packing is made for; as good for two and for 32."""


def best_storage(num_bytes: int, device: torch.device, dtype: torch.dtype) -> WeightLayout:
    """Choose how the matrices of a model of some size are stored."""
    if device.type != "cpu" or dtype != torch.float32:
        return "shared"
    if num_bytes <= MAX_TRANSPOSED_BYTES:
        return "transposed"
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return "packed" if has_onednn and num_bytes <= MAX_PACKED_BYTES else "shared"


class Linear:
    """A weight [out, in] as a factor; what is written into the weight afterwards may not count."""

    def __init__(self, weight: Tensor, storage: WeightLayout = "shared") -> None:
        self._factor = weight.t()
        self._packed: Tensor | None = None
        if storage == "transposed":
            self._factor = self._factor.contiguous()
        elif storage == "packed":  # for two rows and more: a single one is slower so
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _PACKED_FOR)

    def of(self, x: Tensor) -> Tensor:
        """Multiply rows [N, in], giving [N, out]."""
        if self._packed is None or len(x) == 1:
            return torch.mm(x, self._factor)
        # What torch.compile emits for a linear layer.
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], "")
        return product

    def add_to(self, sums: Tensor, x: Tensor) -> None:
        """Add the product with rows [N, in] to `sums` [N, out], in place."""
        if self._packed is None or len(x) == 1:
            sums.addmm_(x, self._factor)
        else:
            sums.add_(self.of(x))
