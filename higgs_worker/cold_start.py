"""Where the time goes from the start of the container to the first sound, logged as one line.

Source of the process's age: proc(5), fields `starttime` and `uptime`.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


class ColdStart:
    """Collects the laps of one start. The first request that is spoken ends it."""

    def __init__(self, bootstrapped_at: float | None = None) -> None:
        """
        Args:
            bootstrapped_at: when the container's script started, in seconds since 1970, if known.
        """
        python_s = process_age_s()
        bootstrap_s = 0.0
        if bootstrapped_at is not None:
            bootstrap_s = max(0.0, time.time() - python_s - bootstrapped_at)
        self._laps = {"bootstrap_s": bootstrap_s, "python_s": python_s}
        self._started = time.perf_counter() - python_s - bootstrap_s
        self._loaded: float | None = None
        self._is_over = False

    @property
    def laps(self) -> Mapping[str, float]:
        """What is known by now: seconds by name, such as `read_s`."""
        return dict(self._laps)

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Time the body; laps may overlap."""
        begun = time.perf_counter()
        yield
        self._laps[f"{name}_s"] = time.perf_counter() - begun

    def loaded(self) -> None:
        """Record that the model is loaded."""
        self._loaded = time.perf_counter()
        self._laps["ready_s"] = self._loaded - self._started

    def spoke(self, began: float, first_audio_s: float) -> None:
        """Record that a request was spoken; the first one ends the start, which is logged.

        Args:
            began: when the request came, on `time.perf_counter`.
            first_audio_s: seconds from then to its first sound.
        """
        if self._is_over or self._loaded is None:
            return
        self._is_over = True
        # Time between the load and the first job is nobody's wait.
        idle_s = max(0.0, began - self._loaded)
        self._laps |= {
            "idle_s": idle_s,
            "first_job_s": first_audio_s,
            "total_s": began + first_audio_s - self._started - idle_s,
        }
        log.info("cold start", extra={name: round(value, 3) for name, value in self._laps.items()})


def process_age_s() -> float:
    """Return the age of this process in seconds; 0 where the system does not tell it."""
    try:
        # The second field is the program's name in brackets, and may hold anything.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    return max(0.0, uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
