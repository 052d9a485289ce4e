"""What a cache of weights asks of a volume's file system, tried with small files.

Network volumes differ: some have no symbolic links, some cannot write into the middle of a file. A
pull would find that out after gigabytes.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from higgs_worker.errors import VolumeUnusable
from higgs_worker.weights.blob import FULL

_ELSEWHERE = (
    "set HIGGS_VOLUME to a directory of another file system, or HIGGS_MODEL and HIGGS_CODEC to "
    "directories that hold the files"
)


def check_abilities(directory: Path) -> None:
    """Try what a pull into a directory will do; takes milliseconds and leaves nothing.

    Raises:
        VolumeUnusable: the file system cannot do it; the error names what it lacks.
        OSError: the directory cannot be written, or is full.
    """
    trial = directory / f".trial-{uuid.uuid4().hex}"
    trial.mkdir(parents=True)
    try:
        for name, attempt in _ABILITIES.items():
            try:
                attempt(trial)
            except OSError as error:
                if error.errno in FULL:
                    raise
                raise VolumeUnusable(
                    f"{directory} cannot hold weights: its file system has no {name} "
                    f"({error.strerror or error}); {_ELSEWHERE}"
                ) from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _write_out_of_order(trial: Path) -> None:
    path = trial / "blocks"
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(file, b"second", 4096)
        os.pwrite(file, b"first", 0)
    finally:
        os.close(file)
    with path.open("a") as end:
        end.write("third")
    _expect(path, b"first".ljust(4096, b"\0") + b"secondthird")


def _rename_over(trial: Path) -> None:
    (trial / "old").write_bytes(b"old")
    (trial / "new").write_bytes(b"new")
    os.replace(trial / "new", trial / "old")
    _expect(trial / "old", b"new")


def _link(trial: Path) -> None:
    (trial / "blob").write_bytes(b"bytes")
    (trial / "snapshot").mkdir()
    link = trial / "snapshot" / "name"
    os.symlink(Path("..", "blob"), link.with_suffix(".tmp"))
    os.replace(link.with_suffix(".tmp"), link)
    os.readlink(link)  # fails where a copy was made instead
    _expect(link, b"bytes")


def _expect(path: Path, data: bytes) -> None:
    if path.read_bytes() != data:
        raise OSError(errno.EIO, "other bytes came back")


_ABILITIES: dict[str, Callable[[Path], None]] = {
    "writing into the middle of a file": _write_out_of_order,
    "renaming over a file": _rename_over,
    "symbolic links (CIFS has them with the mount option mfsymlinks)": _link,
}
"""By name, what fails where the file system cannot do it."""
