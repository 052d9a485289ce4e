"""How long jobs may run: each by its own limit, all of them once the worker stops."""

import asyncio
import time
from collections.abc import Callable

import pytest

from higgs_worker.deadlines import Deadlines
from higgs_worker.errors import DeadlineExceeded, WorkerStopping


def sleep_within(deadlines: Deadlines, then: Callable[[], None] = lambda: None) -> float:
    """Sleep within the limit while something else happens, and return how long it was."""

    async def sleep() -> float:
        asyncio.get_running_loop().call_later(0.05, then)
        started = time.monotonic()
        try:
            async with deadlines.limit():
                await asyncio.sleep(0.5)
        finally:
            ended = time.monotonic()
        return ended - started

    return asyncio.run(sleep())


def test_a_job_s_own_time() -> None:
    """It is limited when a limit is set, and the error names the setting."""
    assert sleep_within(Deadlines()) >= 0.5
    with pytest.raises(DeadlineExceeded, match=r"0\.1 s that HIGGS_JOB_TIMEOUT_S"):
        sleep_within(Deadlines(0.1))


def test_the_stop_limits_what_runs() -> None:
    """Whichever comes first counts; a job that is quick enough is not disturbed."""
    for own_s in (None, 0.4):
        deadlines = Deadlines(own_s)
        with pytest.raises(WorkerStopping, match="send it again"):
            sleep_within(deadlines, lambda: deadlines.stop(0.1))  # noqa: B023
    deadlines = Deadlines(0.2)
    with pytest.raises(DeadlineExceeded):
        sleep_within(deadlines, lambda: deadlines.stop(0.3))
    deadlines = Deadlines()
    assert sleep_within(deadlines, lambda: deadlines.stop(2)) >= 0.5


def test_what_begins_after_the_stop_has_the_rest_of_the_time() -> None:
    """A job that the SDK had queued does not get more than those that ran."""

    async def late() -> None:
        deadlines = Deadlines()
        deadlines.stop(0.05)
        with pytest.raises(WorkerStopping):
            async with deadlines.limit():
                await asyncio.sleep(1)

    asyncio.run(late())


def test_a_timeout_of_the_work_itself_is_not_ours() -> None:
    """What times out inside for its own reasons is passed on as it is."""

    async def work() -> None:
        async with Deadlines(10).limit():
            raise TimeoutError("of a socket")

    with pytest.raises(TimeoutError, match="of a socket"):
        asyncio.run(work())


def test_a_cancelled_job_is_cancelled() -> None:
    """The platform's stop passes through."""

    async def cancelled() -> None:
        async with Deadlines(10).limit():
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
