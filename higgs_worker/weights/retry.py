"""When to try again, and when to give up.

Two limits bound what is done inside: the deadline, which stands, and a shorter one, which every
megabyte that arrives moves on. So a network that is gone, a hub that hangs and one that trickles
all end in the same way, and a slow but steady one does not. Knows no HTTP.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from higgs_worker.errors import WeightsUnavailable
from higgs_worker.weights.progress import Limits

_MAX_DOUBLINGS = 4


class Retryable(Exception):
    """A request failed in a way that may not last."""

    def __init__(self, reason: str, *, after_s: float = 0.0) -> None:
        """Say what happened, and how long the other side asks to wait."""
        super().__init__(reason)
        self.after_s = after_s


class RetryBudget:
    """What several tasks that pull the same thing share of hope."""

    def __init__(self, what: str, limits: Limits, deadline: float) -> None:
        """Begin.

        Args:
            what: is pulled, for the error's text.
            limits: how long to wait for how much.
            deadline: in the event loop's time.
        """
        self._what, self._limits, self._deadline = what, limits, deadline
        self._reason = "nothing came"
        self._paused_until = 0.0
        self._num_bytes = 0
        self._timeout: asyncio.Timeout | None = None

    @asynccontextmanager
    async def bound(self) -> AsyncIterator[None]:
        """End what is done inside when there is no hope left.

        Raises:
            WeightsUnavailable: it was.
        """
        try:
            async with asyncio.timeout_at(self._end()) as self._timeout:
                yield
        except TimeoutError as error:
            if not self._timeout or not self._timeout.expired():
                raise  # an error of the volume that is called the same
            if asyncio.get_running_loop().time() >= self._deadline:
                when = f"and it did not end within {self._limits.deadline_s:g} s"
            else:
                when = f"and next to nothing came for {self._limits.patience_s:g} s"
            raise self._given_up(when) from error

    def progress(self, num_bytes: int) -> None:
        """Take note that something was done."""
        self._num_bytes += num_bytes
        if self._num_bytes >= self._limits.min_progress_bytes:
            self._num_bytes = 0
            self._move_on()

    async def pause(self) -> None:
        """Wait as long as the other side has asked for."""
        await asyncio.sleep(self._paused_until - asyncio.get_running_loop().time())

    async def after(self, failure: Retryable, num_failures: int) -> None:
        """Wait after a failure.

        Args:
            failure: what happened.
            num_failures: in a row, this one included.

        Raises:
            WeightsUnavailable: the other side asks for more time than there is.
        """
        self._reason = str(failure)
        now = asyncio.get_running_loop().time()
        if now + failure.after_s > self._deadline:
            raise self._given_up(f"and asks to wait {failure.after_s:.0f} s") from failure
        if failure.after_s:
            self._paused_until = max(self._paused_until, now + failure.after_s)
            self._move_on()
        doublings = min(num_failures - 1, _MAX_DOUBLINGS)
        # Not all at the same moment: several tasks fail together when the network does.
        await asyncio.sleep(self._limits.retry_s * 2**doublings * random.uniform(0.5, 1))  # noqa: S311
        await self.pause()

    def _given_up(self, when: str) -> WeightsUnavailable:
        return WeightsUnavailable(
            f"{self._what} could not be pulled: {self._reason}, {when}; see that the hub can be "
            "reached from here and try again, what has been pulled is kept"
        )

    def _end(self) -> float:
        now = asyncio.get_running_loop().time()
        return min(self._deadline, max(now, self._paused_until) + self._limits.patience_s)

    def _move_on(self) -> None:
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(self._end())
