"""When a pull gives up, and when it does not; on a clock that moves only while somebody waits."""

import pytest

from higgs_worker.errors import WeightsUnavailable
from higgs_worker.weights.retry import Limits, Retryable, RetryBudget, Stopped

LIMITS = Limits(deadline_s=3600, stall_s=60, min_progress_bytes=10, retry_s=0.5)


class Clock:
    """A clock that waiting moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now(self) -> float:
        """Return seconds since the start."""
        return self.now_s

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds


def budget_on(clock: Clock) -> RetryBudget:
    """Return the retry state of a pull that starts now."""
    return RetryBudget("a/b", LIMITS, 3600, now=clock.now, wait=clock.wait)


def feed(budget: RetryBudget, clock: Clock, *nums_bytes: int) -> None:
    """Receive so many bytes, a number every 29 s, then nothing more; look every second."""
    nums_left = list(nums_bytes)
    while True:
        clock.wait(1)
        if nums_left and clock.now_s % 29 == 0:
            budget.add_progress(nums_left.pop(0))
        budget.check()


@pytest.mark.parametrize(
    ("nums_bytes", "end_s"), [((), 60), ((9,), 60), ((9, 1, 9), 118), ((10, 10, 10), 147)]
)
def test_progress_starts_the_stall_time_anew(nums_bytes: tuple[int, ...], end_s: float) -> None:
    """A pull lives as long as enough bytes come, and not one moment longer."""
    clock = Clock()
    with pytest.raises(WeightsUnavailable, match="next to nothing came for 60 s"):
        feed(budget_on(clock), clock, *nums_bytes)
    assert clock.now_s == end_s


def test_no_progress_moves_the_deadline() -> None:
    """Slow progress is progress, but not for ever."""
    clock = Clock()
    with pytest.raises(WeightsUnavailable, match="did not end within 3600 s"):
        feed(budget_on(clock), clock, *[10] * 1000)
    assert clock.now_s == 3600


def test_a_wait_that_the_server_asks_for_is_no_stall() -> None:
    """It may be longer than the stall time, which starts after it, for all threads of a pull."""
    clock = Clock()
    budget = budget_on(clock)
    budget.wait_after(Retryable("busy", after_s=300), 1)
    assert clock.now_s == 300
    clock.wait(59)
    budget.check()
    clock.wait(1)
    with pytest.raises(WeightsUnavailable, match="busy, and next to nothing came"):
        budget.check()


def test_a_wait_beyond_the_deadline_ends_the_pull_at_once() -> None:
    """Nobody waits for what cannot come."""
    clock = Clock()
    with pytest.raises(WeightsUnavailable, match="busy, and asks to wait 3601 s"):
        budget_on(clock).wait_after(Retryable("busy", after_s=3601), 1)
    assert clock.now_s == 0


def test_no_wait_outlasts_the_pull() -> None:
    """A thread that waits before its next attempt ends with the stall time, not after it."""
    clock = Clock()
    budget = budget_on(clock)
    clock.wait(59)
    with pytest.raises(WeightsUnavailable, match="reset, and next to nothing came for 60 s"):
        budget.wait_after(Retryable("reset"), 5)
    assert clock.now_s == 60


def test_waits_double_up_to_a_bound() -> None:
    """From half a second to eight, each shortened at random to no less than its half."""
    clock = Clock()
    budget = budget_on(clock)
    for num_failures, most_s in ((1, 0.5), (2, 1), (3, 2), (5, 8), (50, 8)):
        started_at = clock.now_s
        budget.wait_after(Retryable("reset"), num_failures)
        assert most_s / 2 <= clock.now_s - started_at <= most_s + 1e-9


def test_a_stopped_pull_waits_for_nothing() -> None:
    """When one thread has failed, the others end at their next step."""
    budget = RetryBudget("a/b", LIMITS, 1e9)
    budget.stop()
    for step in (budget.check, budget.wait_as_told, lambda: budget.wait_after(Retryable("x"), 5)):
        with pytest.raises(Stopped):
            step()
