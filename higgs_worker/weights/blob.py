"""One file of a repository, kept under its own checksum, so that it can be checked without the hub.

The name is sha256 of the bytes, or git's sha1 for small files, as in every cache of Hugging Face.
Beside it lies a journal: one line per block with the block's sha256. While the file grows, the
journal says which blocks are there, so that a killed worker's successor goes on where it ended;
afterwards it lets several threads check the file at once, and tells which blocks to fetch again.
Nothing is synced to the disk: what a crash of the machine tears is found by the next check.
Knows neither the hub nor how files are named outside.
"""

import errno
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from higgs_worker.atomic_file import write_atomic
from higgs_worker.threads import in_threads

ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""What names a blob."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""How a volume says that nothing more fits."""

_PIECE_BYTES = 1 << 20
_NUM_THREADS = 8  # beyond the cores as well: reading a network volume is mostly waiting
_LINE = re.compile(r"([0-9]{1,9}) ([0-9a-f]{64})")

OnBytes = Callable[[int], None]
"""Is called with how many bytes more were checked."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file under its checksum, whole or growing."""

    path: Path
    """Where it is when it is whole; its name is the checksum."""
    journal: Path
    block_bytes: int

    @property
    def etag(self) -> str:
        """The checksum that the whole file has."""
        return self.path.name

    @property
    def partial(self) -> Path:
        """Where it is while it grows."""
        return self.path.with_name(f"{self.etag}.incomplete")

    def num_blocks(self, num_bytes: int) -> int:
        """Return how many blocks a file of that size has; an empty one has none."""
        return -(-num_bytes // self.block_bytes)

    def write_block(self, index: int, data: bytes | bytearray) -> None:
        """Put a block into the growing file, then into the journal.

        Two workers that write one block at the same time do no harm: it is the same block.
        """
        digest = hashlib.sha256(data).hexdigest()
        file = os.open(self.partial, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            view, offset = memoryview(data), index * self.block_bytes
            while view:
                written = os.pwrite(file, view, offset)
                view, offset = view[written:], offset + written
        finally:
            os.close(file)
        with self.journal.open("a") as lines:
            lines.write(f"{index} {digest}\n")

    def held(self, size: int, on_bytes: OnBytes = lambda _: None) -> set[int]:
        """Return the blocks of the growing file that are as they were written.

        Args:
            size: of the whole file; what stands beyond it is cut off.
            on_bytes: is told what was read.
        """
        if not self.partial.exists():
            self.journal.unlink(missing_ok=True)
            return set()
        if self.partial.stat().st_size > size:
            os.truncate(self.partial, size)
        written = self._read_journal()
        there = range(self.num_blocks(self.partial.stat().st_size))
        digests = self._digests(self.partial, [each for each in there if each in written], on_bytes)
        right = {index: digest for index, digest in digests.items() if written[index] == digest}
        self._write_journal(right)
        return set(right)

    def is_right(self, on_bytes: OnBytes = lambda _: None) -> bool:
        """Check the whole file, fast where the journal is whole.

        Where it is not, or does not agree, the checksum in the name decides, in one thread; a
        journal that was wrong is written anew.

        Raises:
            OSError: the file cannot be read.
        """
        size = self.path.stat().st_size
        digests = self._digests(self.path, range(self.num_blocks(size)), on_bytes)
        if digests and digests == self._read_journal():
            return True
        whole = Checksum(self.etag, size)
        whole.update_from(self.path, 0, size)
        if not whole.is_right:
            return False
        with suppress(OSError):  # it only makes the next check faster
            self._write_journal(digests)
        return True

    def reopen(self) -> None:
        """Let a whole file that turned out damaged grow again, from its good blocks."""
        os.replace(self.path, self.partial)

    def close(self) -> None:
        """Let the grown file be whole; who calls has checked it."""
        os.replace(self.partial, self.path)

    def discard(self) -> None:
        """Forget what has grown so far."""
        self.partial.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    def _read_journal(self) -> dict[int, str]:
        """A torn or damaged line counts as not written."""
        try:
            lines = self.journal.read_text(errors="replace").splitlines()
        except OSError:
            return {}
        found = (_LINE.fullmatch(line) for line in lines)
        return {int(match[1]): match[2] for match in found if match}

    def _write_journal(self, digests: dict[int, str]) -> None:
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{index} {digest}\n" for index, digest in digests.items())
        write_atomic(self.journal, lines.encode(), replace=True)

    def _digests(self, path: Path, blocks: Iterable[int], on_bytes: OnBytes) -> dict[int, str]:
        def digest(index: int) -> tuple[int, str, int]:
            sha256 = hashlib.sha256()
            start = index * self.block_bytes
            num_bytes = _hash_into(sha256.update, path, start, start + self.block_bytes)
            return index, sha256.hexdigest(), num_bytes

        digests = {}
        for index, found, num_bytes in in_threads(digest, blocks, _NUM_THREADS):
            digests[index] = found
            on_bytes(num_bytes)
        return digests


class Checksum:
    """The checksum of a file, computed as the file is read from its beginning."""

    def __init__(self, etag: str, size: int) -> None:
        """Begin with nothing of a file of that size that should have the checksum `etag`."""
        self._etag = etag
        if len(etag) == 64:
            self._digest = hashlib.sha256()
        else:
            self._digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # as git does

    def update_from(self, path: Path, start: int, end: int) -> int:
        """Go on with a part of a file; gives how much of it there was."""
        return _hash_into(self._digest.update, path, start, end)

    @property
    def is_right(self) -> bool:
        """Whether what was read so far is the whole file."""
        return self._digest.hexdigest() == self._etag


def _hash_into(update: Callable[[memoryview], None], path: Path, start: int, end: int) -> int:
    """Hash a part of a file, as far as there is any; gives its length."""
    buffer = memoryview(bytearray(min(_PIECE_BYTES, max(end - start, 1))))
    position = start
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while position < end:
            num_bytes = file.readinto(buffer[: min(len(buffer), end - position)])
            if not num_bytes:
                break
            update(buffer[:num_bytes])
            position += num_bytes
    return position - start
