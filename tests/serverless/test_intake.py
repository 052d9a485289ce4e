"""The platform's loop: what is taken until when, and how long it may run."""

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from higgs_worker.serverless.intake import (
    DEFAULT_SLOTS,
    STOP_DELAY_S,
    Intake,
    concurrency,
    delay_stops,
)


@pytest.mark.parametrize(
    ("configured", "max_slots", "expected"),
    [(None, None, DEFAULT_SLOTS + 1), (None, 4, 5), (3, 4, 3), (1, None, 1)],
)
def test_one_job_more_than_slots(
    configured: int | None, max_slots: int | None, expected: int
) -> None:
    """What the operator says counts; otherwise one job waits beside those that are spoken."""
    assert concurrency(configured, max_slots) == expected


class Sdk:
    """Takes jobs as the SDK does: asks how many, polls, and ends when it was told to."""

    def __init__(self, poll: Callable[..., Any]) -> None:
        self.poll = poll
        self.is_alive = True
        self.found: list[Any] = []

    def shut_down(self, *_: object) -> None:
        """React to a signal."""
        self.is_alive = False

    async def run(self, intake: Intake) -> None:
        """Take until the end."""
        take = intake.pace(intake.cancel_on_stop(self.poll))
        while self.is_alive:
            assert intake.concurrency(1) == 3
            self.found += await take("session", 2)
            await asyncio.sleep(0)


def run(poll: Callable[..., Any], work: Callable[[Intake], Any]) -> tuple[Sdk, int]:
    """Run the loop beside some work, and return it and how often it said that it stops."""
    stops: list[None] = []
    sdk = Sdk(poll)
    before = signal.signal(signal.SIGTERM, sdk.shut_down)

    async def both() -> None:
        intake = Intake(3, on_stop=lambda: stops.append(None))
        async with asyncio.timeout(5):
            await asyncio.gather(sdk.run(intake), work(intake))

    try:
        asyncio.run(both())
    finally:
        signal.signal(signal.SIGTERM, before)
    return sdk, len(stops)


async def hold(*_: object) -> None:
    """Poll for ever."""
    await asyncio.sleep(60)


def test_a_signal_gives_up_the_poll_and_then_ends_the_loop() -> None:
    """Nobody waits for a poll that is held."""

    async def stop(_: Intake) -> None:
        await asyncio.sleep(0.05)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    assert run(hold, stop)[1] == 1


def test_the_start_is_told_once_and_before_the_first_jobs_are_taken() -> None:
    """The SDK's checks are over then, and who waits for their end may use the GPU."""
    starts: list[None] = []

    async def ask() -> None:
        intake = Intake(3, on_stop=lambda: None, on_start=lambda: starts.append(None))
        assert starts == []
        assert [intake.concurrency(0), intake.concurrency(3)] == [3, 3]

    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        asyncio.run(ask())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert starts == [None]


def test_a_poll_that_was_answered_counts() -> None:
    """What came at the moment of the stop is not thrown away."""

    async def answer(*_: object) -> list[str]:
        await asyncio.sleep(0.05)
        return ["a job"]

    async def stop(intake: Intake) -> None:
        await asyncio.sleep(0.05)
        intake.stop()

    assert run(answer, stop)[0].found in (["a job"], [])


def test_nothing_is_polled_after_the_stop() -> None:
    """A poll that has not begun does not begin."""
    polls: list[object] = []

    async def poll(*args: object) -> None:
        polls.append(args)

    async def take() -> list[object]:
        intake = Intake(3, on_stop=lambda: None)
        intake.stop()
        return list(await intake.cancel_on_stop(poll)("session", 2) or [])

    assert asyncio.run(take()) == polls == []


def test_stops_are_told_when_their_jobs_have_begun() -> None:
    """The SDK would overlook a stop whose job is still in its queue; nothing is told at once."""
    answers: list[list[str] | None] = [["job"], None]

    async def poll(*_: object) -> list[str] | None:
        return answers.pop(0)

    async def work() -> None:
        told = delay_stops(poll)
        started = time.monotonic()
        assert await told("session") == ["job"]
        assert time.monotonic() - started >= STOP_DELAY_S
        started = time.monotonic()
        assert await told("session") == []
        assert time.monotonic() - started < STOP_DELAY_S / 2

    asyncio.run(work())


def test_a_poll_that_brings_nothing_is_paced() -> None:
    """An SDK that would ask a thousand times a second asks twice, whether it fails or is empty."""
    polls: list[float] = []

    async def poll(*_: object) -> None:
        polls.append(time.monotonic())

    async def stop(intake: Intake) -> None:
        await asyncio.sleep(0.7)
        intake.stop()

    run(poll, stop)
    assert len(polls) == 2

    async def fail() -> None:
        async def poll(*_: object) -> None:
            raise ConnectionError

        started = time.monotonic()
        with pytest.raises(ConnectionError):
            await Intake(3, on_stop=lambda: None).pace(poll)()
        assert time.monotonic() - started > 0.4

    asyncio.run(fail())


def test_an_sdk_that_handles_no_signal_is_another_one() -> None:
    """A loop that cannot be ended is refused at start, not discovered at the end."""

    async def start() -> None:
        with pytest.raises(TypeError, match=r"runpod 1\.12"):
            Intake(3, on_stop=lambda: None).concurrency(1)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        asyncio.run(start())
    finally:
        signal.signal(signal.SIGTERM, before)
