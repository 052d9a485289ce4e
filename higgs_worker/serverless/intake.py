"""How many jobs the worker takes at once, and until when.

RunPod's SDK takes jobs by long polls. When it is told to stop, it waits for the polls under way,
and a job that one of them brings is lost. `Intake` cancels those polls instead. The SDK's functions
are handed in. What is said of it here holds for runpod 1.12 and 2.0.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

DEFAULT_SLOTS = 16
"""Jobs at once where the setting leaves it open: half the slots of a 24 GB card, because a long
text takes several. On a smaller card jobs wait in the engine's queue; with more, jobs would wait
here while other workers are free."""
NUM_AHEAD = 1
"""Jobs beyond the slots: the SDK needs up to a second to notice that a job has ended."""
IDLE_PAUSE_S = 0.5
"""Least time between polls that bring nothing. While the control plane is down, or does not hold
polls open, the SDK itself would repeat them 1,800 times a second."""
STOP_DELAY_S = 0.2
"""Delay of a stop signal for a job: the SDK ignores signals for jobs that are still in its queue.
1.12 looks into that every 0.1 s, 2.0 within a few turns of its loop."""

log = logging.getLogger(__name__)

Poll = Callable[..., Awaitable[Any]]


def concurrency(configured: int | None, max_slots: int | None) -> int:
    """Return how many jobs to take at once; decided before the model is loaded."""
    return configured or (max_slots or DEFAULT_SLOTS) + NUM_AHEAD


def delay_stops(poll: Poll) -> Poll:
    """Wrap the poll for stop signals: they are returned once their jobs have started."""

    @wraps(poll)
    async def delayed(*args: Any) -> list[Any]:
        found = await poll(*args) or []
        if found:
            await asyncio.sleep(STOP_DELAY_S)
        return found

    return delayed


class Intake:
    """Lets the SDK take jobs until a signal or `stop` ends that."""

    def __init__(
        self,
        num_jobs: int,
        on_stop: Callable[[], None],
        on_start: Callable[[], object] = lambda: None,
    ) -> None:
        """
        Args:
            num_jobs: at once. It never changes, because the SDK takes no job while a change waits
                for all running jobs to end.
            on_stop: called once, in the event loop.
            on_start: called once, before the first poll.
        """
        self._num_jobs = num_jobs
        self._on_stop, self._on_start = on_stop, on_start
        self._stopping = asyncio.Event()
        self._shut_down: Callable[[], Any] | None = None

    def concurrency(self, _current: int) -> int:
        """Return the number of jobs. This is the SDK's `concurrency_modifier`.

        The SDK calls it before each poll. No poll is under way then, and all jobs are in the SDK's
        queue: the only moment at which its loop can be ended without losing a job.
        """
        if self._shut_down is None:
            self._shut_down = self._listen()
            self._on_start()
        if self.is_stopping:
            self._shut_down()
        return self._num_jobs

    @property
    def is_stopping(self) -> bool:
        """Whether no more jobs are taken."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Stop polling; the SDK's loop ends once running jobs are done. Call in the event loop."""
        if not self.is_stopping:
            self._stopping.set()
            self._on_stop()

    def cancel_on_stop(self, poll: Poll) -> Poll:
        """Wrap a poll: it is cancelled on a stop, and then brings nothing."""

        @wraps(poll)
        async def guarded(*args: Any) -> Any:
            if self.is_stopping:
                return None
            polling = asyncio.ensure_future(poll(*args))
            stopping = asyncio.ensure_future(self._stopping.wait())
            try:
                await asyncio.wait({stopping, polling}, return_when=asyncio.FIRST_COMPLETED)
                return polling.result() if polling.done() else None
            finally:
                polling.cancel()
                stopping.cancel()

        return guarded

    def pace(self, poll: Poll) -> Poll:
        """Wrap a poll: while it brings nothing, it is not repeated fast."""

        @wraps(poll)
        async def paced(*args: Any) -> list[Any]:
            loop = asyncio.get_running_loop()
            earliest = loop.time() + IDLE_PAUSE_S
            found: list[Any] = []
            try:
                found = await poll(*args) or []
                return found
            finally:
                if not found and not self.is_stopping:
                    await asyncio.sleep(earliest - loop.time())

        return paced

    def _listen(self) -> Callable[[], Any]:
        """Take over the SDK's signals and return what it does on one."""
        react = signal.getsignal(signal.SIGTERM)
        if not callable(react):
            raise TypeError("the SDK handles no SIGTERM, as runpod 1.12 and 2.0 do")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)
        return lambda: react(signal.SIGTERM, None)

    def _on_signal(self, number: signal.Signals) -> None:
        log.info("told to stop by %s; no more jobs are taken", number.name)
        self.stop()
