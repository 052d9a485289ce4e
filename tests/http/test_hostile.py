"""Clients that mean harm, or know no better: the server stays up, serves others, and frees all."""

import asyncio
import gc
import socket
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from higgs_worker.http.patience import Patience
from higgs_worker.http.server import MAX_HEAD_BYTES
from tests.fakes.http_server import HttpServer, serving_http
from tests.fakes.process_memory import num_open_files
from tests.fakes.speeches import RATE, FixedService

HEAD_S = 0.2
QUICK = Patience(head_s=HEAD_S, body_start_s=HEAD_S, body_bytes_per_s=10_000_000, unread_s=HEAD_S)
LIMIT = 100_000
SPEECH = b"POST /v1/audio/speech HTTP/1.1\r\nhost: a\r\n"
LONG = 60 * RATE
"""Samples that no system's buffers hold: 2.9 MB as WAV."""

Test = Callable[[HttpServer], Awaitable[None]]


def run(volume: Path, test: Test, patience: Patience = QUICK, service: Any = None) -> None:
    """Run a test of a server; then it still answers, and holds no more than before."""

    async def serve() -> None:
        settings = {"HIGGS_MAX_BODY_BYTES": str(LIMIT)}
        async with serving_http(volume, service, patience=patience, **settings) as server:
            assert (await server.client.get("/v1/models")).status_code == 200
            num_files, num_connections = num_open_files(), server.num_connections
            await test(server)
            assert (await server.client.get("/v1/models")).status_code == 200
            await server.until(num_running=0, num_body_bytes=0, num_connections=num_connections)
            assert num_open_files() <= num_files

    asyncio.run(serve())


def status(reply: bytes) -> int:
    """Return the status of a reply."""
    return int(reply.split(b" ", 2)[1])


async def is_served(server: HttpServer) -> None:
    """Somebody else hears a speech meanwhile."""
    reply = await server.client.post("/v1/audio/speech", json={"input": "Hi", "seed": 1})
    assert reply.status_code == 200


def connected(server: HttpServer, held: ExitStack, receive_bytes: int = 0) -> socket.socket:
    """Return a connection, perhaps with room for so little that it is soon full."""
    client = held.enter_context(socket.socket())
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect(("127.0.0.1", server.port))
    client.setblocking(False)
    return client


def test_heads_that_do_not_end(tmp_path: Path) -> None:
    """A byte now and then holds nobody's connection longer than a head may take."""

    async def drip(server: HttpServer, head: bytes) -> float:
        started = asyncio.get_running_loop().time()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        reading = asyncio.create_task(reader.read())
        for index in range(len(head)):
            writer.write(head[index : index + 1])
            await asyncio.wait([reading], timeout=HEAD_S / 20)
            if reading.done():
                break
        with suppress(ConnectionResetError):  # a byte came after the end
            assert await reading == b""
        writer.close()
        return asyncio.get_running_loop().time() - started

    async def test(server: HttpServer) -> None:
        heads = [b"GET /ping HTTP/1.1\r\n" + b"x-a: b\r\n" * 50] * 50
        slow = asyncio.gather(*(drip(server, head) for head in heads))
        await is_served(server)
        assert max(await slow) < 10 * HEAD_S

    run(tmp_path, test)


def test_clients_that_send_nothing(tmp_path: Path) -> None:
    """Nothing at all, or half a head, or a head and no body: each is let go."""

    async def test(server: HttpServer) -> None:
        with ExitStack() as held:
            for start in (b"", b"GET /ping", SPEECH + b"content-length: 9\r\n\r\n{"):
                for _ in range(20):
                    client = connected(server, held)
                    await asyncio.get_running_loop().sock_sendall(client, start)
            await is_served(server)
            # The one whose body is late hears why, and may then send another request.
            await server.until(num_running=0)
            data = await asyncio.get_running_loop().sock_recv(client, 100)
            assert status(data) == 408
            for _ in range(20):
                client.send(b"x")

    run(tmp_path, test)


def test_a_refused_body_holds_no_connection(tmp_path: Path) -> None:
    """What is sent on, after the answer, is read for a while and no longer."""

    async def test(server: HttpServer) -> None:
        for refused in (SPEECH + b"content-length: 999999\r\n\r\n", SPEECH.replace(b"1/s", b"0/s")):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = refused if b"length" in refused else refused + b"content-length: 999999\r\n\r\n"
            writer.write(head)
            assert status(await reader.read(100)) in (404, 413)
            reading = asyncio.create_task(reader.read())
            while not reading.done():
                writer.write(b"x")
                await asyncio.wait([reading], timeout=HEAD_S / 20)
            writer.close()

    run(tmp_path, test)


@pytest.mark.slow
def test_clients_that_do_not_read(tmp_path: Path) -> None:
    """Their speech stops, what was to be sent is dropped, and the connection with it."""

    async def test(server: HttpServer) -> None:
        body = b'{"input":"Hi","response_format":"wav"}'
        head = SPEECH + b"content-length: %d\r\n\r\n" % len(body)
        job = b'{"input":{"text":"Hi","format":"wav"}}'
        whole = head.replace(b"/v1/audio/speech", b"/v1/speech")
        with ExitStack() as held:
            for request in [head + body, whole + job] * 5:
                client = connected(server, held, receive_bytes=4096)
                await asyncio.get_running_loop().sock_sendall(client, request)
            await is_served(server)
            async with asyncio.timeout(10):
                while server.gate.num_running or server.num_connections > 1:
                    await asyncio.sleep(0.01)

    loud = np.random.default_rng(1).uniform(-0.5, 0.5, LONG).astype(np.float32)
    run(tmp_path, test, service=FixedService(loud))


def test_large_bodies(tmp_path: Path) -> None:
    """Neither announced nor sent is more than the limit ever held."""

    async def flood(server: HttpServer, framing: bytes, piece: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(SPEECH + framing + b"\r\n\r\n")
        reading = asyncio.create_task(reader.read(100))
        for _ in range(2000):
            writer.write(piece)
            await asyncio.sleep(0)
            if reading.done() or writer.is_closing():
                break
        writer.close()
        return status(await reading)

    async def test(server: HttpServer) -> None:
        tracemalloc.start()
        try:
            piece = b" " * 10_000
            for framing, sent in [
                (b"content-length: 1000000000000", piece),
                (b"content-length: 100000000", piece),
                (b"transfer-encoding: chunked", b"2710\r\n" + piece + b"\r\n"),
            ]:
                replies = await asyncio.gather(*(flood(server, framing, sent) for _ in range(10)))
                assert set(replies) <= {413, 429}  # all together are too much as well
            _, peak = tracemalloc.get_traced_memory()
            assert peak < 10 * (LIMIT + 1_000_000)
        finally:
            tracemalloc.stop()
        gc.collect()

    run(tmp_path, test)


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        (b"\x00\xff\x16\x03\x01 nothing of HTTP\r\n\r\n", [400]),
        (b"GET\r\n\r\n", [400]),
        (b"GET /ping HTTP/1.1\r\n\r\n", [400]),
        (b"GET /ping HTTP/1.0\r\n\r\n", [200]),
        (b"GET /ping HTTP/1.1\r\nhost: a\r\nx: " + b"x" * 2 * MAX_HEAD_BYTES, [400]),
        (b"GET /ping HTTP/1.1\r\nhost: a\r\n" + b"x: x\r\n" * MAX_HEAD_BYTES, [400]),
        (b"GET /" + b"x" * 2 * MAX_HEAD_BYTES, [400]),
        (SPEECH + b"content-length: -1\r\n\r\n", [400]),
        (SPEECH + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", [400]),
        (SPEECH + b"content-length: " + b"9" * 5000 + b"\r\n\r\n", [400]),
        (SPEECH + b"transfer-encoding: gzip\r\n\r\n", [400, 501]),
        (SPEECH + b"content-length : 1\r\n\r\n{", [400]),
        (SPEECH + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET", [400]),
        (SPEECH + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n", [405]),
        (b"GET /v1/speak HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
         b"sec-websocket-version: 13\r\nsec-websocket-key: x\r\n\r\n", [400]),
        (b"GET http://evil.example/ping HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", [404]),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", [404, 405]),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", [400, 404, 405]),
    ],
)  # fmt: skip
def test_what_is_no_good_request(tmp_path: Path, request_: bytes, statuses: list[int]) -> None:
    """It gets an answer and an end, and none of it is read as another request."""

    async def test(server: HttpServer) -> None:
        reply = await server.exchange(request_)
        assert status(reply) in statuses, reply
        assert reply.count(b"HTTP/1.1 ") == 1

    run(tmp_path, test)


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-1\r\n", b"5\r\nabcdefgh\r\n", b"1" * 30 + b"\r\n"])
def test_chunks_that_are_none(tmp_path: Path, chunk: bytes) -> None:
    """The connection ends, and nobody waits for the rest."""

    async def test(server: HttpServer) -> None:
        await server.exchange(SPEECH + b"transfer-encoding: chunked\r\n\r\n", chunk)

    run(tmp_path, test)


def test_many_requests_at_once_on_one_connection(tmp_path: Path) -> None:
    """Each is answered, in order; none is taken for the body of another."""

    async def test(server: HttpServer) -> None:
        body = b'{"input":"Hi","response_format":"pcm","seed":1}'
        speech = SPEECH + b"content-length: %d\r\n\r\n" % len(body) + body
        models = b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n"
        unknown = b"GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n"
        last = b"GET /ping HTTP/1.0\r\n\r\n"
        reply = await server.exchange((models + speech + unknown) * 20 + last)
        found = [int(each[:3]) for each in reply.split(b"HTTP/1.1 ")[1:]]
        assert found == [200, 200, 404] * 20 + [200]

    run(tmp_path, test, patience=Patience())


def test_clients_that_reset(tmp_path: Path) -> None:
    """Wherever in a request or a reply it comes."""

    async def test(server: HttpServer) -> None:
        body = b'{"input":"Hi","response_format":"wav"}'
        request = SPEECH + b"content-length: %d\r\n\r\n" % len(body) + body
        for end in range(1, len(request), 7):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request[:end])
            await asyncio.sleep(0)
            writer.transport.abort()
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(request)
            await reader.read(1000)
            writer.transport.abort()

    run(tmp_path, test)


@pytest.mark.slow
def test_a_listener_who_does_not_read(tmp_path: Path) -> None:
    """Its conversation ends, though it keeps its websocket open."""

    async def test(server: HttpServer) -> None:
        loop = asyncio.get_running_loop()
        with ExitStack() as held:
            client = connected(server, held, receive_bytes=4096)
            await loop.sock_sendall(
                client,
                b"GET /v1/speak HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n"
                b"connection: upgrade\r\n"
                b"sec-websocket-version: 13\r\nsec-websocket-key: YWFhYWFhYWFhYWFhYWFhYQ==\r\n\r\n",
            )
            assert status(await loop.sock_recv(client, 100)) == 101
            for message in (b'{"type":"Speak","text":"Hello there. "}', b'{"type":"Flush"}'):
                unmasked = bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message
                await loop.sock_sendall(client, unmasked)
            assert server.gate.num_running == 1
            await server.until(num_running=0)

    loud = np.random.default_rng(1).uniform(-0.5, 0.5, LONG).astype(np.float32)
    run(tmp_path, test, service=FixedService(loud))
