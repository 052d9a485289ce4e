"""Signals: a server in its own process stops as a platform expects."""

import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.fakes.http_worker import SECRETS, HttpWorker
from tests.fakes.scripted_server import until

pytestmark = pytest.mark.slow
HEADERS = {"Authorization": f"Bearer {SECRETS['HIGGS_API_KEY']}"}
SPEECH = "/v1/audio/speech"
SLOWLY = "Slowly the rain began to fall over the old town, and all of the lamps went out. "
END_S = 3.0
"""From the last reply to the end of the process; half a second on a machine that does nothing."""


def serving(tmp_path: Path, **settings: str) -> HttpWorker:
    """Return a server with a model by script."""
    return HttpWorker(tmp_path, module="tests.fakes.scripted_server", **settings)


def ended(worker: HttpWorker, within_s: float) -> int:
    """Wait for the end of a server, and return its exit code."""
    return worker.process.wait(within_s)


def spoken(text: str, **fields: Any) -> dict[str, Any]:
    """Return the body of a request for raw samples."""
    return {"input": text, "response_format": "pcm", **fields}


def client_of(worker: HttpWorker) -> httpx.AsyncClient:
    """Return a client with the key."""
    return httpx.AsyncClient(base_url=worker.url, headers=HEADERS, timeout=20.0)


def test_what_runs_is_finished_and_nothing_is_begun(tmp_path: Path) -> None:
    """A stream goes on to its end; others are sent away with when to come again; the exit is 0.

    A second signal changes nothing.
    """

    async def test(worker: HttpWorker) -> None:
        async with client_of(worker) as client:
            whole = (await client.post(SPEECH, json=spoken(SLOWLY * 3))).content
            async with client.stream("POST", SPEECH, json=spoken(SLOWLY * 3)) as reply:
                parts = reply.aiter_raw()
                heard = await anext(parts)
                worker.process.send_signal(signal.SIGTERM)
                while (ping := await client.get("/ping")).status_code == 200:
                    await asyncio.sleep(0.01)
                assert (ping.status_code, ping.json()["status"]) == (503, "stopping")
                assert (await client.get("/health/live")).status_code == 200
                for path in (SPEECH, "/v1/speech"):
                    refused = await client.post(path, json=spoken("Good morning."))
                    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
                    assert refused.json()["error"]["code"] == "worker_stopping"
                worker.process.send_signal(signal.SIGTERM)
                async for part in parts:
                    heard += part
            assert len(heard) == len(whole)
        assert ended(worker, END_S) == 0

    with serving(tmp_path, HIGGS_GRACE_S="20") as worker:
        asyncio.run(test(worker))


@pytest.mark.long
def test_what_does_not_end_in_time_is_told_so(tmp_path: Path) -> None:
    """503 before the first sound, a cut after it, an event in events, 1012 in a conversation."""
    long = SLOWLY * 40

    async def converse(worker: HttpWorker) -> tuple[list[str], int | None]:
        url = worker.url.replace("http", "ws")
        kinds = []
        async with connect(f"{url}/v1/speak", proxy=None, additional_headers=HEADERS) as socket:
            await socket.send(json.dumps({"type": "Speak", "text": long}))
            try:
                while True:
                    frame = await socket.recv()
                    if isinstance(frame, str):
                        kinds.append(json.loads(frame)["type"])
            except ConnectionClosed:
                return kinds, socket.close_code

    async def test(worker: HttpWorker) -> None:
        async with client_of(worker) as client:
            asking = [
                asyncio.create_task(each)
                for each in (
                    client.post("/v1/speech", json={"text": "Never mind."}),
                    client.post(SPEECH, json=spoken("Never mind.")),
                    client.post(SPEECH, json=spoken(long)),
                    client.post(SPEECH, json=spoken(long, stream_format="sse")),
                    converse(worker),
                )
            ]
            async with asyncio.timeout(10):
                while "higgs_requests_running 4.0" not in (await client.get("/metrics")).text:
                    await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            worker.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            job, silent, cut, events, talk = await asyncio.gather(*asking, return_exceptions=True)
            for reply in (job, silent):
                assert reply.status_code == 503
                assert reply.headers["retry-after"] == "5"
                assert reply.json()["error"]["code"] == "worker_stopping"
            assert isinstance(cut, httpx.RemoteProtocolError)
            assert '"code": "worker_stopping"' in events.text.rpartition("event: error")[2]
            assert 0.9 < time.monotonic() - began < 3
        assert talk[0][0] == "Metadata"
        assert "Warning" in talk[0]
        assert talk[1] == 1012
        assert ended(worker, END_S) == 0

    with serving(tmp_path, HIGGS_GRACE_S="1", HIGGS_MAX_SLOTS="1") as worker:
        asyncio.run(test(worker))


@pytest.mark.long
def test_without_a_grace_all_ends_at_once(tmp_path: Path) -> None:
    """HIGGS_GRACE_S=0: who waits is told, who is silent holds nothing up."""

    async def test(worker: HttpWorker) -> None:
        host, port = worker.address.split(":")
        silent = await asyncio.open_connection(host, int(port))
        silent[1].write(b"POST /v1/speech HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
        async with client_of(worker) as client:
            asking = asyncio.create_task(client.post(SPEECH, json=spoken("Never mind.")))
            await asyncio.sleep(0.5)
            worker.process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            reply = await asking
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "worker_stopping")
        assert ended(worker, END_S) == 0
        assert time.monotonic() - began < END_S
        silent[1].close()

    with serving(tmp_path, HIGGS_GRACE_S="0") as worker:
        asyncio.run(test(worker))


@pytest.mark.parametrize("moment", ["listening", "loading"])
def test_a_signal_while_it_loads_ends_it(tmp_path: Path, moment: str) -> None:
    """The demo's load is given up, from its first moment on: exit code 0, and no traceback."""
    worker = HttpWorker(tmp_path, HIGGS_GRACE_S="20", HIGGS_MAX_SLOTS="1")
    try:
        asyncio.run(until(lambda: worker.status() == 204))
        if moment == "loading":
            time.sleep(1.5)  # within the import of torch: C++ that must not be stopped by Python
        began = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        assert ended(worker, 10) == 0, worker.log
        assert time.monotonic() - began < END_S
        assert "Traceback" not in worker.log
    finally:
        worker.process.kill()


@pytest.mark.long
def test_an_engine_that_breaks_ends_the_process_with_1(tmp_path: Path) -> None:
    """The reply is cut, /ping and /health/live say 503 while others are finished, then it ends."""

    async def test(worker: HttpWorker) -> None:
        async with (
            client_of(worker) as client,
            client.stream("POST", SPEECH, json=spoken(SLOWLY * 2)) as reply,
        ):
            parts = reply.aiter_raw()
            await anext(parts)
            broken = await client.post("/v1/speech", json={"text": "Breaking."})
            assert (broken.status_code, broken.json()["error"]["code"]) == (503, "engine_broken")
            for path in ("/ping", "/health/live", "/health/ready"):
                assert (await client.get(path)).status_code == 503
            async for _ in parts:
                pass
        assert ended(worker, END_S) == 1

    with serving(tmp_path, HIGGS_GRACE_S="20") as worker:
        asyncio.run(test(worker))
