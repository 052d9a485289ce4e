"""A weight matrix, laid out for products with a few rows.

On a GPU, and where memory holds the weights only once, a weight is used as it is. On a CPU a copy
in another layout is faster. Which one depends on where the weights of a step come from: from the
caches, MKL needs half the time if the factor is transposed already; from memory, oneDNN's packed
layout needs two thirds of MKL's time (docs/performance.md).

A weight in 8 bits stays as it is too. Torch's CPU kernel reads it directly; elsewhere it is
converted for each product, which the kernels of `kernels/` spare a decode step.
"""

from typing import Literal

import torch
from torch import Tensor

from higgs_worker.engine.int8_matrix import Int8Matrix

WeightLayout = Literal["shared", "transposed", "packed"]
"""`shared` is the weight itself; the other two are copies."""

MAX_TRANSPOSED_BYTES = 1 << 26
"""Weights up to this size stay in the caches."""
MAX_PACKED_BYTES = 1 << 30
"""Weights up to this size may be in memory twice."""
_PACKED_FOR = 8
"""Rows that oneDNN packs for; as fast for 2 and for 32."""
_KERNEL_INPUTS = 32
"""torch's CPU kernel for 8-bit weights takes rows of so many values at once, 32 at the most, and
reads beyond the end of others."""


def best_layout(num_bytes: int, device: torch.device, dtype: torch.dtype) -> WeightLayout:
    """Choose the layout for a model's matrices.

    Args:
        num_bytes: of all weights of the model together.
        device, dtype: of the weights.
    """
    if device.type != "cpu" or dtype != torch.float32:
        return "shared"
    if num_bytes <= MAX_TRANSPOSED_BYTES:
        return "transposed"
    has_onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return "packed" if has_onednn and num_bytes <= MAX_PACKED_BYTES else "shared"


class Linear:
    """A weight [out, in] prepared for products. It may be a copy that misses later writes."""

    def __init__(self, weight: Tensor, layout: WeightLayout = "shared") -> None:
        self.weight = weight
        self._factor = weight.t()
        self._packed: Tensor | None = None
        if layout == "transposed":
            self._factor = self._factor.contiguous()
        elif layout == "packed":  # only for two rows and more: packed, a single one is slower
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, _PACKED_FOR)

    def forward(self, x: Tensor) -> Tensor:
        """Return the product with rows [N, in], [N, out]."""
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
            sums.add_(self.forward(x))


class Int8Linear:
    """An 8-bit weight [out, in], for products with rows in bfloat16."""

    def __init__(self, weight: Int8Matrix) -> None:
        self.weight = weight
        num_inputs = weight.shape[1]
        self._has_kernel = weight.device.type == "cpu" and num_inputs % _KERNEL_INPUTS == 0

    def forward(self, x: Tensor) -> Tensor:
        """Return the product with rows [N, in], [N, out]."""
        values, scale = self.weight.values, self.weight.scale
        if self._has_kernel:
            return torch._weight_int8pack_mm(x.contiguous(), values, scale)
        # The values are exact in bfloat16; values x scale would not be.
        return torch.mm(x, values.to(x.dtype).t()).mul_(scale)

    def add_to(self, sums: Tensor, x: Tensor) -> None:
        """Add the product with rows [N, in] to `sums` [N, out], in place."""
        sums.add_(self.forward(x))
