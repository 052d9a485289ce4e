"""Who may use the server: the operator's key, and pages of the operator's own.

A browser sends a page's requests without asking anybody, also to a worker on the same machine. So
what a foreign page sends is refused, unless the operator named its origin.
"""

import hmac
from collections.abc import Collection

from starlette.datastructures import Headers

from higgs_worker.errors import AccessRefused, RequestRefused

_SCHEMES = ("bearer", "token")
"""`Token` is what Deepgram's clients send."""
_PROTOCOL = "token"
"""A browser cannot set headers of a websocket; Deepgram's page sends the key as a subprotocol."""
_KEYS_IN_QUERY = ("api_key", "apikey", "api-key", "key", "token", "access_token", "authorization")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """Decides whether a request may come in."""

    def __init__(self, api_key: str | None, origins: Collection[str]) -> None:
        """
        Args:
            api_key: what requests must carry; None: nothing.
            origins: of pages that may use the server, beside its own; "*" stands for all.
        """
        self._key = None if api_key is None else api_key.encode()
        self._origins = {each.rstrip("/") for each in origins}

    def check(self, method: str, query: Collection[str], headers: Headers) -> None:
        """Refuse a request that may not come in.

        Args:
            method: GET, POST …; "WEBSOCKET" for one that opens a websocket.
            query: the names in it.
            headers: of the request.

        Raises:
            AccessRefused: the key is missing or wrong, or stands in the address.
            RequestRefused: a page of a foreign origin sent it.
        """
        if any(name.lower() in _KEYS_IN_QUERY for name in query):
            raise AccessRefused(
                "a key does not belong into an address, which proxies write into their logs; send "
                "it as 'Authorization: Bearer …', and replace the one that was sent"
            )
        if method not in _READING:
            self._check_origin(headers)
        if self._key is None:
            return
        # As bytes: the comparison of texts takes ASCII only.
        sent = _sent_key(headers, is_websocket=method == "WEBSOCKET")
        if sent is None:
            raise AccessRefused("no key was sent; send 'Authorization: Bearer …'")
        if not hmac.compare_digest(sent.encode("latin-1"), self._key):
            raise AccessRefused("the key is wrong; it is the HIGGS_API_KEY of the server")

    def _check_origin(self, headers: Headers) -> None:
        origin = headers.get("origin")
        if origin is None or "*" in self._origins or origin.lower() in self._origins:
            return
        # Not parsed as an address: there are texts that no parser takes.
        if origin.lower().partition("://")[2] != headers.get("host", "?").lower():
            raise RequestRefused(
                "a page of another origin may not use this server; its operator can allow that "
                "with HIGGS_CORS_ORIGINS",
                status=403,
            )


def _sent_key(headers: Headers, *, is_websocket: bool) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() in _SCHEMES and key.strip():
        return key.strip()
    if is_websocket:
        protocols = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
        if len(protocols) == 2 and protocols[0].lower() in (_PROTOCOL, "bearer"):
            return protocols[1]
    return None
