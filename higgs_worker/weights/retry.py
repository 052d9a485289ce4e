"""How long a pull may take, when it tries again, and when it gives up.

Two times bound a pull: a fixed deadline, and a shorter stall time that starts anew with every
megabyte received. A network that is down, a hub that hangs and one that sends a byte now and then
all end in the same error; a slow but steady one does not.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from higgs_worker.errors import WeightsUnavailable

_MAX_DOUBLINGS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much is pulled at once, and every wait; the defaults suit 12 GB at 0.1 to 10 Gbit/s."""

    deadline_s: float = 3600.0
    """For everything together: waiting for another worker, requests, pulling."""
    stall_s: float = 60.0
    """For `min_progress_bytes` to arrive; after it the hub counts as unreachable."""
    min_progress_bytes: int = 1 << 20
    answer_s: float = 30.0
    """For the head of an answer, redirects included."""
    silence_s: float = 10.0
    """For the next bytes of a body, and for connecting."""
    slow_s: float = 20.0
    """How long a connection may send less than `min_bytes_per_s` before it is replaced."""
    min_bytes_per_s: int = 8 << 10
    retry_s: float = 0.5
    """Before the first retry; doubles with every failure in a row, up to sixteen times."""
    block_bytes: int = 16 << 20
    """Size of a block, which has its own checksum: the least that a repair fetches, and the most
    that a killed worker loses per connection."""
    request_blocks: int = 8
    """Blocks per request: 90 requests for 12 GB, far below the hub's rate limits."""
    num_connections: int = 8
    beat_s: float = 3.0
    """Between two heartbeats of the worker that holds the lease."""
    stale_s: float = 30.0
    """Without a heartbeat, after which another worker takes the lease over."""


class Retryable(Exception):
    """A request failed in a way that may pass."""

    def __init__(self, reason: str, *, after_s: float = 0.0) -> None:
        """
        Args:
            reason: for the error's text.
            after_s: how long the server asks to wait; 0 where it asks for nothing.
        """
        super().__init__(reason)
        self.after_s = after_s


class Stopped(Exception):
    """Another thread of the same pull has failed."""


class RetryBudget:
    """Retry state shared by the threads of one pull: one deadline, one stall time."""

    def __init__(
        self,
        repo: str,
        limits: Limits,
        deadline: float,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """
        Args:
            repo: what is pulled; for the error's text.
            limits: how long to wait.
            deadline: on the clock `now`.
            now: the monotonic clock.
            wait: waits so many seconds; None for a wait that ends with `stop`.
        """
        self._repo, self._limits, self._deadline = repo, limits, deadline
        self._stopped = threading.Event()
        self._now, self._wait = now, wait or self._stopped.wait
        self._lock = threading.Lock()
        self._reason = "nothing came"
        self._paused_until = 0.0
        self._num_bytes = 0
        self.restart_stall_time()

    def stop(self) -> None:
        """End every wait, now and later; the pull has failed."""
        self._stopped.set()

    def check(self) -> None:
        """Check that the pull may go on; every thread calls this often.

        Raises:
            WeightsUnavailable: the deadline has passed or progress stalls.
            Stopped: see `stop`.
        """
        if self._stopped.is_set():
            raise Stopped
        now = self._now()
        if now >= self._deadline:
            raise self._unavailable(f"and it did not end within {self._limits.deadline_s:g} s")
        if now >= self._stalled_at:
            raise self._unavailable(f"and next to nothing came for {self._limits.stall_s:g} s")

    def restart_stall_time(self) -> None:
        """Start the stall time anew: now, or after the wait that the server has asked for."""
        self._stalled_at = max(self._now(), self._paused_until) + self._limits.stall_s

    def add_progress(self, num_bytes: int) -> None:
        """Count bytes received or checked; enough of them start the stall time anew."""
        with self._lock:
            self._num_bytes += num_bytes
            if self._num_bytes < self._limits.min_progress_bytes:
                return
            self._num_bytes = 0
        self.restart_stall_time()

    def wait_as_told(self) -> None:
        """Wait until the time that the server has asked for, if any.

        Raises:
            WeightsUnavailable, Stopped: see `check`.
        """
        self._sleep(self._paused_until - self._now())

    def wait_after(self, failure: Retryable, num_failures: int) -> None:
        """Wait before the next attempt.

        Args:
            failure: what happened.
            num_failures: in a row, this one included.

        Raises:
            WeightsUnavailable: the server asks for a wait beyond the deadline; or see `check`.
            Stopped: see `stop`.
        """
        self._reason = str(failure)
        now = self._now()
        if now + failure.after_s > self._deadline:
            raise self._unavailable(f"and asks to wait {failure.after_s:.0f} s") from failure
        if failure.after_s:
            self._paused_until = max(self._paused_until, now + failure.after_s)
            self.restart_stall_time()
        doublings = min(num_failures - 1, _MAX_DOUBLINGS)
        # Random, because all threads fail together when the network does.
        self._sleep(self._limits.retry_s * 2**doublings * random.uniform(0.5, 1))  # noqa: S311
        self.wait_as_told()

    def _sleep(self, seconds: float) -> None:
        self.check()
        if seconds > 0:
            self._wait(min(seconds, min(self._deadline, self._stalled_at) - self._now()))
            self.check()

    def _unavailable(self, when: str) -> WeightsUnavailable:
        return WeightsUnavailable(
            f"{self._repo} could not be pulled: {self._reason}, {when}; check that the hub can be "
            "reached from here and try again, what has been pulled is kept"
        )
