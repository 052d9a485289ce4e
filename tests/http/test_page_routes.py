"""The page and its files over HTTP: open to all, with a strict policy, and nothing beside them."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from higgs_worker.http.page_routes import HEADERS, PAGE
from tests.fakes.http_server import HttpServer, serving_http

Test = Callable[[HttpServer], Awaitable[None]]
NAMES = sorted(each.name for each in PAGE.iterdir())


def run(volume: Path, test: Test) -> None:
    """Run a test of a server that wants a key."""

    async def serve() -> None:
        async with serving_http(volume, HIGGS_API_KEY="theKeyOfThisServer") as server:
            await test(server)

    asyncio.run(serve())


def test_everybody_gets_the_page(tmp_path: Path) -> None:
    """It asks for the key itself, so it comes without one: each file, as it is, with its kind."""

    async def test(server: HttpServer) -> None:
        kinds = {
            ".html": "text/html",
            ".css": "text/css",
            ".js": "javascript",
            ".svg": "image/svg+xml",
        }
        for name in NAMES:
            path = "/" if name == "index.html" else f"/page/{name}"
            reply = await server.client.get(path)
            assert reply.status_code == 200, name
            assert reply.content == (PAGE / name).read_bytes()
            assert kinds[Path(name).suffix] in reply.headers["content-type"]
            assert HEADERS.items() <= dict(reply.headers).items()
        head = await server.client.head("/")
        assert head.status_code == 200
        assert not head.content

    run(tmp_path, test)


def test_a_file_that_is_there_already_is_not_sent_again(tmp_path: Path) -> None:
    """Browsers ask each time, and a new version of the worker has a new page at once."""

    async def test(server: HttpServer) -> None:
        for path in ("/", "/page/main.js"):
            etag = (await server.client.get(path)).headers["etag"]
            again = await server.client.get(path, headers={"if-none-match": etag})
            assert again.status_code == 304
            assert not again.content
            assert HEADERS.items() <= dict(again.headers).items()

    run(tmp_path, test)


def test_nothing_else_is_open(tmp_path: Path) -> None:
    """Neither files of the worker nor routes that need the key, however the address is written."""

    async def test(server: HttpServer) -> None:
        for path in (
            "/page/nothing.js",
            "/page/",
            "/page/../page_routes.py",
            "/page/%2e%2e/page_routes.py",
            "/page/..%2fpage_routes.py",
            "/page/..%5cpage_routes.py",
            "/page//etc/passwd",
            "/page/%2fetc%2fpasswd",
            "/page/x%00.js",
            "/page/../v1/models",
        ):
            request = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            reply = await server.exchange(request.encode())
            assert reply.startswith(b"HTTP/1.1 404"), (path, reply[:300])
            assert b'"request_refused"' in reply
        assert (await server.client.get("/page")).status_code in (401, 404)
        assert (await server.client.post("/")).status_code == 405

    run(tmp_path, test)
