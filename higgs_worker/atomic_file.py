"""Files on a volume that several workers write at the same time, without locks.

A file appears complete or not at all, and the file system decides which of two writers is first. A
writer that is killed leaves only a temporary file.
"""

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

_MAX_TEMPORARY_AGE_S = 3600.0  # no write takes so long: its writer is gone


def write_atomic(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file that appears complete or not at all.

    Args:
        path: of the file, whose directory exists.
        data: its bytes.
        replace: whether it may replace an existing file.

    Raises:
        FileExistsError: the file exists, and `replace` is false.
        OSError: the volume refuses; nothing has changed.
    """
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not replace:
            _claim(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_stale_temporaries(directory: Path) -> None:
    """Remove the temporary files of killed writers, an hour after their last change."""
    for path in directory.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _MAX_TEMPORARY_AGE_S:
                path.unlink()


def _claim(temporary: Path, path: Path) -> None:
    """Give a file its name unless another file has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # some network volumes have no hard links: an empty file reserves the name
        path.open("xb").close()
        os.replace(temporary, path)
