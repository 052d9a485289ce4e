"""A lock between workers on a volume that may lack flock; a dead or frozen holder loses it.

A lease is a numbered file; the highest number counts. Its holder sets the file's time every few
seconds (a heartbeat). A waiting worker measures with its own clock how long that time has not
changed, so the machines' clocks need not agree. After too long it creates the next number, and the
file system lets only one worker do so. A former holder that wakes up finds a higher number and
stops. A time of zero means released. Numbers are never reused, so no worker can mistake a new lease
for the old one that it watched.

The lease only saves traffic: what workers write under it is right even if two of them write.

filelock's `SoftFileLease` does not do here. It replaces a dead holder only where two names can be
exchanged, which NFS and CIFS refuse, and never one that was killed before it wrote its first byte;
where exclusive creation does not exclude, it takes the lease from the living.
"""

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from higgs_worker.regular_file import UnfitFile, open_regular, read_regular

_POLL_S = 0.5
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_MAX_HOLDER_BYTES = 300  # a host's name and a process's number

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker has taken over."""


class Lease:
    """One worker's claim to a directory."""

    def __init__(self, directory: Path, *, beat_s: float, stale_s: float) -> None:
        """
        Args:
            directory: for the lease files and nothing else; created when needed.
            beat_s: between two heartbeats.
            stale_s: without a heartbeat, after which a lease is taken over.
        """
        self._directory = directory
        self._beat_s, self._stale_s = beat_s, stale_s
        self._number = 0
        self._released = threading.Event()
        self._beating: threading.Thread | None = None

    def acquire(self, *, deadline: float, unless: Callable[[], bool]) -> bool:
        """Wait for the lease; blocks.

        Args:
            deadline: on the monotonic clock.
            unless: called repeatedly; true ends the wait, because the lease is no longer needed.

        Returns:
            Whether this worker holds the lease now.

        Raises:
            TimeoutError: other workers held it until the deadline.
            OSError: the volume refuses.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        seen, seen_at, has_waited = None, time.monotonic(), False
        while not unless():
            newest = self._newest()
            now = time.monotonic()
            if newest != seen:
                seen, seen_at = newest, now
            number, touched_ns = newest
            is_free = touched_ns == 0 or now - seen_at > self._stale_s
            if is_free and self._create(number + 1):
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
        """Check that no other worker has taken over.

        Raises:
            LeaseLost: one has.
        """
        if not self._path(self._number).exists() or self._path(self._number + 1).exists():
            raise LeaseLost

    def release(self) -> None:
        """Let the next worker in at once; no effect when the lease is lost or was never held."""
        self._released.set()
        if self._beating is not None:
            self._beating.join()
        with suppress(OSError):  # then another worker takes over later, or has already
            os.utime(self._path(self._number), (0, 0))

    def _newest(self) -> tuple[int, int]:
        """Return number and time of the newest lease; (0, 0) when there is none."""
        number = max(self._numbers(), default=0)
        try:
            # Opening makes network file systems ask the server instead of their cache.
            with open_regular(self._path(number)) as file:
                return number, os.fstat(file.fileno()).st_mtime_ns
        except (FileNotFoundError, UnfitFile):  # released, or never a lease
            return number, 0

    def _numbers(self) -> list[int]:
        return [int(name) for name in os.listdir(self._directory) if _NUMBER.fullmatch(name)]

    def _holder(self) -> str:
        try:
            data = read_regular(self._path(self._newest()[0]), _MAX_HOLDER_BYTES)
        except OSError:
            return ""
        return data.decode(errors="replace").strip()

    def _create(self, number: int) -> bool:
        path = self._path(number)
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        with suppress(OSError):  # a full volume; the text is for people only
            path.write_text(f"{socket.gethostname()} {os.getpid()}\n")
        self._number = number
        self._released.clear()
        self._beating = threading.Thread(target=self._beat, args=(path,), daemon=True)
        self._beating.start()
        for each in self._numbers():
            if each < number:
                with suppress(OSError):
                    self._path(each).unlink()
        return True

    def _beat(self, path: Path) -> None:
        while not self._released.wait(self._beat_s):
            try:
                os.utime(path)
            except FileNotFoundError:  # taken over
                return
            except OSError:
                continue  # a failure may pass

    def _path(self, number: int) -> Path:
        return self._directory / str(number)
