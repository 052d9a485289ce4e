"""How each product of a step is divided among programs, by the number of slots.

For few slots, small tiles: some 200 to 650 programs, all resident at once, so that every
multiprocessor asks for memory until the end. For many slots, larger ones, so that fewer programs
read the same input; from 64 rows on they are for Hopper's widest instructions. Splits give every
multiprocessor as much to do. All of these compile without spills for compute capability 8.0 to 12.0
(tests/engine/kernels/test_compiled.py); how fast each is has to be measured on a GPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Product = Literal["qkv", "out", "gate_up", "down", "head"]
"""The products of a step by name."""

MIN_ROWS = 8
"""Slots that fill the tensor cores' columns; fewer are padded."""
MAX_ROWS = 64
"""Slots of one launch: beyond them the weights are no longer all that counts."""


@dataclass(frozen=True, slots=True)
class Tile:
    """How a product is divided."""

    rows: int
    """Of the weight, per program."""
    depth: int
    """Columns that are read at once."""
    splits: int
    """Programs that share the columns of a tile."""
    num_warps: int
    num_stages: int
    """Reads that are under way at once."""


_FEW: Mapping[Product, Tile] = {
    "qkv": Tile(16, 256, 2, 2, 4),
    "out": Tile(16, 256, 3, 2, 4),
    "gate_up": Tile(16, 128, 1, 2, 4),
    "down": Tile(16, 256, 4, 2, 4),
    "head": Tile(16, 256, 1, 2, 4),
}
_FEW_INT8: Mapping[Product, Tile] = {
    # One warp: a second one would convert the same sixteen rows once more.
    "qkv": Tile(16, 256, 2, 1, 4),
    "out": Tile(16, 256, 4, 1, 4),
    "gate_up": Tile(16, 256, 1, 1, 4),
    "down": Tile(16, 256, 4, 1, 4),
    "head": _FEW["head"],
}
_SOME: Mapping[Product, Tile] = {
    "qkv": Tile(64, 64, 3, 4, 4),
    "out": Tile(64, 64, 4, 4, 4),
    "gate_up": Tile(64, 64, 2, 4, 4),
    "down": Tile(64, 64, 4, 4, 4),
    "head": Tile(64, 64, 2, 4, 4),
}
_MANY: Mapping[Product, Tile] = {
    "qkv": Tile(128, 64, 6, 4, 3),
    "out": Tile(128, 64, 8, 4, 3),
    "gate_up": Tile(64, 64, 2, 4, 3),
    "down": Tile(128, 64, 8, 4, 3),
    "head": Tile(128, 64, 4, 4, 3),
}


def padded(num_slots: int) -> int:
    """Return the rows that a kernel computes for some slots: a power of two."""
    return max(MIN_ROWS, 1 << (num_slots - 1).bit_length())


def tiles_for(num_slots: int, *, is_int8: bool) -> Mapping[Product, Tile]:
    """Return the tile of each product."""
    rows = padded(num_slots)
    if rows <= MIN_ROWS:
        return _FEW_INT8 if is_int8 else _FEW
    # In 8 bits, larger tiles take twice the registers, for the weights that are being converted.
    return _SOME if rows < MAX_ROWS or is_int8 else _MANY


def attention_splits(num_slots: int, num_kv_heads: int) -> int:
    """Return among how many programs the positions of one slot and head are divided.

    Enough for all multiprocessors, some 130, and no more than a reference and ten seconds of sound
    have tiles.
    """
    splits = 1
    while splits < 16 and 2 * splits * num_slots * num_kv_heads <= 256:
        splits *= 2
    return splits
