"""What holds for anything that a caller sends, looked at once, before any field of it is.

It carries no credentials, and it is small and flat enough that all further work on it is little.
"""

import re
from collections.abc import Iterable, Mapping

from higgs_worker.errors import CredentialsRefused, InvalidRequest
from higgs_worker.messages import MAX_LISTED, quote, shorten

MAX_VALUES = 20_000
"""A batch of 64 dialogues that set every field, each with 64 recordings, has 14,000."""
MAX_DEPTH = 32
"""Of lists and objects in each other; four times what a request of any kind has."""
_MAX_KEY_CHARS = 200
"""What is looked at of a key; no field has a longer one, so it is refused for that anyway."""
_CREDENTIAL = re.compile(
    "secret|password|passwd|token|credential|accesskey|apikey|privatekey|s3config"
)


def screen(raw: object) -> None:
    """Refuse what has credentials, too many values, or too many lists and objects in each other.

    Raises:
        CredentialsRefused: a key looks like a credential; its value is never repeated.
        InvalidRequest: it is too large or too deep.
    """
    keys: dict[str, None] = {}  # a set that keeps the order, for the error
    num_values = 1
    level: list[object] = [raw]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for value in level:
            if isinstance(value, Mapping | list):
                num_values += len(value)
                if num_values > MAX_VALUES:
                    raise too_many_values()
            if isinstance(value, Mapping):
                keys |= dict.fromkeys(key for key in value if isinstance(key, str))
                below += value.values()
            elif isinstance(value, list):
                below += value
        level = below
    if level:
        raise too_deep()
    _refuse_credentials(keys)


def too_many_values() -> InvalidRequest:
    """Return the refusal of an input that has too many values."""
    return InvalidRequest(
        f"the input has more than {MAX_VALUES} values: fields, and entries of lists; no request "
        "needs so many, so look for what is sent by mistake, or send several jobs"
    )


def too_deep() -> InvalidRequest:
    """Return the refusal of an input that is nested too deeply."""
    return InvalidRequest(
        f"the input has more than {MAX_DEPTH} lists and objects in each other; no field needs so "
        "many, so look for what is sent by mistake"
    )


def _refuse_credentials(keys: Iterable[str]) -> None:
    found = [key for key in keys if looks_like_credential(key)]
    if not found:
        return
    shown = ", ".join(quote(key) for key in found[:3])
    raise CredentialsRefused(
        f"credentials do not belong into a job, and {shown} looks like one; set them in the "
        "endpoint's environment and replace any that were sent here",
        details={
            "errors": [
                {"field": shorten(key), "message": "looks like a credential"}
                for key in found[:MAX_LISTED]
            ]
        },
    )


def looks_like_credential(key: str) -> bool:
    """Return whether the name of a field says that its value is secret."""
    key = key[:_MAX_KEY_CHARS]
    # The plural counts things (max_new_tokens) and is only an unknown field.
    folded = re.sub(r"[-_\s]", "", key.lower()).replace("tokens", "")
    return _CREDENTIAL.search(folded) is not None
