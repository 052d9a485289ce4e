"""Where the time went from the start of the container to the first sound, in one line of the log.

Source of the process's age: proc(5), fields `starttime` and `uptime`.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from higgs_worker.result import Timing

log = logging.getLogger(__name__)


class ColdStart:
    """Collects the laps of one process's start; later jobs change nothing."""

    def __init__(self, bootstrapped_at: float | None = None) -> None:
        """Begin.

        Args:
            bootstrapped_at: when the container's script began, in seconds since 1970, if it told.
        """
        self._process_started = time.time() - process_age_s()
        self._container_started = min(
            bootstrapped_at or self._process_started, self._process_started
        )
        self._laps: dict[str, float] = {
            "bootstrap_s": self._process_started - self._container_started,
            "python_s": time.time() - self._process_started,
        }
        self._is_over = False

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Time what happens inside; laps may overlap."""
        begun = time.perf_counter()
        yield
        self._laps[f"{name}_s"] = time.perf_counter() - begun

    def spoke(self, timing: Timing) -> None:
        """Take note that a job has been spoken just now; the first one ends the start."""
        if self._is_over:
            return
        self._is_over = True
        heard_at = time.time() - timing.total_s + timing.first_audio_s
        laps = self._laps | {
            "first_job_s": timing.first_audio_s,
            "total_s": heard_at - self._container_started,
        }
        log.info("cold start", extra={name: round(value, 3) for name, value in laps.items()})


def process_age_s() -> float:
    """Return for how long this process has been running; 0 where the system does not tell."""
    try:
        # The second field is the program's name in brackets, and may hold anything.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    return max(0.0, uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
