"""What is wrong with a field, in a caller's words: JSON's terms instead of Python's types."""

from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from higgs_worker.errors import InvalidRequest
from higgs_worker.messages import quote, too_long, unreadable


def wrong_field(name: str, problem: str) -> InvalidRequest:
    """Return the error about one field; `problem` continues a sentence that its name begins."""
    message = f"{name} {problem}"
    return InvalidRequest(message, details={"errors": [{"field": name, "message": message}]})


def describe_error(error: ErrorDetails, value: Any, field: FieldInfo) -> str:
    """Return what pydantic finds wrong with a field, as the continuation of a sentence.

    Args:
        error: as pydantic reports it.
        value: as the caller sent it; pydantic may have seen only its beginning.
        field: its declaration.
    """
    context = error.get("ctx", {})
    if error["type"] == "missing":
        return "is required; send what should be said"
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] == "string_too_long":
        return too_long(value, context["max_length"])
    if error["type"] == "string_unicode" and (problem := unreadable(value)):
        return problem
    return f"must be {_expected(field)}, not {quote(value)}"


def bound_of(field: FieldInfo, name: Literal["ge", "le", "max_length"]) -> Any:
    """Return a bound of a pydantic field; None where it has none of that name."""
    found = (getattr(each, name, None) for each in field.metadata)
    return next((each for each in found if each is not None), None)


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
