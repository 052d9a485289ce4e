"""One file of a repository, stored under its own checksum, so that it is verified without the hub.

The name is the sha256 of the bytes, or git's sha1 for small files, as in every cache of Hugging
Face. Beside it lies a journal: one line per block with the block's sha256. While the file grows,
the journal lists the blocks that are there, so that the next worker continues after a kill. Later
it lets several threads verify the file at once, and shows which blocks to fetch again. A mark
remembers that the file was found right (`mark.py`).
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
from higgs_worker.regular_file import open_regular, read_regular
from higgs_worker.threads import in_threads
from higgs_worker.weights.mark import Mark

ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""The name of a blob."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errors of a full volume."""

_PIECE_BYTES = 1 << 20
_NUM_THREADS = 8  # more than cores: reading a network volume is mostly waiting
_MAX_BYTES = 100_000_000_000  # ten times the largest; one full of holes may claim any size
_MAX_JOURNAL_BYTES = 10_000_000  # of 130,000 blocks
_LINE = re.compile(r"([0-9]{1,9}) ([0-9a-f]{64})")

OnBytes = Callable[[int], None]
"""Called with the number of bytes that were checked since the last call."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A file under its checksum, complete or growing."""

    path: Path
    """Where the complete file is; its name is the checksum."""
    journal: Path
    block_bytes: int

    @property
    def etag(self) -> str:
        """The checksum of the complete file."""
        return self.path.name

    @property
    def partial(self) -> Path:
        """Where the file is while it grows."""
        return self.path.with_name(f"{self.etag}.incomplete")

    @property
    def _mark(self) -> Mark:
        return Mark(self.journal.with_name(f"{self.etag}.verified"))

    def is_at(self, path: Path) -> bool:
        """Return whether a path, or the link that it is, leads to the complete file."""
        try:
            return self.path.is_file() and path.samefile(self.path)
        except OSError:
            return False

    def num_blocks(self, num_bytes: int) -> int:
        """Return how many blocks a file of `num_bytes` has; an empty one has none."""
        return -(-num_bytes // self.block_bytes)

    def write_block(self, index: int, data: bytes | bytearray | memoryview) -> None:
        """Write a block into the growing file, then its checksum into the journal.

        Two workers may write the same block at the same time: they write the same bytes.
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
        """Return the blocks of the growing file whose bytes are as they were written.

        Args:
            size: of the complete file, in bytes; anything beyond it is cut off.
            on_bytes: called with the number of bytes that were read.
        """
        if self.partial.is_symlink() or not self.partial.is_file():
            self.discard()
            return set()
        if self.partial.stat().st_size > size:
            os.truncate(self.partial, size)
        written = self._read_journal()
        there = range(self.num_blocks(self.partial.stat().st_size))
        digests = self._digests(self.partial, [each for each in there if each in written], on_bytes)
        right = {index: digest for index, digest in digests.items() if written[index] == digest}
        self._write_journal(right)
        return set(right)

    def is_remembered(self) -> bool:
        """Return whether the complete file was found right and is unchanged; reads no byte of it.

        Raises:
            OSError: there is no such file.
        """
        return self._mark.fits(self.path.stat())

    def remember(self) -> None:
        """Remember that the complete file is right; the caller has verified it.

        Raises:
            OSError: there is no such file.
        """
        self._mark.write(self.path, self.path.stat())

    def is_right(self, on_bytes: OnBytes = lambda _: None) -> bool:
        """Return whether the complete file has its checksum, and remember it or forget.

        Fast where the journal is right. Where it is incomplete or does not agree, the checksum in
        the name decides, in one thread; a wrong journal is replaced.

        Raises:
            OSError: the file cannot be read.
        """
        described = self.path.stat()
        if described.st_size > _MAX_BYTES:
            return False
        is_right = self._has_checksum(described.st_size, on_bytes)
        if is_right:
            self._mark.write(self.path, described)
        else:
            self._mark.remove()
        return is_right

    def _has_checksum(self, size: int, on_bytes: OnBytes) -> bool:
        digests = self._digests(self.path, range(self.num_blocks(size)), on_bytes)
        if digests and digests == self._read_journal():
            return True
        checksum = Checksum(self.etag, size)
        checksum.update_from(self.path, 0, size)
        if not checksum.is_right:
            return False
        with suppress(OSError):  # it only makes the next verification faster
            self._write_journal(digests)
        return True

    def reopen(self) -> None:
        """Turn a complete but damaged file back into a growing one, to repair it."""
        os.replace(self.path, self.partial)

    def close(self) -> None:
        """Turn the growing file into the complete one; the caller has verified it."""
        os.replace(self.partial, self.path)

    def discard(self) -> None:
        """Remove the growing file and its journal."""
        self.partial.unlink(missing_ok=True)
        self.journal.unlink(missing_ok=True)

    def _read_journal(self) -> dict[int, str]:
        """Return checksums by block; an incomplete or damaged line counts as not written."""
        try:
            data = read_regular(self.journal, _MAX_JOURNAL_BYTES, follow_links=False)
        except OSError:
            return {}
        lines = data.decode(errors="replace").splitlines()
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
    """The checksum of a file, computed while the file is read from its start."""

    def __init__(self, etag: str, size: int) -> None:
        """
        Args:
            etag: the checksum that the file should have.
            size: of the complete file, in bytes.
        """
        self._etag = etag
        if len(etag) == 64:
            self._digest = hashlib.sha256()
        else:
            self._digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)  # as git does

    def update_from(self, path: Path, start: int, end: int) -> int:
        """Add the next part of a file and return how many bytes it had."""
        return _hash_into(self._digest.update, path, start, end)

    @property
    def is_right(self) -> bool:
        """Whether the bytes added so far are the complete file."""
        return self._digest.hexdigest() == self._etag


def _hash_into(update: Callable[[memoryview], None], path: Path, start: int, end: int) -> int:
    """Hash a part of a file, as far as it reaches, and return its length."""
    buffer = memoryview(bytearray(min(_PIECE_BYTES, max(end - start, 1))))
    position = start
    with open_regular(path) as file:
        file.seek(start)
        while position < end:
            num_bytes = file.readinto(buffer[: min(len(buffer), end - position)])
            if not num_bytes:
                break
            update(buffer[:num_bytes])
            position += num_bytes
    return position - start
