"""When a pull gives up, and when it does not; on a clock that moves only while all wait."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from higgs_worker.errors import WeightsUnavailable
from higgs_worker.weights.retry import Limits, Retryable, RetryBudget

LIMITS = Limits(deadline_s=3600, stall_s=60, min_progress_bytes=10, retry_s=0.5)


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when nothing else is left to do."""

    now = 0.0

    def time(self) -> float:
        """Return seconds since the start."""
        return self.now

    def _run_once(self) -> None:
        timers = [each.when() for each in self._scheduled if not each.cancelled()]
        if timers and not self._ready:
            self.now = max(self.now, min(timers))
        super()._run_once()


def seconds(coroutine: Coroutine[Any, Any, None]) -> float:
    """Return how long a coroutine takes."""
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        runner.run(coroutine)
        return runner.get_loop().time()


async def feed(budget: RetryBudget, *nums_bytes: int) -> None:
    """Receive so many bytes, a number every 29 s, then nothing more."""
    async with budget.enforce():
        for num_bytes in nums_bytes:
            await asyncio.sleep(29)
            budget.add_progress(num_bytes)
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("nums_bytes", "end_s"), [((), 60), ((9,), 60), ((9, 1, 9), 118), ((10, 10, 10), 147)]
)
def test_progress_starts_the_stall_time_anew(nums_bytes: tuple[int, ...], end_s: float) -> None:
    """A pull lives as long as enough bytes come, and not one moment longer."""

    async def run() -> None:
        with pytest.raises(WeightsUnavailable, match="next to nothing came for 60 s"):
            await feed(RetryBudget("a/b", LIMITS, 3600), *nums_bytes)

    assert seconds(run()) == end_s


def test_no_progress_moves_the_deadline() -> None:
    """Slow progress is progress, but not for ever."""

    async def run() -> None:
        with pytest.raises(WeightsUnavailable, match="did not end within 3600 s"):
            await feed(RetryBudget("a/b", LIMITS, 3600), *[10] * 1000)

    assert seconds(run()) == 3600


def test_a_wait_that_the_server_asks_for_is_no_stall() -> None:
    """It may be longer than the stall time, which starts after it, for all tasks of a pull."""

    async def run() -> None:
        budget = RetryBudget("a/b", LIMITS, 3600)
        async with budget.enforce():
            await budget.wait_after(Retryable("busy", after_s=300), 1)
            assert asyncio.get_running_loop().time() == 300
            await asyncio.sleep(59)

    assert seconds(run()) == 359


def test_a_wait_beyond_the_deadline_ends_the_pull_at_once() -> None:
    """Nobody waits for what cannot come."""

    async def run() -> None:
        with pytest.raises(WeightsUnavailable, match="busy, and asks to wait 3601 s"):
            await RetryBudget("a/b", LIMITS, 3600).wait_after(Retryable("busy", after_s=3601), 1)

    assert seconds(run()) == 0


def test_waits_double_up_to_a_bound() -> None:
    """From half a second to eight, each shortened at random to no less than its half."""

    async def run() -> None:
        budget = RetryBudget("a/b", LIMITS, 3600)
        loop = asyncio.get_running_loop()
        for num_failures, most_s in ((1, 0.5), (2, 1), (3, 2), (5, 8), (50, 8)):
            started_at = loop.time()
            await budget.wait_after(Retryable("reset"), num_failures)
            assert most_s / 2 <= loop.time() - started_at <= most_s + 1e-9

    seconds(run())
