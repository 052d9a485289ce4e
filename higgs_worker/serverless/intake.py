"""The platform's loop: how many jobs are taken, until when, and how long each may run.

RunPod's SDK takes jobs by long polls. Told to stop, it waits for the polls under way, and a job
that one of them brings then is lost. `Intake` gives those polls up instead. Knows neither the SDK
itself, which is handed in, nor what a job is.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

from higgs_worker.errors import DeadlineExceeded, WorkerStopping

DEFAULT_SLOTS = 16
"""Half of what a card of 24 GB holds: a long text takes several, and on a smaller card jobs wait
in the engine's queue. More would keep jobs from other workers that have room."""
NUM_AHEAD = 1
"""Jobs taken beyond the slots: the SDK needs up to a second to notice that one has ended."""
IDLE_PAUSE_S = 0.5
"""Between polls that bring nothing at once: the SDK itself would repeat them 1,800 times a second
for as long as the control plane is down or does not hold them."""
STOP_DELAY_S = 0.2
"""Stops are passed on so much later: the SDK looks into its queue every 0.1 s and knows no job that
is still in it."""
MAX_DIGITS = 4300
"""Python reads no longer whole numbers unless told to, because their time is quadratic."""

log = logging.getLogger(__name__)

Poll = Callable[..., Awaitable[list[Any] | None]]


def concurrency(configured: int | None, max_slots: int | None) -> int:
    """Return how many jobs to take at once; before the model is loaded, so without asking it."""
    return configured or (max_slots or DEFAULT_SLOTS) + NUM_AHEAD


def parse_big_int(digits: str) -> int | float:
    """Read a whole number of JSON; a very long one as a float, which is infinite.

    With Python's own reading, one such number lets the SDK drop every job of its batch.
    """
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def delay_stops(poll: Poll) -> Poll:
    """Wrap the poll for stops: what it finds is told when the jobs it is about have begun."""

    @wraps(poll)
    async def delayed(*args: Any) -> list[Any]:
        found = await poll(*args) or []
        if found:
            await asyncio.sleep(STOP_DELAY_S)
        return found

    return delayed


class Intake:
    """Takes jobs until it is told to stop, by a signal or by `stop`."""

    def __init__(
        self,
        num_jobs: int,
        on_stop: Callable[[], None],
        on_start: Callable[[], object] = lambda: None,
    ) -> None:
        """Begin.

        Args:
            num_jobs: taken at once. Constant, because the SDK takes nothing while a change waits
                for all jobs to end.
            on_stop: called once, in the event loop.
            on_start: called once, before the first jobs are taken.
        """
        self._num_jobs = num_jobs
        self._on_stop, self._on_start = on_stop, on_start
        self._stopping = asyncio.Event()
        self._shut_down: Callable[[], Any] | None = None

    def concurrency(self, _current: int) -> int:
        """Serve as the SDK's `concurrency_modifier`, which it calls before each take.

        At that moment no take is under way, and whatever was taken is in the SDK's queue: the only
        moment at which its loop can be ended without losing a job.
        """
        if self._shut_down is None:
            self._shut_down = self._listen()
            self._on_start()
        if self.is_stopping:
            self._shut_down()
        return self._num_jobs

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is taken."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Take nothing more; the SDK's loop ends when what was taken is done. In the loop."""
        if not self.is_stopping:
            self._stopping.set()
            self._on_stop()

    def until_stopped(self, poll: Poll) -> Poll:
        """Wrap one of the SDK's polls: it is given up when the worker stops, and never hammers."""

        @wraps(poll)
        async def guarded(*args: Any) -> list[Any]:
            loop = asyncio.get_running_loop()
            earliest = loop.time() + IDLE_PAUSE_S
            found: list[Any] = []
            try:
                found = await self._unless_stopped(poll, *args)
                return found
            finally:
                if not found and not self.is_stopping:
                    await asyncio.sleep(earliest - loop.time())

        return guarded

    async def _unless_stopped(self, poll: Poll, *args: Any) -> list[Any]:
        if self.is_stopping:
            return []
        polling = asyncio.ensure_future(poll(*args))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({stopping, polling}, return_when=asyncio.FIRST_COMPLETED)
            return (polling.result() if polling.done() else None) or []
        finally:
            polling.cancel()
            stopping.cancel()

    def _listen(self) -> Callable[[], Any]:
        """Take the signals from the SDK and return its own reaction to them."""
        react = signal.getsignal(signal.SIGTERM)
        if not callable(react):
            raise TypeError("the SDK handles no SIGTERM; this worker was made for runpod 1.12")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        return lambda: react(signal.SIGTERM, None)

    def _on_signal(self, number: signal.Signals) -> None:
        log.info("told to stop by %s; no more jobs are taken", number.name)
        self.stop()


class Deadlines:
    """Limits how long jobs run: each by itself, and all of them once the worker stops."""

    def __init__(self, timeout_s: float | None = None) -> None:
        self._timeout_s = timeout_s
        self._running: set[asyncio.Timeout] = set()
        self._stop_at: float | None = None

    @property
    def num_running(self) -> int:
        """How many jobs are within `limit`."""
        return len(self._running)

    def stop(self, grace_s: float) -> None:
        """Let everything that runs, and whatever begins from now on, end in this time."""
        self._stop_at = asyncio.get_running_loop().time() + grace_s
        for timeout in self._running:
            if timeout.expired():
                continue
            timeout.reschedule(_earliest([timeout.when(), self._stop_at]))

    @asynccontextmanager
    async def limit(self, doing: Callable[[], str] = str) -> AsyncGenerator[None, None]:
        """Bound what runs inside.

        Args:
            doing: says what the worker is at if not at the job itself, which the error then tells.

        Raises:
            DeadlineExceeded: the job's own time came first.
            WorkerStopping: the worker had to stop before.
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
