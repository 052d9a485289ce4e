"""Opening one file of a checkpoint, with errors that say what to do.

It may be a link to anywhere: the operator names the directory, and caches are made of links.
"""

from io import BufferedReader
from pathlib import Path

from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from higgs_worker.regular_file import UnfitFile, open_regular, size_of


def open_file(path: Path, source: str, max_bytes: int | None = None) -> BufferedReader:
    """Open a file of a checkpoint to read it.

    Args:
        path: of the file.
        source: what its directory must hold, for the error text.
        max_bytes: its largest size; None for any.

    Raises:
        WeightsNotFound: it cannot be opened.
        InvalidCheckpoint: it is not a regular file, or too large.
    """
    try:
        return open_regular(path, max_bytes)
    except UnfitFile as error:
        raise InvalidCheckpoint(
            f"{path} cannot be used ({error.strerror}); fetch {source} again"
        ) from error
    except OSError as error:
        raise WeightsNotFound(
            f"{path} cannot be read ({error.strerror}); the directory must hold {source}"
        ) from error


def read_file(path: Path, source: str, max_bytes: int) -> bytes:
    """Return the bytes of a file of a checkpoint; see `open_file`."""
    with open_file(path, source, max_bytes) as file:
        return file.read(size_of(file))
