"""When a pull gives up, and when it does not."""

import asyncio
from dataclasses import replace

import pytest

from higgs_worker.errors import WeightsUnavailable
from higgs_worker.weights.retry import Retryable, RetryBudget
from tests.fakes.hub import CALM


def test_a_wait_that_the_server_asks_for_is_no_stall() -> None:
    """It may be longer than the stall time, which starts after it."""
    limits = replace(CALM, stall_s=0.05)

    async def run() -> float:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        budget = RetryBudget("a/b", limits, started_at + 60)
        async with budget.enforce():
            await budget.wait_after(Retryable("busy", after_s=0.2), 1)
            return loop.time() - started_at

    assert asyncio.run(run()) >= 0.2


def test_progress_starts_the_stall_time_anew() -> None:
    """Bytes keep a pull alive as long as enough of them come, and not one moment longer."""
    limits = replace(CALM, stall_s=0.2, min_progress_bytes=10)

    async def run() -> float:
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        budget = RetryBudget("a/b", limits, started_at + 60)
        with pytest.raises(WeightsUnavailable, match="next to nothing came for 0.2 s"):
            async with budget.enforce():
                for num_bytes in (9, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0):  # only the second is enough
                    await asyncio.sleep(0.05)
                    budget.add_progress(num_bytes)
                await asyncio.sleep(60)
        return loop.time() - started_at

    assert asyncio.run(run()) >= 0.3
