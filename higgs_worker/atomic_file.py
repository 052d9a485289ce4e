"""Files on a volume that several workers write at once, without locks.

A file appears whole or not at all, and the file system decides which of two writers is first; one
that dies in the middle leaves nothing but a temporary file. Knows nothing of what is in them.
"""

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path

_MAX_TEMPORARY_AGE_S = 3600.0  # nobody writes for so long: its writer is gone


def write_atomic(path: Path, data: bytes, *, replace: bool) -> None:
    """Let a file appear whole or not at all.

    Raises:
        FileExistsError: it is there, and `replace` is false.
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
    """Remove what writers left behind that died in the middle."""
    for path in directory.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _MAX_TEMPORARY_AGE_S:
                path.unlink()


def _claim(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # some network volumes have no hard links: an empty file says whose it will be
        path.open("xb").close()
        os.replace(temporary, path)
