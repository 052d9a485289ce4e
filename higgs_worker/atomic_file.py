"""Files on a volume that several workers write at the same time, without locks.

A file appears complete or not at all, and the file system decides which of two writers is first. A
writer that is killed leaves only a temporary file.
"""

import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_MAX_TEMPORARY_AGE_S = 3600.0  # no write takes so long: its writer is gone


def write_atomic(
    path: Path, data: bytes, *, replace: bool, check: Callable[[], None] = lambda: None
) -> None:
    """Write a file that appears complete or not at all.

    Args:
        path: of the file, whose directory exists.
        data: its bytes.
        replace: whether it may replace an existing file.
        check: called when only the file's name is missing; what it raises ends the write.

    Raises:
        FileExistsError: the file exists, and `replace` is false.
        OSError: the volume refuses; nothing has changed.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        check()
        if not replace:
            _claim(temporary, path)
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_if(path: Path, is_it: Callable[[Path], bool]) -> bool:
    """Remove a file if it is the one that is meant, and return whether it was.

    Between a look at a file and its removal another worker may put one there. So it is renamed
    first, and looked at under a name that nobody else uses. If it is another one it is put back.

    Args:
        path: of the file.
        is_it: tells whether a file, under any name, is the one that is meant.

    Raises:
        OSError: the volume refuses.
    """
    aside = _temporary(path)
    try:
        path.rename(aside)
    except FileNotFoundError:
        return False
    was_it = is_it(aside)
    if not was_it:
        with suppress(FileExistsError):  # a newer one is there already
            _claim(aside, path)
    aside.unlink(missing_ok=True)
    return was_it


def remove_stale_temporaries(directory: Path) -> None:
    """Remove the temporary files of killed writers, an hour after their last change."""
    for path in directory.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _MAX_TEMPORARY_AGE_S:
                path.unlink()


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")


def _claim(temporary: Path, path: Path) -> None:
    """Give a file its name unless another file has it."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # some network volumes have no hard links: an empty file reserves the name
        path.open("xb").close()
        os.replace(temporary, path)
