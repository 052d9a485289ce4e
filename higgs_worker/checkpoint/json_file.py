"""A JSON object in a file of a checkpoint: of bounded size, and read in one way only."""

import json
import math
from pathlib import Path
from typing import Any

from higgs_worker.checkpoint.file import read_file
from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.messages import quote

MAX_JSON_BYTES = 1_000_000
"""The largest published one, an index of shards, has 60 KB."""


def read_json(path: Path, source: str) -> dict[str, Any]:
    """Parse a file that holds one object.

    Args:
        path: of the file.
        source: what its directory must hold, for the error text.

    Raises:
        WeightsNotFound: the file cannot be read.
        InvalidCheckpoint: it is not a JSON object, or holds a number that is not finite or a key
            twice.
    """
    data = read_file(path, source, MAX_JSON_BYTES)
    try:
        raw = json.loads(
            data, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_without_twins
        )
    except (ValueError, RecursionError) as error:
        reason = f" ({error})" if isinstance(error, _Ambiguous) else ""
        raise InvalidCheckpoint(f"{path} is not JSON{reason}; fetch {source} again") from error
    if not isinstance(raw, dict):
        raise InvalidCheckpoint(f"{path} is not a JSON object; fetch {source} again")
    return raw


class _Ambiguous(ValueError):
    """What Python's parser takes, and other parsers refuse or read in another way."""


def _finite(text: str) -> float:
    """Return a number of JSON; Python's parser takes NaN and Infinity, and 1e999 as infinite."""
    value = float(text)
    if not math.isfinite(value):
        raise _Ambiguous(f"{quote(text)} is not a finite number")
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of two equal keys, Python's parser takes the last one."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Ambiguous(f"{quote(key)} is there twice")
        found[key] = value
    return found
