"""Readiness: what the health routes say from the start to the end."""

import asyncio
from typing import Any

import numpy as np
import pytest

from higgs_worker.errors import (
    EngineBroken,
    InvalidCheckpoint,
    WeightsNotFound,
    WeightsUnavailable,
    WorkerError,
)
from higgs_worker.http.readiness import PROBE, Readiness, State
from tests.fakes.scripted_server import serving_http, until
from tests.fakes.speeches import TONE, FixedService

HEALTH = ("/ping", "/health/live", "/health/ready")


class SlowlyLoaded(FixedService):
    """A service whose first starts wait for a gate, and then fail as the script says."""

    def __init__(self, *failures: Exception, pcm: np.ndarray = TONE) -> None:
        super().__init__(pcm)
        self.is_loaded = asyncio.Event()
        self._failures = list(failures)

    async def start(self, *args: Any, **how: Any) -> Any:
        """Wait, fail, or prepare to speak."""
        await self.is_loaded.wait()
        if self._failures:
            raise self._failures.pop(0)
        return await super().start(*args, **how)


def test_the_health_routes_follow_the_load() -> None:
    """204 while it loads and 200 once a sentence was spoken; it lives all the while."""

    async def test() -> None:
        service = SlowlyLoaded()
        async with serving_http(service=service) as server, server.client() as client:

            async def statuses() -> list[int]:
                return [(await client.get(path)).status_code for path in HEALTH]

            assert await statuses() == [204, 200, 503]
            assert (await client.get("/health/ready")).json()["status"] == "loading"
            service.is_loaded.set()
            while (found := await statuses()) != [200, 200, 200]:
                assert found[:2] == [204, 200]
                await asyncio.sleep(0.005)
            assert [each.text for each in service.requests] == [PROBE]

    asyncio.run(test())


def test_a_port_for_health_has_nothing_else() -> None:
    """With PORT_HEALTH there are two ports: health on both, and all else on one alone."""

    async def test() -> None:
        service = SlowlyLoaded()
        async with (
            serving_http(service=service, PORT="8000", PORT_HEALTH="8001") as server,
            server.client() as client,
        ):
            service.is_loaded.set()
            await until(lambda: service.requests)
            requests, health = server.addresses
            for path in HEALTH:
                for address in (requests, health):
                    assert (await client.get(address + path)).status_code == 200
            for path in ("/metrics", "/v1/models", "/docs", "/openapi.json", "/v1/audio/voices"):
                assert (await client.get(requests + path)).status_code == 200
                assert (await client.get(health + path)).status_code == 404
            for path in ("/v1/audio/speech", "/v1/audio/encode", "/v1/speech", "/v1/audio/voices"):
                reply = await client.post(health + path, content=b"")
                assert reply.status_code == 404
                assert reply.json()["error"]["code"] == "request_refused"

    asyncio.run(test())


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (InvalidCheckpoint("the file is cut; pull it again"), State.BROKEN),
        (WeightsNotFound("nothing lies there"), State.BROKEN),
        (WeightsUnavailable("the hub does not answer"), State.LOADING),
        (WorkerError("anything"), State.LOADING),
        (ZeroDivisionError("a defect"), State.BROKEN),
    ],
)
def test_a_load_that_fails_is_told_and_tried_again(failure: Exception, state: State) -> None:
    """Wrong weights are broken, an outage is not; a later try that works makes it ready."""

    async def test() -> None:
        service = SlowlyLoaded(failure)
        service.is_loaded.set()
        readiness = Readiness(service, on_broken=_never, retry_s=0.05)
        running = asyncio.create_task(readiness.run())
        await until(lambda: readiness.reason != "the model is being loaded")
        assert readiness.state is state
        assert ("log says where" in readiness.reason) == (not isinstance(failure, WorkerError))
        assert not readiness.is_lost
        await running
        assert readiness.state is State.READY

    asyncio.run(test())


def test_a_failed_load_is_503_with_its_reason() -> None:
    """The health routes and the requests say the same."""

    async def test() -> None:
        failure = InvalidCheckpoint("the file is cut; pull it again")
        service = SlowlyLoaded(failure, failure)
        service.is_loaded.set()
        async with serving_http(service=service) as server, server.client() as client:
            while (ping := await client.get("/ping")).status_code != 503:
                await asyncio.sleep(0.005)
            assert ping.json() == {"status": "broken", "reason": failure.message}
            assert (await client.get("/health/live")).status_code == 200
            reply = await client.post("/v1/audio/speech", json={"input": "Good morning."})
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
            assert reply.json()["error"]["message"] == failure.message

    asyncio.run(test())


def test_silence_is_not_ready() -> None:
    """A model that gives no sound for the probe must not get requests."""

    async def test() -> None:
        service = SlowlyLoaded(pcm=np.zeros(1000, np.float32))
        service.is_loaded.set()
        readiness = Readiness(service, on_broken=_never, retry_s=0.01)
        running = asyncio.create_task(readiness.run())
        await until(lambda: len(service.requests) > 1)
        assert readiness.state is State.LOADING
        assert "no sound" in readiness.reason
        running.cancel()

    asyncio.run(test())


def test_a_broken_engine_ends_the_tries() -> None:
    """Nothing mends it in this process: the server is told once, and it does not live."""

    async def test() -> None:
        told: list[bool] = []
        service = SlowlyLoaded(EngineBroken("the device is gone"))
        service.is_loaded.set()
        readiness = Readiness(service, on_broken=lambda: told.append(True), retry_s=0.01)
        await readiness.run()
        readiness.fail("again")
        assert (readiness.state, readiness.is_lost, told) == (State.BROKEN, True, [True])
        assert readiness.reason == "the device is gone"

    asyncio.run(test())


def test_a_worker_that_stops_does_not_become_ready() -> None:
    """A probe that ends after the signal changes nothing."""

    async def test() -> None:
        service = SlowlyLoaded()
        readiness = Readiness(service, on_broken=_never)
        running = asyncio.create_task(readiness.run())
        readiness.stop()
        service.is_loaded.set()
        await running
        assert readiness.state is State.STOPPING

    asyncio.run(test())


def _never() -> None:
    raise AssertionError("nothing is broken")
