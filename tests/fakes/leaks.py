"""Looking for secrets in what a test has seen."""

from collections.abc import Iterable
from urllib.parse import quote


def leaks(seen: Iterable[str | bytes], secrets: Iterable[str]) -> list[str]:
    """Return the secrets that stand somewhere, as they are or as addresses have them."""
    text = b"\n".join(each.encode() if isinstance(each, str) else each for each in seen)
    return [
        secret
        for secret in secrets
        if secret.encode() in text or quote(secret, safe="").encode() in text
    ]
