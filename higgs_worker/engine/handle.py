"""What `Engine.submit` returns: one sequence's outcome, for the threads that wait for it."""

from collections.abc import Callable
from concurrent.futures import Future

from higgs_worker.engine.sequence import Generation
from higgs_worker.errors import WorkerError


class Handle:
    """The outcome of one submitted sequence, and the way to cancel it. Safe in any thread."""

    def __init__(self, cancel: Callable[["Handle"], None]) -> None:
        self._future: Future[Generation] = Future()
        self._future.set_running_or_notify_cancel()  # only the engine may end it
        self._cancel = cancel

    def cancel(self) -> None:
        """Ask the engine to stop the sequence, within a round; no effect once it has ended."""
        self._cancel(self)

    def result(self, timeout_s: float | None = None) -> Generation:
        """Wait for the outcome, blocking.

        Raises:
            WorkerError: the sequence was cancelled or failed.
            TimeoutError: it has not ended yet.
        """
        return self._future.result(timeout_s)

    def when_done(self, callback: Callable[[WorkerError | None], None]) -> None:
        """Call `callback` in the engine's thread at the end, with the error if there was one."""
        self._future.add_done_callback(lambda future: callback(_error_of(future)))

    def end(self, outcome: Generation | WorkerError) -> None:
        """Set the outcome; the engine does this, once."""
        if isinstance(outcome, Generation):
            self._future.set_result(outcome)
        else:
            self._future.set_exception(outcome)


def _error_of(future: Future[Generation]) -> WorkerError | None:
    error = future.exception()
    if error is None or isinstance(error, WorkerError):
        return error
    raise error
