"""The real process, `handler.py` with the SDK on a stand-in for the platform, and what it shows."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.real_size.hub import SIGNATURE, serving
from benchmarks.real_size.setup import Setup
from tests.fakes.control_plane import FINAL, ControlPlane, Job
from tests.fakes.delivery import Worker
from tests.fakes.process_memory import looking, peak_mb

INPUT = {"text": "Hi.", "scene": None, "max_duration_s": 0.2}
"""Five frames after 23 ids: enough to see that all parts work, and little for a CPU."""
MAX_WAIT_S = 900.0
MIB, GB = 1 << 20, 1e9
_LOOK_EVERY_S = 0.2


class ObservedWorker:
    """A worker that speaks, and what can be seen of it."""

    def __init__(self, plane: ControlPlane, worker: Worker) -> None:
        self._plane, self._worker = plane, worker

    def run(self, job_input: dict[str, Any]) -> dict[str, Any]:
        """Run a job and return its output.

        Raises:
            RuntimeError: it failed, or the worker has ended.
        """
        return self.output(self.send(job_input))

    def send(self, job_input: dict[str, Any]) -> Job:
        """Send a job, and do not wait."""
        return self._plane.run(job_input)

    def output(self, job: Job) -> dict[str, Any]:
        """Wait for a job and return its output; see `run`."""
        self._wait_until(lambda: job.status in FINAL and bool(job.ended))
        if job.status != "COMPLETED":
            raise RuntimeError(f"the job failed: {job.error}")
        return dict(job.output)

    def line(self, message: str) -> dict[str, Any]:
        """Wait for a line of the worker's log and return the first one."""
        self._wait_until(lambda: bool(self.lines(message)))
        return self.lines(message)[0]

    def lines(self, message: str) -> list[dict[str, Any]]:
        """Return the lines of the worker's log with this message."""
        found = []
        for line in self._worker.log.splitlines():
            with suppress(ValueError):
                each = json.loads(line)
                if isinstance(each, dict) and each.get("message") == message:
                    found.append(each)
        return found

    def num_signed_lines(self) -> int:
        """Return how many lines it has printed that hold a signed address."""
        return sum(SIGNATURE in line for line in self._worker.log.splitlines())

    def cpu_s(self) -> float:
        """Return how many seconds of a core it has used."""
        # The second field is the program's name in brackets, and may hold anything.
        stat = Path(f"/proc/{self._worker.process.pid}/stat").read_text().rpartition(")")[2]
        user, system = stat.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def resident_gb(self) -> float:
        """Return how much memory it holds now."""
        return self._worker.resident_mb() * MIB / GB

    def peak_gb(self) -> float:
        """Return the most that it has held since it began or was asked to forget."""
        return peak_mb(self._worker.process.pid) * MIB / GB

    def forget_peak(self) -> None:
        """Let its peak begin anew."""
        Path(f"/proc/{self._worker.process.pid}/clear_refs").write_text("5")

    def _wait_until(self, reached: Callable[[], bool]) -> None:
        end = time.monotonic() + MAX_WAIT_S
        while not reached():
            status = self._worker.process.poll()
            if status is not None or time.monotonic() > end:
                last = " / ".join(self._worker.log.splitlines()[-3:])
                raise RuntimeError(f"the worker ended with {status}, or hangs: {last}")
            time.sleep(_LOOK_EVERY_S)


@contextmanager
def working(setup: Setup) -> Iterator[ObservedWorker]:
    """Start the checkout's worker on the volume, with the hub in reach; end it after the body."""
    with (
        serving(setup.hub) as endpoint,
        ControlPlane() as plane,
        tempfile.TemporaryDirectory() as name,
        Worker(
            plane,
            Path(name),
            (str(setup.checkout / "handler.py"),),
            PYTHONPATH=str(setup.checkout),
            HF_ENDPOINT=endpoint,
            HIGGS_VOLUME=str(setup.volume),
            **setup.settings,
        ) as worker,
    ):
        yield ObservedWorker(plane, worker)


class DiskPeak:
    """The most that a folder has taken on its disk, in bytes."""

    num_bytes = 0

    def look(self, folder: Path) -> None:
        """See what is there now; a file with several names counts once."""
        sizes = {}
        for path in folder.rglob("*"):
            with suppress(OSError):  # it may just have been renamed
                stat = path.lstat()
                sizes[stat.st_ino] = stat.st_blocks * 512
        self.num_bytes = max(self.num_bytes, sum(sizes.values()))


@contextmanager
def watching_disk(folder: Path) -> Iterator[DiskPeak]:
    """Look at a folder several times a second while the body runs."""
    peak = DiskPeak()
    try:
        with looking(lambda: peak.look(folder), _LOOK_EVERY_S):
            yield peak
    finally:
        peak.look(folder)


def pulled_files(setup: Setup) -> list[Path]:
    """Return the files of weights on the volume, each once."""
    found = {path.resolve() for path in setup.volume.rglob("*") if path.is_file()}
    return [path for path in found if path.parent.name == "blobs" and path.stat().st_size > 4096]


def empty_volume(setup: Setup) -> None:
    """Remove the volume with all that is on it."""
    shutil.rmtree(setup.volume, ignore_errors=True)
