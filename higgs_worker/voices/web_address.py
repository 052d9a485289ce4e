"""The web address of a recording, with every part checked, and which IP addresses are public.

Callers choose the address, so anything that two parsers could read differently is refused. Opens no
connection and resolves no name.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from urllib.parse import quote, urlsplit

from higgs_worker.errors import UnusableReference

HOW_TO_SEND = "send an http or https address, a data URI or base64"
"""The end of the sentences about recordings that cannot be used."""

_MAX_URL_CHARS = 8192  # enough for the signed addresses of object stores
_PORTS = {"http": 80, "https": 443}
_USER_AGENT = "higgs-worker"

# Parsers disagree about these characters; no address may hold one.
_AMBIGUOUS = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

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


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An http or https address whose parts have all been checked."""

    url: str
    scheme: str
    host: str
    """Lower case ASCII, without brackets or trailing dot."""
    port: int
    literal: IPv4Address | IPv6Address | None
    """The host, if it is an IP address."""

    @classmethod
    def parse(cls, url: str) -> "WebAddress":
        """Return a checked address.

        Raises:
            UnusableReference: it is no http or https address, or an ambiguous one.
        """
        if not url.lower().startswith(("http:", "https:")):
            raise UnusableReference(
                "reference audio comes by http or https only, and no file of the worker's machine "
                f"is opened; {HOW_TO_SEND}"
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
