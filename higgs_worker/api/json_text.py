"""A caller's JSON as bytes, parsed only if that cannot take long.

To parse is one call that stops every thread, and makes an object of every value. So the text is
outlined first, and what is too large or too deep is refused unparsed.
"""

import json
from itertools import islice
from typing import Any

from higgs_worker.api.outline import JsonPart, parts
from higgs_worker.api.screening import MAX_DEPTH, MAX_VALUES, too_deep, too_many_values
from higgs_worker.errors import InvalidRequest

MAX_DIGITS = 4300
"""Python refuses to parse longer whole numbers, because the time grows with the square."""
_MAX_ESCAPES = 2_000_000
"""Of a million characters, the longest text, two each. To read them takes a tenth of a second."""
_OWN_VALUES, _OWN_DEPTH = 100, 4
"""What may stand around a caller's input: a job's other members, the list of jobs."""


def parse_json(text: bytes) -> Any:
    """Return the value that a text is. Takes as long as it is large; run it in a thread.

    Raises:
        InvalidRequest: it is no JSON in UTF-8, or too large or too deep to be parsed.
    """
    for part in islice(parts(b"[" + text + b"]"), 1):
        check_part(part)
    return parse_part(text)


def check_part(part: JsonPart) -> None:
    """Refuse a part of a text that has too many values, or is too deep.

    Raises:
        InvalidRequest: the caller must send less.
    """
    if part.num_values > 2 * MAX_VALUES + _OWN_VALUES:
        raise too_many_values()
    if part.depth > MAX_DEPTH + _OWN_DEPTH:
        raise too_deep()


def parse_part(text: bytes) -> Any:
    """Return the value of a text whose outline was checked.

    Raises:
        InvalidRequest: it is no JSON in UTF-8, or has too many escapes.
    """
    if text.count(b"\\") > _MAX_ESCAPES:
        raise InvalidRequest(
            f"the job has more than {_MAX_ESCAPES} escapes such as \\n or \\u00e9; send text as it "
            "is, in UTF-8"
        )
    try:
        return json.loads(text.decode(), parse_int=parse_big_int)
    except ValueError:
        raise InvalidRequest("the job is no JSON in UTF-8; send it again") from None


def parse_big_int(digits: str) -> int | float:
    """Return a whole number of a JSON document; one of very many digits becomes infinity.

    Python's own parser raises there.
    """
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)
