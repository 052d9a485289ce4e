"""Progress: seldom, one at a time, and never after the end."""

import asyncio
import logging
from typing import Any

import pytest

from higgs_worker.serverless.progress import EVERY_S, JobProgress


class Platform:
    """Takes reports, each of which may take a while or fail, and knows what came when."""

    def __init__(self, seconds: float = 0.0, failure: Exception | None = None) -> None:
        self.seconds = seconds
        self.failure = failure
        self.now = 0.0
        self.events: list[Any] = []

    async def send(self, report: dict[str, Any]) -> None:
        """Take a report."""
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        self.events.append(report["fraction"])

    def progress(self) -> JobProgress:
        """Begin a job."""
        return JobProgress(self.send, clock=lambda: self.now)


def test_reports_are_throttled() -> None:
    """None at first, then one every few seconds, however often it is asked."""
    platform = Platform()

    async def work() -> None:
        async with platform.progress() as progress:
            for second in range(20):
                platform.now = float(second)
                for part in range(5):
                    progress.report((second + part / 5) / 25)
                    await asyncio.sleep(0)

    asyncio.run(work())
    expected = [EVERY_S, 2 * EVERY_S, 3 * EVERY_S]
    assert platform.events == [pytest.approx(second / 25) for second in expected]


def test_a_slow_report_is_not_overtaken_and_the_end_waits_for_it() -> None:
    """One is under way at most, and it has arrived when the job's result is posted."""
    platform = Platform(seconds=0.05)

    async def work() -> None:
        async with platform.progress() as progress:
            for platform.now in (10.0, 20.0, 30.0):
                progress.report(0.5)
                await asyncio.sleep(0)
        platform.events.append("result")
        progress.report(0.6)
        await asyncio.sleep(0.1)

    asyncio.run(work())
    assert platform.events == [0.5, "result"]


def test_nothing_is_reported_near_the_end() -> None:
    """The result says more, and sooner."""
    platform = Platform()

    async def work() -> None:
        async with platform.progress() as progress:
            platform.now = 100.0
            progress.report(0.95)
            await asyncio.sleep(0)

    asyncio.run(work())
    assert platform.events == []


def test_a_report_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The job goes on, and the log knows."""
    platform = Platform(failure=ConnectionError("with an address in it"))

    async def work() -> str:
        async with platform.progress() as progress:
            platform.now = 10.0
            progress.report(0.5)
        return "done"

    with caplog.at_level(logging.WARNING, "higgs_worker"):
        assert asyncio.run(work()) == "done"
    assert "ConnectionError" in caplog.text
    assert "address" not in caplog.text


def test_a_cancelled_job_does_not_wait() -> None:
    """No result follows, so a report may be given up."""
    platform = Platform(seconds=60)

    async def work() -> None:
        async with asyncio.timeout(0.1), platform.progress() as progress:
            platform.now = 10.0
            progress.report(0.5)
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        asyncio.run(work())
    assert platform.events == []


def test_without_a_platform_nothing_happens() -> None:
    """A local run reports to nobody."""

    async def work() -> None:
        async with JobProgress(None, clock=iter([0.0, 100.0]).__next__) as progress:
            progress.report(0.5)

    asyncio.run(work())
