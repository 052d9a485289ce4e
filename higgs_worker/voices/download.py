"""A recording from where a caller says it is: a web address, a data URI or base64.

All of it is treated as hostile. A name is resolved once, all of its addresses must be public, and
the connection goes to an address that was checked, so that no second look-up can lead elsewhere.
Each redirect is checked in the same way. Size and time are bounded while bytes arrive. Files of
this machine are never opened. Knows nothing of audio: the bytes are not examined.
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
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, cast
from urllib.parse import quote, urljoin, urlsplit

from higgs_worker.errors import UnusableReference

_MAX_REDIRECTS = 5
_MAX_ADDRESSES = 4  # tried in turn; all of a host's addresses are checked
_MAX_URL_CHARS = 8192  # enough for the signed addresses of object stores
_MAX_PATH_CHARS = 1024  # a longer text with a "/" at its start is base64: that of an MP3 starts so
_MAX_HEADER_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_USER_AGENT = "higgs-worker"
_HOW = "send an http or https address, a data URI or base64"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_DATA = re.compile(r"data:[^,]{0,256}?;base64,", re.IGNORECASE)
# Parsers disagree about these characters; no address may hold one.
_AMBIGUOUS = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_ASCII_SPACE = {ord(each): None for each in " \t\r\n\f\v"}

# Some patch releases of Python count these as `is_global`.
# Source: IANA's registries of special-purpose addresses.
_NOT_PUBLIC = (
    ip_network("168.63.129.16/32"),  # public by its number, but the inside of Azure
    ip_network("192.0.0.0/24"),  # protocol assignments, and Oracle's metadata service
    ip_network("192.88.99.0/24"),  # 6to4 relays, no longer in use
    ip_network("224.0.0.0/3"),  # multicast, reserved, broadcast
    ip_network("2001::/23"),  # protocol assignments, among them Teredo
    ip_network("2002::/16"),  # 6to4: an IPv4 address inside, and no longer in use
    ip_network("3fff::/20"),  # documentation
)
_UNICAST_V6 = IPv6Network("2000::/3")  # all that was ever given out
_NAT64 = IPv6Network("64:ff9b::/96")

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
        raise UnusableReference(f"the reference audio is empty; {_HOW}")
    if _DATA.match(source):
        return _decode(source.partition(",")[2], max_bytes)
    scheme = _SCHEME.match(source)
    if scheme is None:
        if (source[0] == "/" and len(source) <= _MAX_PATH_CHARS) or re.search(r"[.~\\]", source):
            raise UnusableReference(
                "the reference audio looks like a file's path or like an address without its "
                f"https://, and no file of the worker's machine is opened; {_HOW}"
            )
        return _decode(source, max_bytes)
    if scheme[1].lower() == "data":
        raise UnusableReference("a data URI must be of the form data:audio/wav;base64,…")
    download = _RecordingDownload(max_bytes, timeout_s, allowed_hosts, resolve, connect, tls)
    return download.run(source)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address, and any address inside it, is on the public internet."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _UNICAST_V6:
            return False
    return address.is_global and not any(address in each for each in _NOT_PUBLIC)


def _decode(text: str, max_bytes: int) -> bytes:
    """Decode base64 whose size is known to be within the bound before it is decoded."""
    max_chars = 4 * -(-max_bytes // 3)
    if len(text) <= 2 * max_chars:  # line breaks may be many, but not half of it
        text = text.translate(_ASCII_SPACE)
    if len(text) > max_chars:
        raise _too_large(max_bytes)
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
        if len(text) % 4:  # more padding than belongs there
            raise ValueError
    except ValueError as error:
        raise UnusableReference(
            "the reference audio is not valid base64: it needs the standard alphabet (+ and /) and "
            f"its padding (=); {_HOW}"
        ) from error
    if not data:
        raise UnusableReference(f"the reference audio is empty; {_HOW}")
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data


def _too_large(max_bytes: int) -> UnusableReference:
    return UnusableReference(
        f"the reference audio is larger than the {max_bytes} bytes that are taken; send a shorter "
        "or compressed recording",
        details={"max_bytes": max_bytes},
    )


@dataclass(frozen=True, slots=True)
class _Address:
    """An http or https address whose parts have all been checked."""

    url: str
    scheme: str
    host: str
    """Lower case ASCII, without brackets or trailing dot."""
    port: int
    literal: IPv4Address | IPv6Address | None
    """The host, if it is an IP address."""

    @classmethod
    def parse(cls, url: str) -> "_Address":
        if not url.lower().startswith(("http:", "https:")):
            raise UnusableReference(
                "reference audio comes by http or https only, and no file of the worker's machine "
                f"is opened; {_HOW}"
            )
        if len(url) > _MAX_URL_CHARS or _AMBIGUOUS.search(url):
            raise UnusableReference(
                f"the address of the reference audio is longer than {_MAX_URL_CHARS} characters or "
                "holds a backslash or a control character; send one that a browser would show"
            )
        literal: IPv4Address | IPv6Address | None = None
        try:
            parts = urlsplit(url)
            if "@" in parts.netloc:
                raise UnusableReference(
                    "the address of the reference audio holds a user name or password; send one "
                    "that needs none, such as a signed address"
                )
            host = (parts.hostname or "").encode("idna").decode("ascii").lower().removesuffix(".")
            if parts.netloc.startswith("[") and "%" not in host:
                literal = IPv6Address(host)
            elif not _HOST.fullmatch(host):
                raise ValueError
            elif _NUMBER.fullmatch(host.rpartition(".")[2]):
                literal = IPv4Address(host)  # 127.1, 0x7f.1 and 017700000001 are none
            port = _PORTS[parts.scheme] if parts.port is None else parts.port
        except ValueError as error:  # UnicodeError among them
            raise UnusableReference(
                "the address of the reference audio has no valid host or port; send one such as "
                "https://example.com/voice.wav"
            ) from error
        return cls(url, parts.scheme, host, port, literal)

    @property
    def netloc(self) -> str:
        """The host as written in an address."""
        return f"[{self.host}]" if isinstance(self.literal, IPv6Address) else self.host

    def head(self) -> bytes:
        """Return the request, which asks for unencoded bytes and carries nothing else."""
        parts = urlsplit(self.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        lines = (
            f"GET {quote(target, safe='%/:=&?~+!$,;@()*[]|')} HTTP/1.1",
            f"Host: {self.netloc}{port}",
            f"User-Agent: {_USER_AGENT}",
            "Accept: */*",
            "Accept-Encoding: identity",
            "Connection: close",
        )
        return "".join(f"{each}\r\n" for each in (*lines, "")).encode("ascii")


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
            address = _Address.parse(url)
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

    def _get(self, address: _Address) -> bytes | str:
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

    def _open(self, address: _Address) -> socket.socket:
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

    def _addresses(self, address: _Address) -> list[str]:
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

    def _resolve(self, address: _Address) -> Sequence[tuple[Any, ...]]:
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
            raise UnusableReference(f"{host!r} sends an empty file; {_HOW}")
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
