"""Tensors of files -> tensors in memory, in blocks, by several threads.

A block is read directly into its target if the target is on the CPU and has the file's dtype.
Otherwise it is read into a buffer of the thread and copied from there, quantised if the target is
an `Int8Matrix`; such a block has whole rows. For a GPU the buffer is pinned, so that the copy runs
while the next block is read. One thread reaches the full speed of
neither a network volume nor the page cache, and a memory-mapped file costs a fault for every page
(docs/performance.md).
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import torch
from torch import Tensor

from higgs_worker.checkpoint.tensor_file import FLOAT_DTYPES, TensorPlace
from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.regular_file import open_regular
from higgs_worker.threads import in_threads

BLOCK_BYTES = 16 << 20
NUM_THREADS = 8


@dataclass(frozen=True, slots=True)
class _Block:
    path: Path
    offset: int
    dtype: torch.dtype
    """Of the file."""
    target: Tensor | Int8Matrix
    """[n], contiguous, or [rows, in]."""

    @property
    def num_bytes(self) -> int:
        return self.target.shape.numel() * self.dtype.itemsize


def fill(places: Mapping[str, TensorPlace], targets: Mapping[str, Tensor | Int8Matrix]) -> int:
    """Read tensors, converting dtypes where they differ.

    Args:
        places: where each tensor is, by name.
        targets: the tensors to fill, by name; contiguous, on one device, each of its file's size.

    Returns:
        the number of bytes read.

    Raises:
        InvalidCheckpoint: a file ends early or cannot be read.
    """
    blocks = sorted(_blocks(places, targets), key=lambda block: (block.path, block.offset))
    with ExitStack() as opened:
        files = {path: opened.enter_context(_open(path)) for path in {each.path for each in blocks}}
        reader = _Reader(files)
        opened.callback(reader.finish)
        return sum(in_threads(reader.read, blocks, NUM_THREADS))


def _open(path: Path) -> BufferedReader:
    try:
        return open_regular(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InvalidCheckpoint:
    return InvalidCheckpoint(f"{path} cannot be read ({error.strerror or error}); fetch it again")


def _blocks(
    places: Mapping[str, TensorPlace], targets: Mapping[str, Tensor | Int8Matrix]
) -> Iterator[_Block]:
    for name, target in targets.items():
        place = places[name]
        dtype: torch.dtype = getattr(torch, FLOAT_DTYPES[place.dtype])
        rows = target if isinstance(target, Int8Matrix) else target.view(-1)
        row_bytes = rows.shape[1:].numel() * dtype.itemsize
        num_rows = BLOCK_BYTES // row_bytes
        for first in range(0, rows.shape[0], num_rows):
            offset = place.offset + first * row_bytes
            yield _Block(place.path, offset, dtype, rows[first : first + num_rows])


class _Reader:
    """Reads blocks of open files, in any number of threads."""

    def __init__(self, files: Mapping[Path, BufferedReader]) -> None:
        self._files = files
        self._own = threading.local()
        self._copies: list[torch.cuda.Event] = []
        """Per thread, the end of its latest copy to a GPU."""

    def finish(self) -> None:
        """Wait for copies that still run."""
        for event in self._copies:
            event.synchronize()

    @torch.inference_mode()
    def read(self, block: _Block) -> int:
        """Read one block into its target; returns its bytes."""
        target = block.target
        is_on_cpu = target.device.type == "cpu"
        if is_on_cpu and isinstance(target, Tensor) and target.dtype == block.dtype:
            self._read_into(target.view(torch.uint8), block)
            return block.num_bytes
        buffer = self._buffer(pinned=not is_on_cpu)[: block.num_bytes]
        self._read_into(buffer, block)
        target.copy_(buffer.view(block.dtype).view(target.shape), non_blocking=True)
        if not is_on_cpu:
            # On the target's device, which need not be this thread's current one.
            self._own.copy.record(torch.cuda.current_stream(target.device))
        return block.num_bytes

    def _buffer(self, *, pinned: bool) -> Tensor:
        """Return this thread's buffer, once its last copy has finished."""
        if not hasattr(self._own, "buffer"):
            self._own.buffer = torch.empty(BLOCK_BYTES, dtype=torch.uint8, pin_memory=pinned)
            if pinned:
                self._own.copy = torch.cuda.Event()  # type: ignore[no-untyped-call]
                self._copies.append(self._own.copy)
        elif pinned:
            self._own.copy.synchronize()
        buffer: Tensor = self._own.buffer
        return buffer

    def _read_into(self, target: Tensor, block: _Block) -> None:
        """Fill `target`, [n] uint8 on the CPU."""
        rest, offset = memoryview(target.numpy()), block.offset  # type: ignore[arg-type]
        file = self._files[block.path].fileno()
        while rest:
            try:
                count = os.preadv(file, [rest], offset)
            except OSError as error:
                raise _unreadable(block.path, error) from error
            if not count:
                raise InvalidCheckpoint(f"{block.path} ends early; fetch it again")
            rest, offset = rest[count:], offset + count
