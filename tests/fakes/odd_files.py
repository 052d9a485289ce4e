"""What may lie where a file is expected, and a guard for readers that would wait for ever."""

import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

PATIENCE_S = 10.0  # a reader takes milliseconds
HUGE_BYTES = 10_000_000_000

T = TypeVar("T")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # an address has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def _huge(path: Path) -> None:
    path.touch()
    os.truncate(path, HUGE_BYTES)  # all of it a hole


ODD_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "directory": lambda path: path.mkdir(),
    "socket": _socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "huge": _huge,
    "empty": lambda path: path.touch(),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 20),
    "nested": lambda path: path.write_bytes(b"[" * 90_000),
    "absent": lambda path: None,
    "loop": lambda path: path.symlink_to(path.name),
}
"""By kind: what makes it at a path where nothing is."""


def put(kind: str, path: Path) -> None:
    """Replace a file by one of `ODD_FILES`."""
    path.unlink(missing_ok=True)
    ODD_FILES[kind](path)


def in_time(call: Callable[[], T]) -> T:
    """Return what a call returns or raise what it raises, unless it takes too long."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome.result(PATIENCE_S)
