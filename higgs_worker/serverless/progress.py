"""Reports to the platform how far a job is.

A report that arrives after the result would set a finished job back to running. So at most one is
under way, none starts near the end, and the result waits until the last one has arrived.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

EVERY_S = 5.0
"""Between two reports, and before the first one. Shorter jobs need none."""
MAX_FRACTION = 0.9
"""From this share of the work on, no report is sent: the result is near."""
TIMEOUT_S = 10.0
"""The longest that a report may take, and so the longest that it can delay a result."""

log = logging.getLogger(__name__)


class JobProgress:
    """Reports how far one job is; an async context manager around its work."""

    def __init__(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]] | None,
        *,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            send: brings a report to the platform; None sends none.
            every_s: seconds between two reports, and before the first one.
            clock: returns seconds.
        """
        self._send = send
        self._clock = clock
        self._every_s = every_s
        self._next = clock() + every_s
        self._sending: asyncio.Task[None] | None = None
        self._doing = ""

    def now(self) -> str:
        """Return what was last reported to be under way instead of speech; "" if nothing."""
        return self._doing

    def report(self, fraction: float, doing: str = "") -> None:
        """Report progress if a report is due. Call in the event loop, as often as you like.

        Args:
            fraction: of the work, 0 to 1.
            doing: what is under way instead of speech; "" if nothing.
        """
        self._doing = doing
        if self._send is None or fraction > MAX_FRACTION or self._clock() < self._next:
            return
        if self._sending is not None and not self._sending.done():
            return
        self._next = self._clock() + self._every_s
        told: dict[str, Any] = {"fraction": round(fraction, 3)}
        if doing:
            told["doing"] = doing
        self._sending = asyncio.create_task(self._deliver(self._send(told)))

    async def __aenter__(self) -> "JobProgress":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._next = math.inf
        if self._sending is None:
            return
        if kind is asyncio.CancelledError:  # no result will follow
            self._sending.cancel()
        else:
            await self._sending

    async def _deliver(self, sending: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await sending
        except Exception as error:
            # A job does not fail because a report did.
            log.warning("a progress report was not delivered: %s", type(error).__name__)
