"""Tensors of a file -> tensors in memory, in blocks, by several threads.

Each block is read straight into its place where the place is on the CPU and holds the file's own
numbers; else into a buffer of the thread's own, pinned where a GPU takes it from there while the
next block is being read. One thread gets neither a network volume nor a page cache to its limit,
and mapping the file costs a fault for every page (docs/performance.md). Knows no model.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from higgs_worker.checkpoint import FLOAT_DTYPES
from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.threads import in_threads

BLOCK_BYTES = 16 << 20
NUM_THREADS = 8


@dataclass(frozen=True, slots=True)
class Span:
    """Where a tensor's elements stand in a file."""

    offset: int
    dtype: str
    """A key of `FLOAT_DTYPES`."""


@dataclass(frozen=True, slots=True)
class _Block:
    offset: int
    dtype: torch.dtype
    place: Tensor
    """[n], contiguous."""

    @property
    def num_bytes(self) -> int:
        return self.place.numel() * self.dtype.itemsize


def fill(path: Path, spans: Mapping[str, Span], places: Mapping[str, Tensor]) -> int:
    """Read tensors of one file into their places, converting where number formats differ.

    Args:
        path: the file.
        spans: where each tensor is, by name.
        places: contiguous, on one device, by name; each as large as its tensor.

    Returns:
        the bytes that were read.

    Raises:
        InvalidCheckpoint: the file ends early or cannot be read.
    """
    blocks = sorted(_blocks(spans, places), key=lambda block: block.offset)
    reader = _Reader(path)
    try:
        return sum(in_threads(reader.read, blocks, NUM_THREADS))
    except OSError as error:
        reason = error.strerror or error
        raise InvalidCheckpoint(f"{path} cannot be read ({reason}); fetch it again") from error
    finally:
        reader.close()


def _blocks(spans: Mapping[str, Span], places: Mapping[str, Tensor]) -> Iterator[_Block]:
    for name, place in places.items():
        span = spans[name]
        dtype: torch.dtype = getattr(torch, FLOAT_DTYPES[span.dtype])
        for first, part in enumerate(torch.split(place.view(-1), BLOCK_BYTES // dtype.itemsize)):
            yield _Block(span.offset + first * BLOCK_BYTES, dtype, part)


class _Reader:
    """One open file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDONLY)
        self._own = threading.local()
        self._copied: list[torch.cuda.Event] = []

    def close(self) -> None:
        """Wait for what is still being copied, and close the file."""
        for event in self._copied:
            event.synchronize()
        os.close(self._file)

    @torch.inference_mode()
    def read(self, block: _Block) -> int:
        """Bring one block to its place."""
        is_on_cpu = block.place.device.type == "cpu"
        if is_on_cpu and block.place.dtype == block.dtype:
            self._read_into(block.place.view(torch.uint8), block.offset)
            return block.num_bytes
        buffer = self._buffer(pinned=not is_on_cpu)[: block.num_bytes]
        self._read_into(buffer, block.offset)
        block.place.copy_(buffer.view(block.dtype), non_blocking=True)
        if not is_on_cpu:
            # Of the place's device, which need not be this thread's.
            self._own.copied.record(torch.cuda.current_stream(block.place.device))
        return block.num_bytes

    def _buffer(self, *, pinned: bool) -> Tensor:
        """Give this thread's buffer, once what was in it has arrived."""
        if not hasattr(self._own, "buffer"):
            self._own.buffer = torch.empty(BLOCK_BYTES, dtype=torch.uint8, pin_memory=pinned)
            if pinned:
                self._own.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
                self._copied.append(self._own.copied)
        elif pinned:
            self._own.copied.synchronize()
        buffer: Tensor = self._own.buffer
        return buffer

    def _read_into(self, place: Tensor, offset: int) -> None:
        """Read `place` full, [n] uint8 on the CPU."""
        rest = memoryview(place.numpy())  # type: ignore[arg-type]
        while rest:
            count = os.preadv(self._file, [rest], offset)
            if not count:
                raise InvalidCheckpoint(f"{self._path} ends early; fetch it again")
            rest, offset = rest[count:], offset + count
