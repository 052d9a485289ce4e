"""Files that anybody may have put onto a volume or into a checkpoint.

Opening a pipe waits for its writer, reading a device does not end, and a file may have any size. So
a file is opened without waiting, must be a regular one, and is read up to a bound.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

_NOT_REGULAR = (errno.ELOOP, errno.ENXIO)  # a link, where none is allowed, and a socket


class UnfitFile(OSError):
    """Not a regular file, or larger than is allowed; `strerror` says which."""


def open_regular(
    path: Path, max_bytes: int | None = None, *, follow_links: bool = True
) -> BufferedReader:
    """Open a regular file to read it.

    Args:
        path: of the file.
        max_bytes: its largest size; None for any.
        follow_links: whether it may be a link to the file.

    Raises:
        UnfitFile: it is something else, or larger.
        OSError: it cannot be opened; so is `UnfitFile`.
    """
    links = 0 if follow_links else os.O_NOFOLLOW
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | links)
    except OSError as error:
        if error.errno in _NOT_REGULAR:
            raise UnfitFile(errno.EINVAL, "it is not a regular file") from error
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnfitFile(errno.EINVAL, "it is not a regular file")
        if max_bytes is not None and found.st_size > max_bytes:
            text = f"it has {found.st_size} bytes, and at most {max_bytes} are allowed"
            raise UnfitFile(errno.EINVAL, text)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def size_of(file: BufferedReader) -> int:
    """Return how many bytes an open file has."""
    return os.fstat(file.fileno()).st_size


def read_regular(path: Path, max_bytes: int, *, follow_links: bool = True) -> bytes:
    """Return the bytes of a regular file.

    Raises:
        UnfitFile: it is something else, or larger than `max_bytes`.
        OSError: it cannot be read.
    """
    with open_regular(path, max_bytes, follow_links=follow_links) as file:
        return file.read(size_of(file))  # reading allocates what it asks for
