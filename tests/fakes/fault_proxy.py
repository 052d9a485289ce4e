"""A TCP proxy on loopback that fails as networks do: for a while, and in a chosen way.

It knows bytes and no protocol. A `Fault` applies to the next connections, as many as it was set
for; later ones pass.
"""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

_PIECE_BYTES = 64 * 1024
_BUFFER_BYTES = 64 * 1024  # the kernel's default megabytes would hide a slow network


class Fault:
    """No fault; the base class of all."""

    async def there(self, data: bytes) -> bytes:
        """Return the bytes that the server gets for bytes from the client."""
        return data

    async def back(self, data: bytes) -> bytes:
        """Return the bytes that the client gets for bytes from the server."""
        return data


class Reset(Fault):
    """The connection is reset after a number of bytes from the client."""

    def __init__(self, after_bytes: int) -> None:
        self._left = after_bytes

    async def there(self, data: bytes) -> bytes:
        """Pass the bytes before the reset."""
        self._left -= len(data)
        if self._left < 0:
            raise ConnectionResetError
        return data


class LostAnswer(Fault):
    """The server carries out the request, but a reset loses its answer."""

    def __init__(self, when: Callable[[bytes], bool] = lambda _: True) -> None:
        self._when = when
        self._asked = False

    async def there(self, data: bytes) -> bytes:
        """Pass everything."""
        self._asked = self._asked or self._when(data)
        return data

    async def back(self, data: bytes) -> bytes:
        """Reset instead of the first answer (`100 Continue` does not count)."""
        if self._asked and not data.startswith(b"HTTP/1.1 100"):
            raise ConnectionResetError
        return data


class Stall(Fault):
    """All bytes are dropped, and no answer comes."""

    async def there(self, data: bytes) -> bytes:
        """Drop all bytes."""
        return b""


class Slow(Fault):
    """A limited number of bytes per second goes to the server."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s

    async def there(self, data: bytes) -> bytes:
        """Pass the bytes after a delay."""
        await asyncio.sleep(len(data) / self._bytes_per_s)
        return data


class Swapped(Fault):
    """Some bytes arrive as others of the same length."""

    def __init__(self, old: bytes, new: bytes) -> None:
        self._old, self._new = old, new

    async def there(self, data: bytes) -> bytes:
        """Replace the bytes."""
        return data.replace(self._old, self._new)


class Answered(Fault):
    """A request that holds certain bytes is answered by the proxy itself."""

    def __init__(self, holding: bytes, answer: bytes) -> None:
        self._holding, self._answer = holding, answer

    async def there(self, data: bytes) -> bytes:
        """Answer a matching request; pass everything else."""
        if self._holding in data:
            raise _Answer(self._answer)
        return data


class _Answer(Exception):
    pass


class FaultProxy:
    """Passes connections on to a port of this machine."""

    def __init__(self, target_port: int) -> None:
        self.num_connections = 0
        self.port = 0
        self._target_port = target_port
        self._faults: list[Callable[[], Fault]] = []
        self._clients: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def fail(self, make: Callable[[], Fault], times: int = 1) -> None:
        """Set the fault of the next connections; each gets an instance of its own."""
        self._faults = [make] * times

    def cut(self) -> None:
        """Reset all open connections."""

        async def reset() -> None:
            for each in self._clients:
                _reset(each)

        asyncio.run_coroutine_threadsafe(reset(), self._loop).result()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.port = listener.getsockname()[1]
        async with await asyncio.start_server(self._serve, sock=listener, limit=_PIECE_BYTES):
            self._ready.set()
            await self._stopped.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        self._clients.add(writer)
        fault = self._faults.pop(0)() if self._faults else Fault()
        there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        ways = [_pass(reader, back, fault.there), _pass(there, writer, fault.back)]
        tasks = [asyncio.ensure_future(each) for each in ways]
        try:
            await asyncio.gather(*tasks)
        except _Answer as answer:
            writer.write(answer.args[0])
            await writer.drain()
        except OSError:
            _reset(writer)
        except asyncio.CancelledError:
            pass  # the proxy ends
        finally:
            self._clients.discard(writer)
            for task in tasks:
                task.cancel()
            for each in (writer, back):
                each.close()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, change: Callable[[bytes], Any]
) -> None:
    while data := await reader.read(_PIECE_BYTES):
        writer.write(await change(data))
        await writer.drain()
    writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
