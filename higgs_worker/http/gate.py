"""What every request passes: its id, the key, bounds of its body, an end when the client goes.

An ASGI application around another one. Whatever it refuses gets a reply in OpenAI's envelope.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders

from higgs_worker.delivery.responder import Responder
from higgs_worker.errors import QueueFull, RequestRefused, WorkerError, WorkerStopping
from higgs_worker.http.access import Access
from higgs_worker.http.error_reply import error_reply, socket_refusal
from higgs_worker.http.patience import Patience
from higgs_worker.http.request_body import ClientGone, Message, Receive, RequestBodies, replay
from higgs_worker.logs import job_context

OPEN_PATHS = frozenset({"/", "/ping", "/health/live", "/health/ready", "/docs", "/openapi.json"})
"""Platforms ask there without a key, and browsers; what is documented is no secret."""
OPEN_PREFIX = "/page/"
"""The files of the page, which asks for the key itself."""
MAX_QUERY_CHARS = 4096
"""More than any parameter of ours, and little enough to be read in no time."""
MAX_RUNNING = 900
"""Requests and websockets at once. Fewer than the server has connections, for checks of health."""
MAX_PART_BYTES = 1 << 16
"""Of a reply, sent at once: the server keeps what it was given, however long nobody reads it."""
REQUEST_ID = "x-request-id"
_HEADS = ("http.response.start", "websocket.accept", "websocket.http.response.start")
_USABLE_ID = re.compile(r"[A-Za-z0-9._:~@=+-]{1,128}")

Scope = Message
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)


class Gate:
    """Lets requests in to an application, counts them, and stops letting them in."""

    def __init__(
        self,
        app: App,
        responder: Responder,
        *,
        access: Access,
        max_body_bytes: int,
        patience: Patience,
    ) -> None:
        """
        Args:
            app: gets the requests that come in.
            responder: logs failures.
            access: decides who may use the server.
            max_body_bytes: of one request.
            patience: how slow a client may be.
        """
        self._app = app
        self._responder = responder
        self._access = access
        self._bodies = RequestBodies(max_body_bytes, patience)
        self._patience = patience
        self._num_running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = asyncio.Event()

    @property
    def num_running(self) -> int:
        """Requests and websockets that have not ended, open paths apart."""
        return self._num_running

    @property
    def num_body_bytes(self) -> int:
        """Bytes of the bodies that are held."""
        return self._bodies.num_held

    @property
    def stopping(self) -> asyncio.Event:
        """Set when no more requests come in."""
        return self._stopping

    async def drain(self, timeout_s: float) -> None:
        """Let nobody in any more, and wait for those that are in."""
        self._stopping.set()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            log.warning("%d requests did not end in time", self._num_running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of events go to the application."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        found = headers.get(REQUEST_ID, "")
        request_id = found if _USABLE_ID.fullmatch(found) else f"req_{secrets.token_hex(12)}"
        exchange = _Exchange(scope, receive, send, request_id, self._patience)
        # What routes tell the log about a request.
        scope.setdefault("state", {}).update(request_id=request_id, started=exchange.started)
        if scope["type"] == "http" and _is_open(scope["path"]):
            await self._app(scope, receive, exchange.send)
            return
        with job_context(request_id):
            await self._let_in(exchange, headers)

    async def _let_in(self, exchange: "_Exchange", headers: Headers) -> None:
        self._num_running += 1
        self._idle.clear()
        try:
            self._check(exchange, headers)
            if self._num_running > MAX_RUNNING:
                raise QueueFull(f"{MAX_RUNNING} requests are running; send this again later")
            if exchange.is_websocket:
                await self._app(exchange.scope, exchange.receive, exchange.send)
            else:
                await self._answer(exchange, headers)
        except ClientGone:
            self._responder.record_cancel(exchange.started)
        except Exception as error:
            if not exchange.has_begun:
                failure = self._responder.to_error(exchange.id, error, exchange.started)
                await exchange.refuse(failure)
            # Otherwise the reply says it already, or the server cuts it off.
        finally:
            self._num_running -= 1
            if not self._num_running:
                self._idle.set()

    def _check(self, exchange: "_Exchange", headers: Headers) -> None:
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy in front may believe the other one, and take what follows for the body.
            exchange.is_last = True
            raise RequestRefused("Content-Length and Transfer-Encoding contradict", status=400)
        scope = exchange.scope
        method = "WEBSOCKET" if exchange.is_websocket else scope["method"]
        query = scope["query_string"].decode("latin-1")
        if len(query) > MAX_QUERY_CHARS:
            raise RequestRefused(
                f"the address has more than {MAX_QUERY_CHARS} characters behind its ?; send a body",
                status=414,
            )
        names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
        self._access.check(method, names, headers)
        if self._stopping.is_set():
            raise WorkerStopping("this worker is stopping; send the request again, to another one")

    async def _answer(self, exchange: "_Exchange", headers: Headers) -> None:
        body = await self._bodies.read(exchange.receive, headers.get("content-length"))
        answering = asyncio.ensure_future(self._app(exchange.scope, replay(body), exchange.send))
        leaving = asyncio.create_task(_client_goes(exchange.receive))
        try:
            await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and not exchange.is_complete:
                raise ClientGone
            await answering
        finally:
            leaving.cancel()
            answering.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
            self._bodies.release(len(body))


class _Exchange:
    """One request and its reply."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, id: str, patience: Patience
    ) -> None:
        self.scope, self.receive, self.id = scope, receive, id
        self.started = time.perf_counter()
        self.is_websocket = scope["type"] == "websocket"
        self.has_begun = False
        """Whether the client has been sent something."""
        self.is_complete = False
        self.is_last = False
        """Whether the connection ends with it."""
        self._send = send
        self._patience = patience

    async def send(self, message: Message) -> None:
        """Pass a part of the reply on; its head gets the request's id."""
        if message["type"] in _HEADS:
            self.has_begun = True
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            headers[REQUEST_ID] = self.id
            if self.is_last:
                headers["connection"] = "close"
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            last = max(0, len(body) - 1) // MAX_PART_BYTES * MAX_PART_BYTES
            for start in range(0, last, MAX_PART_BYTES):
                part = body[start : start + MAX_PART_BYTES]
                await self._send_in_time({**message, "body": part, "more_body": True})
            message = {**message, "body": body[last:]}
            self.is_complete = not message.get("more_body", False)
        await self._send_in_time(message)

    async def _send_in_time(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._patience.unread_s):
                await self._send(message)
        except TimeoutError:
            raise ClientGone from None

    async def refuse(self, error: WorkerError) -> None:
        """Send a whole reply in place of the application's."""
        reply = socket_refusal(error) if self.is_websocket else error_reply(error)
        await reply(self.scope, self.receive, self.send)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_PREFIX)


async def _client_goes(receive: Receive) -> None:
    """Wait until the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
