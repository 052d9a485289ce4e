"""How far a job is, told to the platform now and then.

A report that arrives after the result would set a finished job back to running. So there is one
under way at most, none is begun near the end, and leaving waits until it has arrived. Knows neither
the SDK nor what a job does.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

EVERY_S = 5.0
"""Jobs that take less are over before anybody asks."""
MAX_FRACTION = 0.9
"""Beyond it the result is near and says more."""
TIMEOUT_S = 10.0
"""The most that a report may take, and so the most that it can hold up a result."""

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
        """Begin.

        Args:
            send: brings a report to the platform; None: nobody wants any.
            every_s: so often, and not before so much time has passed.
            clock: gives seconds.
        """
        self._send = send
        self._clock = clock
        self._every_s = every_s
        self._next = clock() + every_s
        self._sending: asyncio.Task[None] | None = None
        self._doing = ""

    def now(self) -> str:
        """Return what is under way if not speech, as it was reported last."""
        return self._doing

    def report(self, fraction: float, doing: str = "") -> None:
        """Take note of what part of the work is done, and of what is under way if not speech.

        In the event loop, as often as one likes.
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
            # Nobody's job fails because a report did.
            log.warning("a progress report was not delivered: %s", type(error).__name__)
