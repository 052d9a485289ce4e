"""Files with and without the page cache, and how fast their bytes alone are read."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NUM_THREADS = 8
BLOCK_BYTES = 16 << 20
"""Both as the loader has them, see `higgs_worker/engine/tensor_reader.py`."""


def drop(path: Path) -> None:
    """Remove a file from the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read(path: Path) -> None:
    """Read all bytes into one buffer per thread, and discard them."""
    size = path.stat().st_size
    buffers = [bytearray(BLOCK_BYTES) for _ in range(NUM_THREADS)]
    with path.open("rb") as file, ThreadPoolExecutor(NUM_THREADS) as pool:

        def read_every_eighth(number: int) -> None:
            buffer = buffers[number]
            for offset in range(number * BLOCK_BYTES, size, NUM_THREADS * BLOCK_BYTES):
                os.preadv(file.fileno(), [buffer], offset)

        list(pool.map(read_every_eighth, range(NUM_THREADS)))
