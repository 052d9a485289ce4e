"""How much memory processes have taken, from /proc."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PERIOD_S = 0.004


def children(pid: int | str = "self") -> list[int]:
    """Return the processes that one has started."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def peak_mb(pid: int | str = "self") -> float:
    """Return the most memory that a process has held, since it began or was asked to forget."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


def forget_peak() -> None:
    """Let this process's peak begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def num_open_files() -> int:
    """Return how many files this process holds."""
    return len(os.listdir("/proc/self/fd"))


class ForkPeak:
    """The most memory that any fork of a reader of recordings has held, in MB."""

    mb = 0.0

    def look(self) -> None:
        """See who is there now; other tests' processes may be children of this one as well."""
        for child in filter(_is_reader, children()):
            self.mb = max(self.mb, *map(peak_mb, children(child)), 0.0)


def _is_reader(pid: int) -> bool:
    with suppress(OSError):
        return b"higgs_worker.audio.reader_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@contextmanager
def watching_forks() -> Iterator[ForkPeak]:
    """Look every few milliseconds; a peak is remembered by the system until its process ends."""
    peak = ForkPeak()
    with looking(peak.look, _PERIOD_S):
        yield peak


@contextmanager
def looking(look: Callable[[], None], period_s: float) -> Iterator[None]:
    """Call a function again and again, in a thread, while the body runs."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(period_s):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
