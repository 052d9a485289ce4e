"""What every request passes: ids, addresses, methods, bounds of bodies, and the reply's way out."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.errors import ResultTooLarge, WorkerError, WorkerStopping
from higgs_worker.http import gate
from higgs_worker.http.access import Access
from higgs_worker.http.gate import MAX_PART_BYTES, MAX_QUERY_CHARS, Gate, Message
from higgs_worker.http.patience import Patience
from tests.fakes.http_server import HttpServer, serving_http
from tests.fakes.speeches import FixedService, responder

LIMIT = 1_000_000
"""The least that HIGGS_MAX_BODY_BYTES may be."""

Test = Callable[[HttpServer], Awaitable[None]]


def run(volume: Path, test: Test, **how: Any) -> None:
    """Run a test of a server."""

    async def serve() -> None:
        async with serving_http(volume, **how) as server:
            await test(server)

    asyncio.run(serve())


def test_request_ids(tmp_path: Path) -> None:
    """One that is sent comes back if a log can hold it; otherwise one is made."""

    async def test(server: HttpServer) -> None:
        async def id_for(sent: bytes | None, path: str = "/v1/models") -> str:
            headers = {} if sent is None else {b"x-request-id": sent}
            return str((await server.client.get(path, headers=headers)).headers["x-request-id"])

        for usable in (b"abc", b"Root=1-67891233-abcdef012345678912345678", b"a" * 128):
            assert await id_for(usable) == usable.decode()
            assert await id_for(usable, "/nothing") == usable.decode()
            assert await id_for(usable, "/ping") == usable.decode()
        for unusable in (None, b"", b"a b", b"a" * 129, "é".encode(), b'"', b"{}", b"a\tb"):
            made = await id_for(unusable)
            assert made.startswith("req_")
            assert made != await id_for(unusable)

    run(tmp_path, test)


def test_refusals_are_in_openai_s_envelope(tmp_path: Path) -> None:
    """Unknown routes, other methods, addresses and bodies that are too long, two framings."""

    async def chunks(num_bytes: int) -> AsyncIterator[bytes]:
        for _ in range(num_bytes // 10_000):
            yield b" " * 10_000

    async def test(server: HttpServer) -> None:
        speech = "/v1/audio/speech"
        for method, path, how, status in [
            ("GET", "/nothing", {}, 404),
            ("GET", "/v1/audio/voices/../..//", {}, 404),
            ("GET", speech, {}, 405),
            ("GET", "/v1/audio/encode?format=wav", {}, 405),
            ("POST", "/v1/audio/encode?format=wav", {"content": b" " * (LIMIT + 1)}, 413),
            ("PUT", "/ping", {}, 405),
            ("GET", f"/v1/models?{'a' * (MAX_QUERY_CHARS + 1)}", {}, 414),
            ("POST", speech, {"content": b" " * (LIMIT + 1)}, 413),
            ("POST", speech, {"content": chunks(LIMIT + 10_000)}, 413),
            ("POST", speech, {"content": chunks(LIMIT)}, 400),
            ("POST", speech, {"content": b"{}", "headers": {"transfer-encoding": "chunked",
                                                              "content-length": "2"}}, 400),
        ]:  # fmt: skip
            reply = await server.client.request(method, path, **how)
            assert reply.status_code == status, (method, path)
            told = reply.json()["error"]
            assert {"message", "type", "param", "code"} <= told.keys()
            assert told["type"] == "invalid_request_error"
            assert reply.headers["x-request-id"]
        assert server.gate.num_body_bytes == server.gate.num_running == 0

    run(tmp_path, test, HIGGS_MAX_BODY_BYTES=str(LIMIT))


class Exchange:
    """A request to a gate without a server, and what it sends."""

    def __init__(self, app: Any, **scope: Any) -> None:
        self.gate = Gate(
            app,
            responder(FixedService()),
            access=Access(None, ()),
            max_body_bytes=10,
            patience=Patience(),
        )
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/models",
            "query_string": b"",
            "headers": [],
        } | scope
        self.sent: list[Message] = []

    async def answer(self) -> None:
        """Let it through."""
        received: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if not received:
                await asyncio.Event().wait()
            return received.pop()

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self.gate(self.scope, receive, send)

    @property
    def body(self) -> bytes:
        """What was sent after the head."""
        return b"".join(part["body"] for part in self.sent[1:])


def test_a_large_reply_goes_out_in_parts() -> None:
    """No server holds more of it than a part while nobody reads."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(3 * MAX_PART_BYTES + 1)})

    exchange = Exchange(app)
    asyncio.run(exchange.answer())
    parts = exchange.sent[1:]
    assert [len(part["body"]) for part in parts] == [MAX_PART_BYTES] * 3 + [1]
    assert [part.get("more_body", False) for part in parts] == [True, True, True, False]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ResultTooLarge("No."), 413, "result_too_large"),
        (WorkerStopping("No."), 503, "worker_stopping"),
        (KeyError("the caller's words"), 500, "internal_error"),
    ],
)
def test_what_the_application_raises(error: Exception, status: int, code: str) -> None:
    """It is told if nothing was sent before, a defect without its words."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    exchange = Exchange(app)
    asyncio.run(exchange.answer())
    assert exchange.sent[0]["status"] == status
    assert json.loads(exchange.body)["error"]["code"] == code
    assert b"words" not in exchange.body
    assert exchange.gate.num_running == 0
    assert isinstance(error, WorkerError) or status == 500


def test_not_too_many_at_once() -> None:
    """Further requests and websockets come again later; those within go on."""

    async def test() -> None:
        held = asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await held.wait()

        exchange = Exchange(app)
        waiting = [asyncio.create_task(exchange.answer()) for _ in range(gate.MAX_RUNNING)]
        while exchange.gate.num_running < gate.MAX_RUNNING:
            await asyncio.sleep(0)
        await exchange.answer()
        assert exchange.sent[0]["status"] == 429
        assert dict(exchange.sent[0]["headers"])[b"retry-after"]
        held.set()
        await asyncio.gather(*waiting)
        assert exchange.gate.num_running == 0

    asyncio.run(test())


def test_a_gate_that_closes(tmp_path: Path) -> None:
    """Requests are sent elsewhere, and told when to come again."""

    async def test(server: HttpServer) -> None:
        await server.gate.drain(1.0)
        reply = await server.client.get("/v1/models")
        assert reply.status_code == 503
        assert reply.headers["retry-after"]
        assert reply.json()["error"]["code"] == "worker_stopping"
        assert (await server.client.get("/ping")).status_code == 200

    run(tmp_path, test)
