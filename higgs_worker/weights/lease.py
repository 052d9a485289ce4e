"""A lock between workers on a volume that may lack flock, and that no dead or frozen holder keeps.

A lease is a numbered file; the highest number holds. Its holder touches it every few seconds. Who
waits watches that time with a clock of its own, so that clocks need not agree, and when it has
stood still for too long creates the next number, which the file system lets only one do. A holder
that wakes up afterwards finds a higher number and stops. A time of zero means released: numbers
are never used again, so that nobody can mistake a new lease for the old one it watched.

It saves traffic and nothing more: what workers write under it is right even if two of them write.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_POLL_S = 0.5

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker has taken over."""


class Lease:
    """One worker's place in the queue for a directory."""

    def __init__(self, directory: Path, *, beat_s: float, stale_s: float) -> None:
        """Prepare.

        Args:
            directory: holds the lease files and nothing else; created when needed.
            beat_s: between two signs of life.
            stale_s: of silence, after which a lease is taken over.
        """
        self._directory = directory
        self._beat_s, self._stale_s = beat_s, stale_s
        self._number = 0
        self._ended = threading.Event()
        self._beating: threading.Thread | None = None

    def acquire(self, *, deadline: float, unless: Callable[[], bool]) -> bool:
        """Wait for the lease; blocks.

        Args:
            deadline: on the monotonic clock.
            unless: asked again and again; true ends the waiting, because no lease is needed.

        Returns:
            Whether it is held now.

        Raises:
            TimeoutError: others held it until the deadline.
            OSError: the volume refuses.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        seen, since, has_waited = None, time.monotonic(), False
        while not unless():
            newest = self._newest()
            now = time.monotonic()
            if newest != seen:
                seen, since = newest, now
            number, touched_ns = newest
            is_free = touched_ns == 0 or now - since > self._stale_s
            if is_free and self._take(number + 1):
                return True
            if now > deadline:
                raise TimeoutError
            if not is_free:
                if not has_waited:
                    log.info("waiting for the worker that pulls", extra={"holder": self._holder()})
                    has_waited = True
                time.sleep(min(_POLL_S, self._beat_s))
        return False

    def check(self) -> None:
        """Make sure that nobody took over.

        Raises:
            LeaseLost: somebody did.
        """
        if not self._path(self._number).exists() or self._path(self._number + 1).exists():
            raise LeaseLost

    def release(self) -> None:
        """Let the next one in at once; without effect when the lease is lost."""
        self._ended.set()
        if self._beating is not None:
            self._beating.join()
        with suppress(OSError):  # then it is taken over after a while, or was already
            os.utime(self._path(self._number), (0, 0))

    def _newest(self) -> tuple[int, int]:
        """Return number and time of the lease that holds; (0, 0) when there is none."""
        numbers = [int(name) for name in os.listdir(self._directory) if name.isdecimal()]
        number = max(numbers, default=0)
        try:
            # Opening makes network file systems ask the server instead of their own memory.
            with self._path(number).open("rb") as file:
                return number, os.fstat(file.fileno()).st_mtime_ns
        except FileNotFoundError:
            return number, 0

    def _holder(self) -> str:
        try:
            return self._path(self._newest()[0]).read_text(errors="replace").strip()
        except OSError:
            return ""

    def _take(self, number: int) -> bool:
        path = self._path(number)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        with suppress(OSError):  # a full volume: it is only for people who look
            path.write_text(f"{socket.gethostname()} {os.getpid()}\n")
        self._number = number
        self._ended.clear()
        self._beating = threading.Thread(target=self._beat, args=(path,), daemon=True)
        self._beating.start()
        for name in os.listdir(self._directory):
            if name.isdecimal() and int(name) < number:
                with suppress(OSError):
                    self._path(int(name)).unlink()
        return True

    def _beat(self, path: Path) -> None:
        while not self._ended.wait(self._beat_s):
            try:
                os.utime(path)
            except FileNotFoundError:  # taken over
                return
            except OSError:
                continue  # a volume may have its moments

    def _path(self, number: int) -> Path:
        return self._directory / str(number)
