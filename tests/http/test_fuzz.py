"""Bodies and frames at random: each is answered, nothing breaks, nothing of them is logged."""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.fakes.http_server import HttpServer, serving_http
from tests.fakes.library import make_wav

WORDS = "zebraFuzzQuagga"
"""The caller's; no line of the log may hold it."""
CHANGED = f"/v1/audio/voices/{WORDS}"
ROUTES = ("/v1/audio/speech", "/v1/speech", "/v1/audio/voices", CHANGED)
ENCODE = "/v1/audio/encode"
ODD = (
    None, True, False, 0, -1, 1, 2**63, -(2**70), 1e308, 0.5, "", " ", WORDS, "a" * 300, "\x00",
    "\ud800", "🦓", [], {}, [[]], [WORDS], {WORDS: WORDS}, {"name": WORDS}, "clara", "wav",
    {"audio": WORDS, "text": WORDS}, {"description": WORDS}, {"audio": "https://127.0.0.1/x"},
    "data:audio/wav;base64,AAAA", ["clara", "bram"],
)  # fmt: skip
SPEECHES: tuple[dict[str, Any], ...] = (
    {"model": "tts-1", "input": f"Hello {WORDS}.", "voice": "alloy", "response_format": "pcm"},
    {"input": WORDS, "voice": "clara", "stream_format": "sse", "speed": 1.1, "seed": 5},
)
JOBS: tuple[dict[str, Any], ...] = (
    {"input": {"text": WORDS, "voice": "clara", "format": "wav", "seed": 3}},
    {"input": {"text": f"[A] {WORDS} [B] No.", "speakers": {"A": "clara", "B": "bram"}}},
    {"input": {"batch": [{"text": WORDS}, {"text": "Two."}], "voice": "clara"}},
    {"input": {"action": "list_voices"}},
    {"input": {"action": "delete_voice", "name": WORDS}},
    {"input": {"action": "update_voice", "name": WORDS, "new_name": WORDS, "text": WORDS}},
    {"input": {"action": "read", "text": f"{WORDS} for $5. [laugh]", "voice": WORDS}},
)
VOICES: tuple[dict[str, Any], ...] = (
    {"name": WORDS, "audio": "AAAA", "text": WORDS, "licence": WORDS, "replace": True},
)
CHANGES: tuple[dict[str, Any], ...] = (
    {"description": WORDS, "licence": None},
    {"name": WORDS, "description": WORDS},
)
MESSAGES: tuple[dict[str, Any], ...] = (
    {"type": "Speak", "text": f"Hello {WORDS}. "},
    {"type": "Flush"},
    {"type": "Clear"},
    {"type": "KeepAlive"},
)


class Fuzz:
    """Makes bodies and frames; the same ones with every run."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def request(self) -> tuple[str, bytes, str]:
        """Return a route, a body, and what it claims to be."""
        route = self._random.choice(ROUTES)
        bodies = dict(zip(ROUTES, (SPEECHES, JOBS, VOICES, CHANGES), strict=True))
        body = self._random.choice(bodies[route])
        if route == ROUTES[2] and self._random.random() < 0.6:
            return route, self._form(body), "multipart/form-data; boundary=b"
        kind = self._random.choice(["application/json"] * 8 + ["multipart/form-data", "text/plain"])
        return route, self._text(body), kind

    def frame(self) -> str | bytes:
        """Return a websocket's frame."""
        if self._random.random() < 0.7:  # else nearly every frame would end its conversation
            return json.dumps(self._random.choice(MESSAGES))
        damaged = self._text(self._random.choice(MESSAGES))
        return damaged if self._random.random() < 0.2 else damaged.decode(errors="replace")

    def _text(self, body: dict[str, Any]) -> bytes:
        """Return a body, changed in its values or in its bytes, or none at all."""
        kind = self._random.randrange(10)
        if kind == 0:
            return self._random.randbytes(self._random.randrange(200))
        if kind == 1:
            return json.dumps(self._value(4)).encode()
        if kind == 2:
            depth = self._random.choice([10, 40, 5000])
            return b"[" * depth + b"]" * self._random.choice([0, depth])
        changed = deepcopy(body)
        for _ in range(self._random.choice([0, 1, 1, 2])):
            self._change(changed)
        text = json.dumps(changed).encode()
        return self._damaged(text) if kind < 5 else text

    def _change(self, body: dict[str, Any]) -> None:
        inner = body.get("input")
        if isinstance(inner, dict) and self._random.random() < 0.8:
            body = inner
        key = self._random.choice([*body, WORDS, "voice", "format", "sample_rate", "speakers"])
        if key in body and self._random.random() < 0.2:
            del body[key]
        else:
            body[key] = self._value(2)

    def _value(self, depth: int) -> Any:
        if depth and self._random.random() < 0.3:
            values = [self._value(depth - 1) for _ in range(self._random.randrange(4))]
            is_list = self._random.random() < 0.5
            return values if is_list else {f"{WORDS}{n}": each for n, each in enumerate(values)}
        return deepcopy(self._random.choice(ODD))

    def _damaged(self, text: bytes) -> bytes:
        changed = bytearray(text)
        for _ in range(self._random.randrange(1, 5)):
            place = self._random.randrange(len(changed) + 1)
            changed[place : place + self._random.randrange(3)] = self._random.randbytes(
                self._random.randrange(3)
            )
        return bytes(changed)

    def _form(self, body: dict[str, Any]) -> bytes:
        parts = []
        for name, value in body.items():
            head = f'--b\r\ncontent-disposition: form-data; name="{name}"'
            if name == "audio":
                parts.append(f'{head}; filename="{WORDS}.wav"\r\n\r\n'.encode() + make_wav(100))
            else:
                parts.append(f"{head}\r\n\r\n{value}".encode())
        self._random.shuffle(parts)
        whole = b"\r\n".join(parts[self._random.randrange(2) :]) + b"\r\n--b--\r\n"
        return self._damaged(whole) if self._random.random() < 0.7 else whole


def check_log(caplog: pytest.LogCaptureFixture) -> None:
    """See that no line tells of a defect, or what a caller wrote."""
    assert caplog.records
    for record in caplog.records:
        if record.name.startswith(("websockets.client", "httpcore", "httpx")):
            continue  # the caller's own
        assert record.levelno < logging.ERROR, record.getMessage()
        assert record.exc_info is None
        assert WORDS not in f"{record.getMessage()} {vars(record)}", record.getMessage()


def run(volume: Path, test: Callable[[HttpServer], Any]) -> None:
    """Run a test of a server; then nothing is left of its requests."""

    async def serve() -> None:
        async with serving_http(volume) as server:
            await test(server)
            await server.until(num_running=0, num_body_bytes=0)
            assert (await server.client.get("/ping")).status_code == 200

    asyncio.run(serve())


COUNTS = [
    pytest.param(200, id="some", marks=pytest.mark.slow),
    pytest.param(10_000, id="all", marks=pytest.mark.long),
]


@pytest.mark.parametrize("num", COUNTS)
def test_bodies(tmp_path: Path, num: int, caplog: pytest.LogCaptureFixture) -> None:
    """Random JSON, good bodies that were changed, bytes, damaged forms: no failure of ours.

    A voice is saved among them, and changed.
    """

    async def test(server: HttpServer) -> None:
        fuzz, statuses, num_changed = Fuzz(1), set(), 0
        for _ in range(num):
            route, body, kind = fuzz.request()
            reply = await server.client.request(
                "PATCH" if route == CHANGED else "POST",
                route,
                content=body,
                headers={"content-type": kind},
            )
            assert reply.status_code < 500, (route, body, reply.text)
            if reply.status_code >= 400:
                assert reply.json()["error"]["message"]
            statuses.add(reply.status_code)
            num_changed += route == CHANGED and reply.status_code == 200
        assert {200, 201, 400, 404} <= statuses
        assert num_changed

    run(tmp_path, test)
    check_log(caplog)


def test_queries(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Any bytes are samples, if they are even in number; what is asked for may be anything."""
    parts = ("format=wav", "format=opus", "sample_rate=8000", "sample_rate=%00", "format", "&", "=",
             WORDS, f"format={WORDS}", f"{WORDS}=1", "%ff=%ff", "sample_rate=1e9", "")  # fmt: skip

    async def test(server: HttpServer) -> None:
        draw, statuses = random.Random(3), set()
        for _ in range(80):
            query = "&".join(draw.choices(parts, k=draw.randrange(4)))
            body = draw.randbytes(draw.choice([0, 1, 2, 999, 1000]))
            reply = await server.client.post(f"{ENCODE}?{query}", content=body)
            assert reply.status_code in (200, 400), (query, body)
            statuses.add(reply.status_code)
        assert statuses == {200, 400}

    run(tmp_path, test)
    check_log(caplog)


def test_names_in_addresses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A voice to hear, change or delete may be called anything; none of it is logged."""

    async def test(server: HttpServer) -> None:
        for name in (WORDS, f"..%2f{WORDS}", f"%00{WORDS}", f"%ff{WORDS}", f"{WORDS}?a={WORDS}"):
            path = f"/v1/audio/voices/{name}"
            for reply in (
                await server.client.delete(path),
                await server.client.patch(path, json={"text": WORDS}),
                await server.client.get(f"{path.partition('?')[0]}/audio"),
            ):
                assert reply.status_code in (400, 404), name

    run(tmp_path, test)
    check_log(caplog)


@pytest.mark.parametrize("num", COUNTS)
def test_frames(tmp_path: Path, num: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each conversation goes on, or ends with a code that says why: none with a failure."""

    async def test(server: HttpServer) -> None:
        fuzz, codes, num_sent = Fuzz(2), set(), 0
        while num_sent < num:
            async with connect(f"ws://127.0.0.1:{server.port}/v1/speak", proxy=None) as socket:

                async def read(socket: Any = socket) -> None:
                    async for _ in socket:
                        pass

                reading = asyncio.create_task(read())
                try:
                    for _ in range(40):
                        num_sent += 1
                        await socket.send(fuzz.frame())
                        await asyncio.sleep(0)
                    await socket.send('{"type":"Close"}')
                except ConnectionClosed:
                    pass
                await asyncio.gather(reading, return_exceptions=True)
                codes.add(socket.close_code)
        assert codes <= {1000, 1008}
        assert 1008 in codes

    run(tmp_path, test)
    check_log(caplog)
