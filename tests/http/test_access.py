"""Who may use the HTTP server: keys, pages of other origins, and what is open to all."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.fakes.http_server import HttpServer, serving_http

SECRETS = {"HIGGS_API_KEY": "theKeyOfThisServer"}
KEY = SECRETS["HIGGS_API_KEY"].encode()
FOREIGN, FRIEND = "https://evil.example", "https://app.example"
IN_QUERY = ("api_key", "apikey", "api-key", "key", "token", "access_token", "Authorization")

Test = Callable[[HttpServer], Awaitable[None]]


def run(volume: Path, test: Test, **settings: str) -> None:
    """Run a test of a server."""

    async def serve() -> None:
        async with serving_http(volume, **settings) as server:
            await test(server)

    asyncio.run(serve())


async def websocket_status(server: HttpServer, **how: Any) -> int:
    """Return the status with which a websocket opens, or does not."""
    try:
        async with connect(f"ws://127.0.0.1:{server.port}/v1/speak", proxy=None, **how):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def test_keys(tmp_path: Path) -> None:
    """The right one comes in, as Bearer or Token; none and wrong ones are told so."""

    async def test(server: HttpServer) -> None:
        for sent, status in [
            (None, 401),
            (b"", 401),
            (b"Bearer", 401),
            (b"Bearer wrong", 401),
            (b"Bearer " + KEY[:-1], 401),
            (b"Bearer " + KEY + b"x", 401),
            ("Bearer schlüssel".encode(), 401),
            (b"Bearer \xff\xfe", 401),
            (b"Basic " + KEY, 401),
            (KEY, 401),
            (b"Bearer " + KEY, 200),
            (b"bearer  " + KEY, 200),
            (b"Token " + KEY, 200),
        ]:
            headers = {} if sent is None else {b"authorization": sent}
            reply = await server.client.get("/v1/models", headers=headers)
            assert reply.status_code == status, sent
            if status == 401:
                assert reply.json()["error"]["code"] == "invalid_api_key"
                assert reply.headers["www-authenticate"] == "Bearer"
                assert SECRETS["HIGGS_API_KEY"] not in reply.text

    run(tmp_path, test, **SECRETS)


@pytest.mark.parametrize("key", [None, SECRETS["HIGGS_API_KEY"]])
def test_no_key_in_an_address(tmp_path: Path, key: str | None) -> None:
    """It is refused under each name, even with the right key beside it, or where none is needed."""

    async def test(server: HttpServer) -> None:
        for name in IN_QUERY:
            reply = await server.client.get(
                "/v1/models", params={name: "abc"}, headers={b"authorization": b"Bearer " + KEY}
            )
            assert reply.status_code == 401, name
            assert "address" in reply.json()["error"]["message"]

    run(tmp_path, test, **({} if key is None else {"HIGGS_API_KEY": key}))


def test_health_is_open_and_the_rest_is_not(tmp_path: Path) -> None:
    """Platforms ask for health without a key; figures, documents and speech need it."""

    async def test(server: HttpServer) -> None:
        for path in ("/ping", "/health/live", "/health/ready"):
            assert (await server.client.get(path)).status_code == 200, path
            assert (await server.client.head(path)).status_code == 200, path
        for path in (
            "/metrics",
            "/v1/models",
            "/v1/audio/voices",
            "/v1/audio/voices/clara/audio",
            "/nothing",
        ):
            assert (await server.client.get(path)).status_code == 401, path
        for path in ("/v1/audio/speech", "/v1/audio/encode", "/v1/speech", "/v1/audio/voices"):
            assert (await server.client.post(path, json={})).status_code == 401, path
        assert (await server.client.patch("/v1/audio/voices/clara", json={})).status_code == 401

    run(tmp_path, test, **SECRETS)


def test_keys_of_websockets(tmp_path: Path) -> None:
    """A header, or a subprotocol, where a page can set nothing else."""

    async def test(server: HttpServer) -> None:
        bearer = {"Authorization": "Bearer theKey"}
        assert await websocket_status(server) == 401
        assert await websocket_status(server, additional_headers=bearer) == 101
        for protocols, status in [
            (["token", "theKey"], 101),
            (["bearer", "theKey"], 101),
            (["token", "wrong"], 401),
            (["theKey"], 401),
            (["theKey", "token"], 401),
        ]:
            assert await websocket_status(server, subprotocols=protocols) == status, protocols

    run(tmp_path, test, HIGGS_API_KEY="theKey")


def test_pages_of_other_origins(tmp_path: Path) -> None:
    """What they send is refused, though no key is needed; pages of the server itself may."""

    async def test(server: HttpServer) -> None:
        async def statuses(origin: str) -> list[int]:
            headers = {"origin": origin}
            replies = [
                await server.client.post("/v1/audio/speech", json={"input": "Hi"}, headers=headers),
                await server.client.delete("/v1/audio/voices/nobody", headers=headers),
                await server.client.patch(
                    "/v1/audio/voices/nobody", json={"text": "Hi"}, headers=headers
                ),
            ]
            websocket = await websocket_status(server, additional_headers=headers)
            return [*(reply.status_code for reply in replies), websocket]

        for origin in (FOREIGN, "null", "http://[", "", "http://127.0.0.1", "//"):
            assert await statuses(origin) == [403, 403, 403, 403], origin
        assert await statuses(f"http://127.0.0.1:{server.port}") == [200, 404, 404, 101]
        preflight = await server.client.options(
            "/v1/audio/speech",
            headers={"origin": FOREIGN, "access-control-request-method": "POST"},
        )
        assert preflight.status_code == 405
        assert not [name for name in preflight.headers if name.startswith("access-control")]

    run(tmp_path, test)


@pytest.mark.parametrize("setting", [FRIEND, "*"])
def test_the_operator_may_let_pages_in(tmp_path: Path, setting: str) -> None:
    """Their browsers are told so, before a request and with it, also where it fails."""

    async def test(server: HttpServer) -> None:
        asked = {"access-control-request-method": "POST", "access-control-request-headers": "x"}
        preflight = await server.client.options(
            "/v1/audio/speech", headers={"origin": FRIEND} | asked
        )
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == setting
        for method in ("GET", "POST", "PATCH", "DELETE"):
            assert method in preflight.headers["access-control-allow-methods"]
        for body, status in [({"input": "Hi"}, 200), ({}, 400)]:
            reply = await server.client.post(
                "/v1/audio/speech", json=body, headers={"origin": FRIEND}
            )
            assert reply.status_code == status
            assert reply.headers["access-control-allow-origin"] == setting
            assert "x-request-id" in reply.headers["access-control-expose-headers"]
        headers = {"origin": FRIEND}
        assert await websocket_status(server, additional_headers=headers) == 101
        reply = await server.client.delete("/v1/audio/voices/nobody", headers={"origin": FOREIGN})
        assert reply.status_code == (404 if setting == "*" else 403)

    run(tmp_path, test, HIGGS_CORS_ORIGINS=setting)
