"""A recording from where a caller says it is: a web address, a data URI or base64.

All of it is treated as hostile. A name is resolved once, all of its addresses must be public, and
the connection goes to an address that was checked, so that no second look-up can lead elsewhere.
Each redirect is checked in the same way. Size and time are bounded while bytes arrive. Files of
this machine are never opened. The bytes are not examined.
"""

import binascii
import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urljoin

from higgs_worker.errors import UnusableReference
from higgs_worker.voices.web_address import HOW_TO_SEND, WebAddress, is_public

_MAX_REDIRECTS = 5
_MAX_ADDRESSES = 4  # tried in turn; all of a host's addresses are checked
_MAX_PATH_CHARS = 1024  # a longer text with a "/" at its start is base64: that of an MP3 starts so
_MAX_HEADER_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

# Bounded, because base64 may be one word of 13 million letters.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}):")
_DATA = re.compile(r"data:[^,]{0,256}?;base64,", re.IGNORECASE)
_ASCII_SPACE = b" \t\r\n\f\v"
# A multiple of four characters that is decoded in 10 ms: other threads wait for each call.
_BASE64_CHARS = 1 << 20

Resolve = Callable[..., Sequence[tuple[Any, ...]]]
"""A function like `socket.getaddrinfo`."""
Connect = Callable[[tuple[str, int], float], socket.socket]
"""A function like `socket.create_connection`; it gets an address, never a name."""


def download(
    source: str,
    *,
    max_bytes: int,
    timeout_s: float,
    allowed_hosts: frozenset[str] = frozenset(),
    resolve: Resolve = socket.getaddrinfo,
    connect: Connect = socket.create_connection,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """Return the bytes of a recording; blocks the calling thread for at most `timeout_s`.

    Args:
        source: an http or https address, a `data:…;base64,` URI, or bare base64.
        max_bytes: the largest recording accepted.
        timeout_s: for everything together: names, redirects, body.
        allowed_hosts: hosts that the operator permits although they are not public: `host` or
            `host:port`, as written in an address.
        resolve: finds the addresses of a name.
        connect: opens a connection to one of them.
        tls: whose certificates to trust; None for the system's.

    Raises:
        UnusableReference: the recording is out of reach or too large. Of an address, the text
            repeats only the host.
    """
    source = source.strip()
    if not source:
        raise UnusableReference(f"the reference audio is empty; {HOW_TO_SEND}")
    if _DATA.match(source):
        return _decode(source.partition(",")[2], max_bytes)
    scheme = _SCHEME.match(source)
    if scheme is None:
        if (source[0] == "/" and len(source) <= _MAX_PATH_CHARS) or any(
            each in source for each in ".~\\"
        ):
            raise UnusableReference(
                "the reference audio looks like a file's path or like an address without its "
                f"https://, and no file of the worker's machine is opened; {HOW_TO_SEND}"
            )
        return _decode(source, max_bytes)
    if scheme[1].lower() == "data":
        raise UnusableReference("a data URI must be of the form data:audio/wav;base64,…")
    download = _RecordingDownload(max_bytes, timeout_s, allowed_hosts, resolve, connect, tls)
    return download.run(source)


def _decode(text: str, max_bytes: int) -> bytes:
    """Decode base64 whose size is known to be within the bound before it is decoded."""
    max_chars = 4 * -(-max_bytes // 3)
    if len(text) > 2 * max_chars:  # line breaks may be many, but not half of it
        raise _too_large(max_bytes)
    try:
        packed = text.encode("ascii").translate(None, _ASCII_SPACE)
        if len(packed) > max_chars:
            raise _too_large(max_bytes)
        if len(packed) % 4 or b"=" in packed[:-2]:  # more padding than belongs there
            raise ValueError
        data = b"".join(
            binascii.a2b_base64(packed[start : start + _BASE64_CHARS], strict_mode=True)
            for start in range(0, len(packed), _BASE64_CHARS)
        )
    except ValueError as error:
        raise UnusableReference(
            "the reference audio is not valid base64: it needs the standard alphabet (+ and /) and "
            f"its padding (=); {HOW_TO_SEND}"
        ) from error
    if not data:
        raise UnusableReference(f"the reference audio is empty; {HOW_TO_SEND}")
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data


def _too_large(max_bytes: int) -> UnusableReference:
    return UnusableReference(
        f"the reference audio is larger than the {max_bytes} bytes that are taken; send a shorter "
        "or compressed recording",
        details={"max_bytes": max_bytes},
    )


@dataclass(slots=True)
class _RecordingDownload:
    """One download, with its bounds and its deadline."""

    max_bytes: int
    timeout_s: float
    allowed_hosts: frozenset[str]
    resolve: Resolve
    connect: Connect
    tls: ssl.SSLContext | None
    _deadline: float = 0.0

    def run(self, url: str) -> bytes:
        """Return the recording, after any redirects."""
        self._deadline = time.monotonic() + self.timeout_s
        for _ in range(_MAX_REDIRECTS + 1):
            address = WebAddress.parse(url)
            try:
                found = self._get(address)
                if isinstance(found, bytes):
                    return found
                url = urljoin(address.url, found)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise UnusableReference(self._explain(address.host, error)) from error
        raise UnusableReference(
            f"{address.host!r} redirects more than {_MAX_REDIRECTS} times; send the last address"
        )

    def _left_s(self) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def _get(self, address: WebAddress) -> bytes | str:
        """Return the body, or the address of a redirect."""
        with self._open(address) as sock:
            sock.settimeout(self._left_s())
            sock.sendall(address.head())
            wire = _Wire(sock, self._left_s)
            # It only calls its socket's `makefile`.
            response = http.client.HTTPResponse(cast(socket.socket, wire), method="GET")
            response.begin()
            if response.status in _REDIRECTS:
                location = response.headers.get("Location")
                if location is None:
                    raise http.client.HTTPException
                # Headers are read as latin-1, addresses are meant as UTF-8.
                return location.encode("latin-1", "replace").decode("utf-8", "replace")
            self._check_head(address.host, response)
            # Every chunk has a frame, so a body of tiny chunks is larger than its bytes.
            wire.budget = 2 * self.max_bytes + _MAX_HEADER_BYTES
            return self._body(address.host, response)

    def _open(self, address: WebAddress) -> socket.socket:
        """Connect to one of the host's addresses, after all of them have been checked."""
        candidates = self._addresses(address)
        for num_left in range(len(candidates), 0, -1):
            target = (candidates[-num_left], address.port)
            try:
                # An address that never answers must leave time for the next.
                sock = self.connect(target, self._left_s() / num_left)
                break
            except OSError:
                if num_left == 1:
                    raise
        if address.scheme == "http":
            return sock
        try:
            sock.settimeout(self._left_s())
            tls = ssl.create_default_context() if self.tls is None else self.tls
            return tls.wrap_socket(sock, server_hostname=address.host)
        except BaseException:
            sock.close()
            raise

    def _addresses(self, address: WebAddress) -> list[str]:
        """Return the host's addresses if the worker may connect to all of them."""
        if address.literal is not None:
            found = [str(address.literal)]
        else:
            answer = self._resolve(address)
            found = list(dict.fromkeys(str(each[4][0]) for each in answer))
        names = {address.netloc, f"{address.netloc}:{address.port}"}
        if not names & {each.lower() for each in self.allowed_hosts} and not all(
            is_public(ip_address(each)) for each in found
        ):
            raise UnusableReference(
                f"{address.host!r} is not on the public internet, and the worker goes nowhere "
                "else; send the recording itself as base64"
            )
        if not found:
            raise socket.gaierror
        return found[:_MAX_ADDRESSES]

    def _resolve(self, address: WebAddress) -> Sequence[tuple[Any, ...]]:
        """Return the answer for the host's name; the system's resolver has no deadline, so it
        runs in a thread of its own."""
        answer: Future[Sequence[tuple[Any, ...]]] = Future()

        def resolve() -> None:
            try:
                answer.set_result(self.resolve(address.host, address.port, type=socket.SOCK_STREAM))
            except Exception as error:
                answer.set_exception(error)

        threading.Thread(target=resolve, name="resolve", daemon=True).start()
        return answer.result(self._left_s())

    def _check_head(self, host: str, response: http.client.HTTPResponse) -> None:
        if response.status != 200:
            raise UnusableReference(
                f"{host!r} answered with status {response.status}; check that the address of the "
                "reference audio still works and needs no login",
                details={"status": response.status},
            )
        encoding = response.headers.get("Content-Encoding", "identity")
        transfer = response.headers.get("Transfer-Encoding", "chunked")
        if encoding.lower() != "identity" or transfer.lower() != "chunked":
            raise UnusableReference(
                f"{host!r} sends the reference audio packed; let it send the file as it is, or "
                "send the recording itself as base64"
            )
        if response.length is not None and response.length > self.max_bytes:
            raise _too_large(self.max_bytes)

    def _body(self, host: str, response: http.client.HTTPResponse) -> bytes:
        body = bytearray()
        while piece := response.read(_PIECE_BYTES):
            body += piece
            if len(body) > self.max_bytes:
                raise _too_large(self.max_bytes)
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        if not body:
            raise UnusableReference(f"{host!r} sends an empty file; {HOW_TO_SEND}")
        return bytes(body)

    def _explain(self, host: str, error: Exception) -> str:
        """Return what went wrong and what to do, without any text from the server."""
        if isinstance(error, TimeoutError):
            return (
                f"{host!r} did not deliver the reference audio within {self.timeout_s:g} s; send "
                "an address that is quicker, or the recording itself as base64"
            )
        if isinstance(error, socket.gaierror):
            return f"{host!r} has no address that could be found; check its spelling"
        if isinstance(error, ssl.SSLError):
            return f"{host!r} gave no certificate that proves its name; correct it there"
        if isinstance(error, OSError | http.client.IncompleteRead):
            return f"the connection to {host!r} failed or broke off; check the address, then retry"
        return f"{host!r} does not answer as a web server should; check the address and its port"


class _Wire(io.RawIOBase):
    """Bytes from a connection: until the deadline, and no more than the budget.

    `HTTPResponse` bounds the length of lines, but not their sum, nor what it reads for a chunk of
    length -1.
    """

    def __init__(self, sock: socket.socket, left_s: Callable[[], float]) -> None:
        self._sock = sock
        self._left_s = left_s
        self.budget = _MAX_HEADER_BYTES

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader, as a socket does for `HTTPResponse`."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return true, which `BufferedReader` requires."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive available bytes; waits no longer than the time left."""
        self._sock.settimeout(self._left_s())
        num_bytes = self._sock.recv_into(buffer)
        self.budget -= num_bytes
        if self.budget < 0:
            raise http.client.HTTPException
        return num_bytes
