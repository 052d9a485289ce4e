"""A checkpoint's `config.json`, whose values are checked as they are read.

The file is another's. Every number has bounds far beyond any model that fits a worker, so that no
file makes the worker allocate or loop without end; the tensors' shapes decide the rest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from higgs_worker.checkpoint.json_file import read_json
from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.messages import quote

MAX_SIZE = 1 << 18
"""Of a width, a vocabulary and the like: twice the published vocabulary. Products of three such
sizes still fit into 63 bits."""
MAX_ITEMS = 32
"""Of a list: four times the published longest one."""
_MAX_QUOTED_ITEMS = 8


def read_config(directory: Path, source: str) -> dict[str, Any]:
    """Parse `config.json`.

    Args:
        directory: of the checkpoint.
        source: what the directory must hold, for the error text.

    Raises:
        WeightsNotFound: the file cannot be read.
        InvalidCheckpoint: it is not a JSON object.
    """
    return read_json(directory / "config.json", source)


@dataclass(frozen=True, slots=True)
class ConfigSection:
    """One JSON object of the file, and the error messages about it."""

    path: str
    """Of the file, for the error text."""
    source: str
    """What to use instead, for the error text."""
    values: Mapping[str, Any]
    prefix: str = ""
    """Name of this object and a dot, for the error text; empty at the top."""

    def value(self, key: str, default: object = None) -> Any:
        """Return a value unchecked."""
        return self.values.get(key, default)

    def wrong(self, key: str, wanted: str) -> InvalidCheckpoint:
        """Return the error that names the value found and what is wanted."""
        found = _shown(self.values[key]) if key in self.values else "absent"
        return InvalidCheckpoint(
            f"{self.path}: {self.prefix}{key} is {found}, not {wanted}; use {self.source}"
        )

    def require(self, key: str, only: object) -> None:
        """Check that a value is the only supported one, which is also its default."""
        found = self.value(key, only)
        if type(found) is not type(only) or found != only:
            raise self.wrong(key, quote(only))

    def section(self, key: str) -> "ConfigSection":
        """Return a nested object; an absent one is empty."""
        values = self.values.get(key)
        if values is not None and not isinstance(values, dict):
            raise self.wrong(key, "an object")
        return ConfigSection(self.path, self.source, values or {}, f"{self.prefix}{key}.")

    def integer(
        self, key: str, default: int | None = None, *, most: int = MAX_SIZE, minimum: int = 1
    ) -> int:
        """Return an integer within bounds; without a default it must be there."""
        value = self.value(key, default)
        if not _is_integer(value, minimum, most):
            raise self.wrong(key, f"an integer from {minimum} to {most}")
        return int(value)

    def integers(self, key: str, default: tuple[int, ...], minimum: int = 1) -> tuple[int, ...]:
        """Return a list of 1 to MAX_ITEMS integers, each from `minimum` to MAX_SIZE."""
        value = self.value(key, default)
        if not (
            isinstance(value, list | tuple)
            and 0 < len(value) <= MAX_ITEMS
            and all(_is_integer(item, minimum, MAX_SIZE) for item in value)
        ):
            raise self.wrong(
                key,
                f"a list of 1 to {MAX_ITEMS} integers, each at least {minimum} and at most "
                f"{MAX_SIZE}",
            )
        return tuple(value)

    def number(self, key: str, default: float | None = None, *, below: float) -> float:
        """Return a positive number below a bound; without a default it must be there."""
        value = self.value(key, default)
        if not is_number(value) or not 0 < value < below:
            raise self.wrong(key, f"a number above 0 and below {below:g}")
        return float(value)

    def boolean(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value


def is_number(value: object) -> bool:
    """Return whether a value of JSON is a number, and neither a boolean nor NaN."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _is_integer(value: object, minimum: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= most


def _shown(value: object) -> str:
    if not isinstance(value, list | tuple):
        return quote(value)
    more = ", …" if len(value) > _MAX_QUOTED_ITEMS else ""
    return f"[{', '.join(map(quote, value[:_MAX_QUOTED_ITEMS]))}{more}]"
