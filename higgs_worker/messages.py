"""The words of error messages: values quoted, and what is wrong with a text.

A caller's value is shown in JSON's terms, and never more than its first characters.
"""

import math
import re
from collections.abc import Mapping

MAX_QUOTED = 40
MAX_LISTED = 50
"""Problems that one error lists; a job of many wrong keys must not become a reply of that size."""
_MAX_INTEGER = 10**20  # larger ones are described, not quoted
# Never meant: halves of surrogate pairs, and C0 controls except \t \n \r.
_UNREADABLE = re.compile(r"[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f]")


def check_readable(value: str, max_chars: int | None = None) -> str:
    """Return a text if it can be read and is not too long.

    Raises:
        ValueError: the text continues a sentence that starts with the field's name.
    """
    # The length first: to look for what is unreadable takes a tenth of a second for 20 MB.
    if max_chars is not None and len(value) > max_chars:
        raise ValueError(too_long(value, max_chars))
    if problem := unreadable(value):
        raise ValueError(problem)
    return value


def too_long(value: str, limit: int) -> str:
    """Return that a text is too long, as the continuation of a sentence."""
    return f"has {len(value)} characters and at most {limit} are allowed; send less at once"


def quote(value: object) -> str:
    """Return a value in JSON's terms, shortened."""
    if isinstance(value, str):
        return repr(value[:MAX_QUOTED]) + ("…" if len(value) > MAX_QUOTED else "")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"{value} (not a finite number)"
    if isinstance(value, int):
        return str(value) if abs(value) <= _MAX_INTEGER else "a number of over 20 digits"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def shorten(key: str) -> str:
    """Return a key, shortened."""
    return key if len(key) <= MAX_QUOTED else key[:MAX_QUOTED] + "…"


def unreadable(value: str) -> str | None:
    """Return what makes a text unreadable, as the continuation of a sentence; None: nothing."""
    found = _UNREADABLE.search(value)
    if found is None:
        return None
    code = ord(found.group())
    what = "a control character" if code < 0x20 else "half a character (a lone surrogate)"
    return (
        f"holds {what}, U+{code:04X}, at position {found.start()} counted from 0; remove it and "
        "send plain text in UTF-8"
    )
