"""Workers in processes of their own, and secrets that must never leave them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.fakes.control_plane import API_KEY, ROUTE_KEY, ControlPlane
from tests.fakes.leaks import leaks

ROOT = Path(__file__).parents[2]
HANDLER = (str(ROOT / "handler.py"),)
SCRIPTED = ("-m", "tests.fakes.scripted_worker")
PYTHONPATH = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
"""Where workers find modules: first of all another SDK, if these tests were given one."""

SECRETS = {
    "RUNPOD_AI_API_KEY": API_KEY,
    "AWS_ACCESS_KEY_ID": "AKIATHEACCESSKEYOFTHEBUCKET",
    "AWS_SECRET_ACCESS_KEY": "thE/secret+key+Of+the+bucket",
    "HF_TOKEN": "hf_thetokenofthehub",
}
"""What a deployed worker has in its environment."""
SENT_SECRET = "hunter2-in-a-job"
"""What callers put into jobs although they must not."""


class Worker:
    """A worker on a control plane; a context manager that ends it."""

    def __init__(
        self, plane: ControlPlane, directory: Path, command: tuple[str, ...], **settings: str
    ) -> None:
        keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        own = {
            "HIGGS_MODEL": "demo",
            "HIGGS_VOLUME": str(directory / "volume"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": PYTHONPATH,
        }
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env=keep | own | SECRETS | plane.worker_environment() | settings,
                cwd=directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        # The whole group: the SDK's pings come from a process of their own, which would go on.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self._log.read_text(errors="replace")

    def wait_for(self, words: str, timeout_s: float = 20.0) -> None:
        """Wait until it has printed these words."""
        deadline = time.monotonic() + timeout_s
        while words not in self.log:
            assert time.monotonic() < deadline, self.log[-5000:]
            time.sleep(0.01)

    def terminate(self) -> None:
        """Tell it to stop, as a platform does."""
        self.process.send_signal(signal.SIGTERM)

    def ended_after(self, timeout_s: float = 20.0) -> float:
        """Wait for its end and return how many seconds that took."""
        started = time.monotonic()
        self.process.wait(timeout_s)
        return time.monotonic() - started

    def resident_mb(self) -> float:
        """Return how much memory it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (each for each in status.splitlines() if each.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def num_open_files(self) -> int:
        """Return how many files and connections it holds open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


def leaked(plane: ControlPlane, worker: Worker) -> list[str]:
    """Return the secrets that stand in the log or in anything that was posted or requested."""
    seen = [worker.log, *plane.bodies, repr(plane.requests)]
    found = leaks(seen, (*SECRETS.values(), SENT_SECRET))
    return found + leaks([worker.log], [ROUTE_KEY])
