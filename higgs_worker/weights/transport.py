"""How httpx2 reaches the hub: through urllib3, which takes a sixth of the CPU time for a body.

httpx2's own transport reads 64 KB at a time through a parser in Python. All else stays its own,
such as redirects and what must not follow them. urllib3 bounds each wait and not their sum, though
a head may come a byte at a time; so this transport knows the sockets that threads wait for.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from urllib.request import getproxies, proxy_bypass

import httpx2
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, IncompleteRead, ReadTimeoutError
from urllib3.response import HTTPResponse

from higgs_worker.weights.retry import Limits

_PIECE_BYTES = 1 << 18  # as much as a fast connection has at once; larger pieces gain nothing
_AGAIN_S = 0.1  # a redirect may have opened another connection


class UrllibTransport(httpx2.BaseTransport):
    """Connections to any host, directly or by the proxy of the environment, for several threads."""

    def __init__(self, limits: Limits) -> None:
        """
        Args:
            limits: how long to wait, and how many connections to a host are kept.
        """
        self._limits = limits
        self._tls = httpx2.create_ssl_context()  # trusts whom the environment names, else certifi's
        self._managers: dict[str | None, urllib3.PoolManager] = {}  # by proxy
        self._sockets: dict[int, Callable[[], socket.socket | None]] = {}  # by waiting thread
        self._is_stopped = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request without a body, and return the answer before its body is read."""
        with _errors():
            answer = self._manager(request.url).request(
                request.method,
                str(request.url),
                headers=request.headers,
                redirect=False,
                retries=False,
                preload_content=False,
                timeout=self._limits.silence_s,
            )
        headers = list(answer.headers.items())
        return httpx2.Response(answer.status, headers=headers, stream=_AnswerBody(answer))

    def close(self) -> None:
        """Close all connections."""
        for each in self._managers.values():
            each.clear()

    def stop(self) -> None:
        """Make what all threads wait for, now and later, end with an error."""
        self._is_stopped = True
        for thread in list(self._sockets):
            self._shut(thread)

    @contextmanager
    def limit(self) -> Iterator[None]:
        """Give all that this thread requests inside the time for one answer.

        Raises:
            TimeoutError: that is over.
        """
        is_done, is_late, thread = threading.Event(), threading.Event(), threading.get_ident()

        def watch() -> None:
            delay = self._limits.answer_s
            while not is_done.wait(delay):
                is_late.set()
                self._shut(thread)
                delay = _AGAIN_S

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            is_done.set()
            if is_late.is_set():  # even without an error: a head that was cut off passes as one
                raise TimeoutError

    def _shut(self, thread: int) -> None:
        """End the connection that a thread waits for; closing it would not wake that thread."""
        sock = self._sockets.get(thread, lambda: None)()
        with suppress(OSError):  # it is closed already
            if sock is not None:
                # Not SSLSocket's own: after that, encrypted bytes would be read as plain ones.
                socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)

    def _manager(self, url: httpx2.URL) -> urllib3.PoolManager:
        proxies = getproxies()
        proxy = proxies.get(url.scheme, proxies.get("all"))
        if proxy and proxy_bypass(url.netloc.decode()):
            proxy = None
        return self._managers.get(proxy) or self._managers.setdefault(proxy, self._create(proxy))

    def _create(self, address: str | None) -> urllib3.PoolManager:
        size = self._limits.num_connections
        manager = urllib3.PoolManager(maxsize=size, ssl_context=self._tls)
        if address is not None:
            proxy = httpx2.Proxy(address if "://" in address else f"http://{address}")
            manager = urllib3.ProxyManager(
                str(proxy.url),
                maxsize=size,
                ssl_context=self._tls,
                proxy_ssl_context=self._tls,
                proxy_headers=urllib3.make_headers(proxy_basic_auth=":".join(proxy.auth or ())),
            )
        manager.pool_classes_by_scheme = {
            "http": self._watched(urllib3.HTTPConnectionPool, HTTPConnection),
            "https": self._watched(urllib3.HTTPSConnectionPool, HTTPSConnection),
        }
        return manager

    def _watched(
        self, pool: type[urllib3.HTTPConnectionPool], connection: type[HTTPConnection]
    ) -> type[urllib3.HTTPConnectionPool]:
        """Return a class of pools whose connections tell which socket a thread waits for."""

        def wait_for(socket_of: Callable[[], socket.socket | None]) -> None:
            self._sockets[threading.get_ident()] = socket_of
            if self._is_stopped:
                raise ConnectionAbortedError("stopped")

        class Watched(connection):  # type: ignore[misc,valid-type]
            def connect(self) -> None:
                wait_for(lambda: self.sock)
                super().connect()

            def getresponse(self) -> HTTPResponse:
                sock = self.sock  # the connection forgets it when this is its last answer
                wait_for(lambda: sock)
                answer: HTTPResponse = super().getresponse()
                return answer

        return type("WatchedPool", (pool,), {"ConnectionCls": Watched})


class _AnswerBody(httpx2.SyncByteStream):
    """The body of an answer, as it arrives."""

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _errors():
            while piece := self._answer.read1(_PIECE_BYTES, decode_content=False):
                yield piece

    def close(self) -> None:
        self._answer.close()  # a connection with nothing left to read has gone back to its pool


@contextmanager
def _errors() -> Iterator[None]:
    """Turn urllib3's errors into httpx2's, with the cause's text: theirs may hold addresses."""
    try:
        yield
    except ReadTimeoutError as error:
        raise httpx2.ReadTimeout("nothing came for too long") from error
    except HTTPError as error:
        cause = error.args[-1] if error.args else error
        if isinstance(cause, IncompleteRead):
            cause = "peer closed connection before the end of its answer"
        raise httpx2.TransportError(str(cause)) from error
