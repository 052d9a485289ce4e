"""How long a pull may take, when it tries again, and when it gives up.

Two times bound a pull: a fixed deadline, and a shorter stall time that starts anew with every
megabyte received. A network that is down, a hub that hangs and one that sends a byte now and then
all end in the same error; a slow but steady one does not.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


class RetryBudget:
    """Retry state shared by the tasks of one pull: one deadline, one stall time."""

    def __init__(self, repo: str, limits: Limits, deadline: float) -> None:
        """
        Args:
            repo: what is pulled; for the error's text.
            limits: how long to wait.
            deadline: in the event loop's time.
        """
        self._repo, self._limits, self._deadline = repo, limits, deadline
        self._reason = "nothing came"
        self._paused_until = 0.0
        self._num_bytes = 0
        self._timeout: asyncio.Timeout | None = None

    @asynccontextmanager
    async def enforce(self) -> AsyncIterator[None]:
        """Cancel the code inside when the deadline passes or progress stalls.

        Raises:
            WeightsUnavailable: it was cancelled.
        """
        try:
            async with asyncio.timeout_at(self._end()) as self._timeout:
                yield
        except TimeoutError as error:
            if not self._timeout or not self._timeout.expired():
                raise  # the volume's own error of the same class
            if asyncio.get_running_loop().time() >= self._deadline:
                when = f"and it did not end within {self._limits.deadline_s:g} s"
            else:
                when = f"and next to nothing came for {self._limits.stall_s:g} s"
            raise self._unavailable(when) from error

    def add_progress(self, num_bytes: int) -> None:
        """Count bytes received or checked; enough of them start the stall time anew."""
        self._num_bytes += num_bytes
        if self._num_bytes >= self._limits.min_progress_bytes:
            self._num_bytes = 0
            self._restart_stall_time()

    async def wait_as_told(self) -> None:
        """Wait until the time that the server has asked for, if any."""
        await asyncio.sleep(self._paused_until - asyncio.get_running_loop().time())

    async def wait_after(self, failure: Retryable, num_failures: int) -> None:
        """Wait before the next attempt.

        Args:
            failure: what happened.
            num_failures: in a row, this one included.

        Raises:
            WeightsUnavailable: the server asks for a wait beyond the deadline.
        """
        self._reason = str(failure)
        now = asyncio.get_running_loop().time()
        if now + failure.after_s > self._deadline:
            raise self._unavailable(f"and asks to wait {failure.after_s:.0f} s") from failure
        if failure.after_s:
            self._paused_until = max(self._paused_until, now + failure.after_s)
            self._restart_stall_time()
        doublings = min(num_failures - 1, _MAX_DOUBLINGS)
        # Random, because all tasks fail together when the network does.
        await asyncio.sleep(self._limits.retry_s * 2**doublings * random.uniform(0.5, 1))  # noqa: S311
        await self.wait_as_told()

    def _unavailable(self, when: str) -> WeightsUnavailable:
        return WeightsUnavailable(
            f"{self._repo} could not be pulled: {self._reason}, {when}; check that the hub can be "
            "reached from here and try again, what has been pulled is kept"
        )

    def _end(self) -> float:
        now = asyncio.get_running_loop().time()
        return min(self._deadline, max(now, self._paused_until) + self._limits.stall_s)

    def _restart_stall_time(self) -> None:
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self._end())
