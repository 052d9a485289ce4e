"""Keys and values of every slot, in place.

One row range per slot, allocated once; a sequence that joins or leaves copies nothing. Readers get
views over the first positions only, so attention costs what is in use, not what is reserved.
"""

import torch
from torch import Tensor

from higgs_worker.engine.config import ModelConfig


class KVCache:
    """Keys and values [L, B, H_kv, T, head_dim].

    Starts as zeros: rows that hold no sequence are computed along with the others, and must stay
    finite.
    """

    def __init__(
        self,
        config: ModelConfig,
        num_slots: int,
        max_length: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        shape = (config.num_layers, num_slots, config.num_kv_heads, max_length, config.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.num_slots = num_slots
        self.max_length = max_length

    def write(
        self, layer: int, slots: Tensor, positions: Tensor, keys: Tensor, values: Tensor
    ) -> None:
        """Store one position per row, in place.

        Args:
            slots, positions: [N] int64.
            keys, values: [N, H_kv, head_dim].
        """
        self.keys[layer][slots, :, positions] = keys
        self.values[layer][slots, :, positions] = values

    def read(self, layer: int, slots: slice, length: int) -> tuple[Tensor, Tensor]:
        """Give views [slots, H_kv, length, head_dim] of the first `length` positions."""
        return self.keys[layer, slots, :, :length], self.values[layer, slots, :, :length]
