"""A submitted sequence, for whoever waits for it. Safe in any thread."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future

from higgs_worker.engine.sequence import Generation
from higgs_worker.errors import WorkerError


class Handle:
    """One sequence's outcome, and the way to give it up."""

    def __init__(self, cancel: Callable[["Handle"], None]) -> None:
        self._future: Future[Generation] = Future()
        self._future.set_running_or_notify_cancel()  # only the engine may end it
        self._cancel = cancel

    def cancel(self) -> None:
        """Ask the engine to stop; the slot is free within a round. Nothing if it has ended."""
        self._cancel(self)

    @property
    def is_done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._future.done()

    def result(self, timeout_s: float | None = None) -> Generation:
        """Wait for the outcome, blocking.

        Raises:
            WorkerError: how else it ended.
            TimeoutError: it has not ended yet.
        """
        return self._future.result(timeout_s)

    def when_done(self, callback: Callable[[WorkerError | None], None]) -> None:
        """Call back when it has ended, with the error if it was one; in the engine's thread."""
        self._future.add_done_callback(lambda future: callback(_error_of(future)))

    async def wait(self) -> Generation:
        """Wait for the outcome; a cancelled task cancels the sequence.

        Raises:
            WorkerError: how else it ended.
        """
        try:
            return await asyncio.wrap_future(self._future)
        except asyncio.CancelledError:
            self.cancel()
            raise

    def end(self, outcome: Generation | WorkerError) -> None:
        """Tell whoever waits; the engine does this, once."""
        if isinstance(outcome, Generation):
            self._future.set_result(outcome)
        else:
            self._future.set_exception(outcome)


def _error_of(future: Future[Generation]) -> WorkerError | None:
    error = future.exception()
    if error is None or isinstance(error, WorkerError):
        return error
    raise error
