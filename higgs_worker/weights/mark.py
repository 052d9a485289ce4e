"""Remembers that a file's bytes were right, so that the next start need not read them to know it.

A mark holds how the file system described the file before its bytes were checked: its size, its
inode and the times of its last changes. While that description is the same, nobody has written to
the file, replaced it or copied it from elsewhere since. Bits that flip on the disk change no
description; only a check of the bytes finds them.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from higgs_worker.atomic_file import write_atomic
from higgs_worker.regular_file import read_regular

_MAX_BYTES = 100  # four numbers of up to 20 digits


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one file."""

    path: Path
    """Of the mark itself."""

    def fits(self, described: os.stat_result) -> bool:
        """Return whether a file that is described so was found right; reads the mark alone."""
        try:
            data = read_regular(self.path, _MAX_BYTES, follow_links=False)
        except OSError:
            return False
        return data == _description(described)

    def write(self, file: Path, described: os.stat_result) -> None:
        """Remember that a file is right; without effect where the mark cannot be written.

        Args:
            file: whose bytes were checked.
            described: how it was described before the check. If it changed meanwhile, the mark fits
                it no more.
        """
        with suppress(OSError):
            # What was checked may be in this machine's memory alone, and a mark that outlives it in
            # a crash would vouch for what the disk holds.
            _sync(file)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, _description(described), replace=True)

    def remove(self) -> None:
        """Forget what was remembered; without effect where the mark cannot be removed."""
        with suppress(OSError):
            self.path.unlink()


def _description(file: os.stat_result) -> bytes:
    # The device is left out: it is a number of the mount, and each worker has its own.
    return b"%d %d %d %d\n" % (file.st_size, file.st_ino, file.st_mtime_ns, file.st_ctime_ns)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
