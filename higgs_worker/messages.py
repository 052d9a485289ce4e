"""How the problems of a request are worded: in JSON's terms, under the names the caller used.

Values are quoted, but never more than a little of them. Knows pydantic's errors and no field of
ours in particular.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

MAX_QUOTED = 40
_MAX_INTEGER = 10**20  # larger ones are described, not quoted
# What no text holds on purpose: halves of surrogate pairs and C0 controls except \t \n \r.
_UNREADABLE = re.compile(r"[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f]")


def check_readable(value: str, max_chars: int | None = None) -> str:
    """Return a text that can be read and is not too long.

    Raises:
        ValueError: with what follows the field's name in a sentence.
    """
    if found := _UNREADABLE.search(value):
        raise ValueError(_unreadable(found))
    if max_chars is not None and len(value) > max_chars:
        raise ValueError(too_long(value, max_chars))
    return value


def describe_error(error: ErrorDetails, field: FieldInfo) -> str:
    """Return what follows the field's name in the sentence about one of pydantic's errors."""
    value, context = error["input"], error.get("ctx", {})
    if error["type"] == "missing":
        return "is required; send what should be said"
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] == "string_too_long":
        return too_long(value, context["max_length"])
    if error["type"] == "string_unicode" and (found := _UNREADABLE.search(value)):
        return _unreadable(found)
    return f"must be {_expected(field)}, not {quote(value)}"


def bound_of(field: FieldInfo, name: Literal["ge", "le", "max_length"]) -> Any:
    """Return a bound of a pydantic field; None when it has none of that name."""
    found = (getattr(each, name, None) for each in field.metadata)
    return next((each for each in found if each is not None), None)


def too_long(value: str, limit: int) -> str:
    """Say that a text is too long."""
    return f"has {len(value)} characters and at most {limit} are allowed; send less at once"


def quote(value: object) -> str:
    """Show a value in JSON's terms and never more than a little of it."""
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
    """Show a key and never more than a little of it."""
    return key if len(key) <= MAX_QUOTED else key[:MAX_QUOTED] + "…"


def _expected(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return " or ".join(repr(each) for each in get_args(field.annotation))
    types = get_args(field.annotation) or (field.annotation,)
    words = {
        str: "a string",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        type(None): "null",
    }
    low, high = bound_of(field, "ge"), bound_of(field, "le")
    span = "" if low is None else f" from {low} to {high}"
    return " or ".join(words[each] + (span if each in (int, float) else "") for each in types)


def _unreadable(found: "re.Match[str]") -> str:
    code = ord(found.group())
    what = "a control character" if code < 0x20 else "half a character (a lone surrogate)"
    return (
        f"holds {what}, U+{code:04X}, at position {found.start()} counted from 0; remove it and "
        "send plain text in UTF-8"
    )
