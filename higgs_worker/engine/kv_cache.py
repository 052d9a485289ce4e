"""Keys and values of every slot, in place, and the prefixes that many prompts share.

One range of rows per slot, allocated once: a sequence that joins or leaves copies nothing. Reading
returns views over the first positions only, so attention costs what is used, not what is reserved.
"""

import math
import mmap
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from higgs_worker.engine.config import ModelConfig

_HASH_FACTOR, _HASH_SIZE = 2654435761, 1 << 32
"""Knuth's multiplicative hash: neighbours become numbers far apart."""


@dataclass(frozen=True, slots=True)
class CacheWindow:
    """The first positions of the first slots: views that are made once and used by many steps."""

    length: int
    """Positions."""
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Per layer keys and values, [B, H_kv, length, head_dim]."""
    first_rows: Tensor
    """[B, 2 H_kv] int64, the row of position 0 of each slot and head, for `KVCache.write`."""


def _zeros(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return zeros; on a CPU they take memory page by page, as they are first written.

    `torch.zeros` writes them all: a slot would take the memory of the longest sequence at once.
    """
    if device.type != "cpu":
        return torch.zeros(shape, device=device, dtype=dtype)
    num_bytes = math.prod(shape) * dtype.itemsize
    pages = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=dtype).view(shape)


class KVCache:
    """Keys and values, [L, B, 2 H_kv, T, head_dim]: per layer and slot the keys, then the values.

    Starts as zeros: a step computes slots without a sequence too, and they must stay finite.
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
        self.max_length = max_length
        self._num_heads = config.num_kv_heads
        self._data = _zeros(
            (config.num_layers, num_slots, 2 * config.num_kv_heads, max_length, config.head_dim),
            device,
            dtype,
        )
        # One row per slot, head and position: a write is one indexed copy.
        self._flat = self._data.view(config.num_layers, -1, config.head_dim).unbind()
        self._heads = torch.arange(2 * config.num_kv_heads, device=device) * max_length
        self._slot_size = 2 * config.num_kv_heads * max_length

    def rows(self, slots: Tensor, positions: Tensor) -> Tensor:
        """Return the rows of some positions; they are the same in all layers.

        Args:
            slots, positions: [N] int64.

        Returns:
            [N, 2 H_kv] int64, for `write`.
        """
        return (slots * self._slot_size + positions)[:, None] + self._heads

    def write(self, layer: int, rows: Tensor, keys_and_values: Tensor) -> None:
        """Write [N, 2 H_kv, head_dim] to `rows`, in place."""
        self._flat[layer].index_put_((rows,), keys_and_values)

    def read(self, layer: int, slots: slice, length: int) -> tuple[Tensor, Tensor]:
        """Return views of the first positions: keys and values, [B, H_kv, length, head_dim]."""
        both = self._data[layer, slots, :, :length]
        return both[:, : self._num_heads], both[:, self._num_heads :]

    def layer(self, layer: int) -> Tensor:
        """Return the keys and values of a layer, [B, 2 H_kv, T, head_dim]."""
        return self._data[layer]

    def window(self, num_slots: int, length: int) -> CacheWindow:
        """Return views of the first slots up to `length` positions."""
        slots = torch.arange(num_slots, device=self._data.device)
        return CacheWindow(
            length=length,
            layers=tuple(
                self.read(layer, slice(0, num_slots), length) for layer in range(len(self._data))
            ),
            first_rows=self.rows(slots, torch.zeros_like(slots)),
        )

    def make_up(self, num_slots: int, length: int) -> None:
        """Fill the first positions of the first slots with numbers from -1 to 1, all alike.

        They need no random generator, which another thread's capture would have to itself.
        """
        filled = self._data[:, :num_slots, :, :length]
        one = filled[0, 0]
        hashed = torch.arange(one.numel(), device=one.device) * _HASH_FACTOR % _HASH_SIZE
        filled.copy_((2 * hashed / _HASH_SIZE - 1).view(one.shape))

    def clear(self, slot: int) -> None:
        """Set a slot's keys and values to zero."""
        self._data[:, slot] = 0

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot into another."""
        self._data[:, target, :, :length] = self._data[:, source, :, :length]

    def save(self, slot: int, length: int) -> Tensor:
        """Return a copy of a slot's first positions, [L, 2 H_kv, length, head_dim]."""
        return self._data[:, slot, :, :length].clone()

    def restore(self, slot: int, saved: Tensor) -> None:
        """Write a saved prefix to the first positions of a slot."""
        self._data[:, slot, :, : saved.shape[2]] = saved


class PrefixCache:
    """Saved prefixes by content; the least recently used one is dropped first.

    System text and reference are the same for every request with one voice. Their keys and values
    are computed once and copied into the slots of later requests.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self.num_hits = 0
        self.num_misses = 0
        self._saved: OrderedDict[bytes, Tensor] = OrderedDict()

    def get(self, key: bytes) -> Tensor | None:
        """Return a prefix and mark it as used; None if it is not saved."""
        if key not in self._saved:
            self.num_misses += 1
            return None
        self.num_hits += 1
        self._saved.move_to_end(key)
        return self._saved[key]

    def put(self, key: bytes, saved: Tensor) -> None:
        """Save a prefix, dropping old ones to make space; one above `max_bytes` is not saved."""
        if saved.nbytes > self.max_bytes or key in self._saved:
            return
        while self.num_bytes + saved.nbytes > self.max_bytes:
            _, oldest = self._saved.popitem(last=False)
            self.num_bytes -= oldest.nbytes
        self._saved[key] = saved
        self.num_bytes += saved.nbytes
