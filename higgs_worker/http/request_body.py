"""The body of a request, read before anybody looks at it: bounded in size, in pace, and in total.

Once it is there, the connection tells only one thing more: that the client has gone.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from higgs_worker.errors import QueueFull, RequestRefused
from higgs_worker.http.patience import Patience

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

MAX_BODIES = 8
"""Largest bodies that are held in memory at the same time."""
_SLICE_BYTES = 1 << 16
"""Passed on at once; whoever parses a form gives way to others in between."""


class ClientGone(BaseException):
    """The client has closed the connection before its request was complete.

    As with `CancelledError`, nobody who handles failures on the way is to take it for one.
    """


class RequestBodies:
    """Reads bodies, as long as all of them together are not too large."""

    def __init__(self, max_bytes: int, patience: Patience) -> None:
        """
        Args:
            max_bytes: of one body.
            patience: how slow a client may be.
        """
        self._max_bytes = max_bytes
        self._patience = patience
        self.num_held = 0
        """Bytes of all bodies whose requests have not ended."""

    async def read(self, receive: Receive, length: str | None) -> bytes:
        """Return the whole body; `release` it when the request has ended.

        Args:
            receive: the server's.
            length: the Content-Length header, if there is one.

        Raises:
            RequestRefused: it is too large, or comes too slowly.
            QueueFull: other requests hold too much already.
            ClientGone: it breaks off.
        """
        if length is not None and length.isdecimal() and int(length) > self._max_bytes:
            raise self._too_large()
        body = bytearray()
        loop = asyncio.get_running_loop()
        latest = loop.time() + self._patience.body_start_s
        try:
            while True:
                async with asyncio.timeout_at(latest):
                    message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                piece = message.get("body", b"")
                body += piece
                latest += len(piece) / self._patience.body_bytes_per_s
                self.num_held += len(piece)
                if len(body) > self._max_bytes:
                    raise self._too_large()
                if self.num_held > MAX_BODIES * self._max_bytes:
                    raise QueueFull("other requests hold too much memory; send this again later")
                if not message.get("more_body", False):
                    return bytes(body)
        except TimeoutError:
            self.release(len(body))
            raise RequestRefused(
                f"the body came at less than {self._patience.body_bytes_per_s / 1000:g} kB/s; send "
                "it again over a faster line",
                status=408,
            ) from None
        except BaseException:
            self.release(len(body))
            raise

    def release(self, num_bytes: int) -> None:
        """Free what a body took."""
        self.num_held -= num_bytes

    def _too_large(self) -> RequestRefused:
        return RequestRefused(
            f"the body has more than the {self._max_bytes / 1e6:g} MB that HIGGS_MAX_BODY_BYTES "
            "allows; send recordings as addresses, or less at once",
            status=413,
        )


def replay(body: bytes) -> Receive:
    """Return a `receive` that gives a body slice by slice, and then waits for ever."""
    slices = iter(range(0, max(1, len(body)), _SLICE_BYTES))

    async def receive() -> Message:
        start = next(slices, None)
        if start is None:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        assert start is not None  # noqa: S101  mypy
        end = start + _SLICE_BYTES
        return {"type": "http.request", "body": body[start:end], "more_body": end < len(body)}

    return receive
