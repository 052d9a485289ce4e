"""How long jobs may run."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager

from higgs_worker.errors import DeadlineExceeded, WorkerStopping


class Deadlines:
    """Bounds how long jobs run: each by its own limit, all of them once the worker stops."""

    def __init__(self, timeout_s: float | None = None) -> None:
        """
        Args:
            timeout_s: the limit of each job; None: no limit.
        """
        self._timeout_s = timeout_s
        self._running: set[asyncio.Timeout] = set()
        self._stop_at: float | None = None

    @property
    def num_running(self) -> int:
        """Jobs whose time is limited now."""
        return len(self._running)

    def stop(self, grace_s: float) -> None:
        """End all jobs, running and new, within this time. Call in the event loop."""
        self._stop_at = asyncio.get_running_loop().time() + grace_s
        for timeout in self._running:
            if timeout.expired():
                continue
            timeout.reschedule(_earliest([timeout.when(), self._stop_at]))

    @asynccontextmanager
    async def limit(self, doing: Callable[[], str] = str) -> AsyncGenerator[None, None]:
        """Bound the time of what runs inside.

        Args:
            doing: describes what the worker is doing instead of the job itself, such as loading
                the model; "" if nothing. The error tells it.

        Raises:
            DeadlineExceeded: the job's own limit came first.
            WorkerStopping: the worker had to stop first.
        """
        now = asyncio.get_running_loop().time()
        own = None if self._timeout_s is None else now + self._timeout_s
        timeout = asyncio.timeout_at(_earliest([own, self._stop_at]))
        try:
            async with timeout:
                self._running.add(timeout)
                try:
                    yield
                finally:
                    self._running.remove(timeout)
        except TimeoutError:
            if not timeout.expired():
                raise
            if own is not None and timeout.when() == own:
                over = (
                    f"the job took longer than the {self._timeout_s:g} s that HIGGS_JOB_TIMEOUT_S "
                    "allows"
                )
                raise DeadlineExceeded(
                    f"{over}, because the worker is still {found}; send it again later"
                    if (found := doing())
                    else f"{over}; send a shorter text"
                ) from None
            raise WorkerStopping(
                "the worker was stopped before it finished this; send it again"
            ) from None


def _earliest(moments: Iterable[float | None]) -> float | None:
    return min((moment for moment in moments if moment is not None), default=None)
