"""A client that hears a speech as it comes, over a bare socket, so that it costs little itself."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.http_worker import SECRETS


@dataclass(frozen=True, slots=True)
class Heard:
    """What a client got."""

    body: bytes
    first_s: float
    """From the request to the first byte of the body; connecting is included."""
    total_s: float
    is_whole: bool
    """Whether the body came to its end."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The body as server-sent events."""
        parts = self.body.decode().strip().split("\n\n")
        return [json.loads(each.removeprefix("data: ")) for each in parts]


async def hear(address: str, body: Mapping[str, Any], *, max_bytes: int | None = None) -> Heard:
    """Speak over HTTP and read until the end, or hang up.

    Args:
        address: host and port of the server.
        body: of OpenAI's route.
        max_bytes: after which the client hangs up; None: it stays.
    """
    host, _, port = address.partition(":")
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, int(port))
    heard, first_s, is_whole = bytearray(), 0.0, False
    try:
        writer.write(_request(address, body))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{head.decode()}{(await reader.read(500)).decode()}")
        async for piece in _pieces(reader):
            first_s = first_s or time.perf_counter() - started
            heard += piece
            if max_bytes is not None and len(heard) >= max_bytes:
                break
        else:
            is_whole = True
    finally:
        writer.close()
    return Heard(bytes(heard), first_s, time.perf_counter() - started, is_whole)


def _request(address: str, body: Mapping[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    lines = (
        "POST /v1/audio/speech HTTP/1.1",
        f"Host: {address}",
        f"Authorization: Bearer {SECRETS['HIGGS_API_KEY']}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", ""]).encode() + content


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the pieces of a chunked body; a body without its end raises IncompleteReadError."""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        yield (await reader.readexactly(size + 2))[:-2]
