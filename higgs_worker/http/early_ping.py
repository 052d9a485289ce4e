"""Answers on the health port until the worker's server does: 204 to health checks, 503 to the rest.

    python3 -I early_ping.py HOST PORT PROGRAM [ARG...]

bootstrap.sh runs this file by itself, before it installs anything, so it needs nothing but Python.
It listens, leaves a process behind that answers, and becomes the program.

A pair of sockets joins the two. The program inherits one end, whose number is HIGGS_EARLY_PING, and
the listening socket lies in it, ready to be received (`listening.py`). As soon as nobody holds that
end any more, the process here stops accepting, finishes what it has accepted, and ends: the server
has taken over, or the worker is dead. The listening socket stays the same all the time, so that no
connection is refused or lost.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from typing import NoReturn

HEALTHY_PATHS = (b"/ping", b"/health/live")
"""204 there says: starting. `/health/ready` is among the rest, because nothing is ready."""
MAX_S = 2.0
"""How long a connection may last; a health check takes milliseconds."""
MAX_CONNECTIONS = 64
"""At once; a further one ends the oldest, so that nobody who only waits keeps a check out."""
MAX_LINE_BYTES = 8192
"""Of a request's first line: as much as servers usually accept."""
BACKLOG = 128
"""Connections that wait to be accepted: all of those that a balancer opens in a second or two."""
RETRY_AFTER_S = 5
"""Importing the worker takes about as long, and installing it is not over at a foreseeable time."""

_ERROR = {
    "message": "the worker is starting; send this again in some seconds",
    "type": "server_error",
    "param": None,
    "code": "worker_starting",
}


def main(host: str, port: str, program: str, *arguments: str) -> NoReturn:
    """Listen, start to answer in a process of its own, and become the program."""
    listener = _listen(host, port)
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [b"."], [listener.fileno()])
    if os.fork() == 0:
        # The program would have to wait for a child; an orphan's end is not its business.
        if os.fork() == 0:
            theirs.close()
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
            asyncio.run(_Answers(listener).give(until_closed=ours))
        os._exit(0)
    os.wait()
    theirs.set_inheritable(True)
    os.environ["HIGGS_EARLY_PING"] = str(theirs.fileno())
    os.execv(program, [program, *arguments])  # noqa: S606 -- bootstrap.sh, as it was called


def _listen(host: str, port: str) -> socket.socket:
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        sys.exit(f"bootstrap: error: PORT and PORT_HEALTH are numbers up to 65535, not {port!r}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
    except PermissionError:
        sys.exit(
            f"bootstrap: error: port {port} is for root alone here, and this is user {os.getuid()}:"
            " set PORT and PORT_HEALTH to a port above 1023, such as 8000, and expose that one"
        )
    except OSError as error:
        sys.exit(
            f"bootstrap: error: nothing can listen on port {port} of {host} ({error.strerror}): set"
            " PORT and PORT_HEALTH to a free port, and HIGGS_HOST to an address of this machine"
        )


class _Answers:
    """Answers every connection with one reply."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: dict[asyncio.Task[None], None] = {}
        """One for each open connection, oldest first."""

    async def give(self, *, until_closed: socket.socket) -> None:
        """Answer until nobody holds the other end of `until_closed`."""
        loop = asyncio.get_running_loop()
        closed = asyncio.Event()
        # An asyncio server that is closed would drop what it has accepted in the same instant.
        self._listener.setblocking(False)
        loop.add_reader(self._listener, self._accept)
        loop.add_reader(until_closed, closed.set)
        await closed.wait()
        loop.remove_reader(self._listener)
        self._listener.close()
        if self._running:
            await asyncio.wait(self._running, timeout=MAX_S)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the server was faster, or the client is gone
            return
        task = asyncio.get_running_loop().create_task(_answer(connection))
        self._running[task] = None
        task.add_done_callback(lambda task: self._running.pop(task, None))
        if len(self._running) > MAX_CONNECTIONS:
            oldest = next(iter(self._running))
            del self._running[oldest]  # its end takes a moment, in which more may come
            oldest.cancel()


async def _answer(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection, limit=MAX_LINE_BYTES)
    # A client may go, dawdle, or send what is no HTTP: none of it matters here.
    with contextlib.closing(writer), contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(MAX_S):
            writer.write(_reply(await reader.readline()))
            writer.write_eof()
            # Closing now would take the reply back from a client that is still sending.
            while await reader.read(MAX_LINE_BYTES):
                pass


def _reply(line: bytes) -> bytes:
    """Return the whole reply to a request, by its first line."""
    method, _, rest = line.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method in (b"GET", b"HEAD") and path in HEALTHY_PATHS:
        return b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    body = json.dumps({"error": _ERROR}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: {RETRY_AFTER_S}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else body)


if __name__ == "__main__":
    main(*sys.argv[1:])
