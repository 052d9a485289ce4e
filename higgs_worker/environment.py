"""Environment variables: their kinds, and how those that fill a dataclass are declared and read.

A variable is declared in the metadata of the field it fills, so that everything there is to say of
it is in one place. A kind refuses with a bare ValueError, which `read` words. Knows no particular
variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from higgs_worker.messages import quote

_MAX_TEXT = 4096  # the longest path Linux takes


class VariableType(Protocol):
    """A kind of value: says in words what it allows, and reads it."""

    @property
    def allowed(self) -> str:
        """Complete the sentence "it must be …"."""

    def read(self, raw: str) -> Any:
        """Return the typed value, or raise ValueError."""


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within bounds."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        """Complete the sentence "it must be …"."""
        return f"a whole number from {self.low} to {self.high}"

    def read(self, raw: str) -> int:
        """Return the number; `int` alone would take 1_000 and other scripts' digits."""
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", raw):
            raise ValueError(raw)
        value = int(raw)
        if not self.low <= value <= self.high:
            raise ValueError(raw)
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words, in any case, or a word of the given pattern."""

    words: tuple[str, ...]
    pattern: str = ""
    shown: str = ""
    """The pattern as people write it."""

    @property
    def allowed(self) -> str:
        """Complete the sentence "it must be …"."""
        return "one of " + ", ".join([*self.words, *([self.shown] if self.shown else [])])

    def read(self, raw: str) -> str:
        """Return the word as it is spelled here."""
        for word in self.words:
            if raw.casefold() == word.casefold():
                return word
        if self.pattern and re.fullmatch(self.pattern, raw.casefold()):
            return raw.casefold()
        raise ValueError(raw)


@dataclass(frozen=True, slots=True)
class Switch(Choice):
    """On or off."""

    words: tuple[str, ...] = ("true", "false", "1", "0")

    def read(self, raw: str) -> Any:
        """Return whether it is on."""
        return Choice.read(self, raw) in ("true", "1")


@dataclass(frozen=True, slots=True)
class Text:
    """A name or a path, on one line."""

    max_length: int = _MAX_TEXT

    @property
    def allowed(self) -> str:
        """Complete the sentence "it must be …"."""
        return f"one line of at most {self.max_length} characters"

    def read(self, raw: str) -> str:
        """Return the text as it is."""
        if len(raw) > self.max_length or not raw.isprintable():
            raise ValueError(raw)
        return raw


@dataclass(frozen=True, slots=True)
class Matching:
    """Text of a certain form, on one line."""

    pattern: str
    allowed: str
    """Completes the sentence "it must be …"."""

    def read(self, raw: str) -> str:
        """Return the text as it is."""
        if not (raw.isprintable() and re.fullmatch(self.pattern, raw)):
            raise ValueError(raw)
        return raw


@dataclass(frozen=True, slots=True)
class Secret(Text):
    """What no error and no log line may show."""

    @property
    def allowed(self) -> str:
        """Complete the sentence "it must be …"."""
        return "one word of plain letters, digits and signs"

    def read(self, raw: str) -> str:
        """Return the secret; what it is made of must fit into a header."""
        if not raw.isascii() or " " in raw:
            raise ValueError
        return Text.read(self, raw)


@dataclass(frozen=True, slots=True)
class Address(Text):
    """Where a service is on the web."""

    @property
    def allowed(self) -> str:
        """Complete the sentence "it must be …"."""
        return "an http or https address without user, password and query"

    def read(self, raw: str) -> str:
        """Return the address."""
        if not re.fullmatch(r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?", raw):
            raise ValueError(raw)
        return Text.read(self, raw)


@dataclass(frozen=True, slots=True)
class Directory(Text):
    """A directory; it need not exist yet."""

    def read(self, raw: str) -> Any:
        """Return the path."""
        return Path(Text.read(self, raw))


@dataclass(frozen=True, slots=True)
class Names(Text):
    """Names, separated by commas."""

    def read(self, raw: str) -> Any:
        """Return the names, folded."""
        return frozenset(
            name.strip().lower() for name in Text.read(self, raw).split(",") if name.strip()
        )


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable, as the documentation shows it."""

    name: str
    meaning: str
    kind: VariableType
    default: Any = None

    @property
    def is_secret(self) -> bool:
        """Whether its value is shown to nobody."""
        return isinstance(self.kind, Secret)

    def complaint(self, raw: str) -> str:
        """Say that it cannot be this; quote neither a secret nor what may hold one."""
        may_hold_secret = isinstance(self.kind, Secret | Address)
        shown = "not usable" if may_hold_secret else quote(raw)
        return f"{self.name} is {shown}; it must be {self.kind.allowed}"


@dataclass(frozen=True, slots=True)
class ParsedVariables:
    """What the environment says for one dataclass."""

    values: dict[str, Any]
    """By field; those that were set and are right."""
    given: dict[str, str]
    """What was set, by variable, as it may be shown."""
    problems: dict[str, str]
    """What is wrong, by variable."""


def env_field(name: str, kind: VariableType, meaning: str) -> dict[str, Any]:
    """Return the metadata of a field that an environment variable fills."""
    return {"variable": Variable(name, meaning, kind)}


def variables_of(table: type) -> dict[str, Variable]:
    """Return the variables that fill a dataclass, by field."""
    return {
        each.name: replace(each.metadata["variable"], default=each.default)
        for each in fields(table)
        if "variable" in each.metadata
    }


def read(table: type, environ: Mapping[str, str]) -> ParsedVariables:
    """Read the variables that fill a dataclass; an empty one counts as unset."""
    reading = ParsedVariables({}, {}, {})
    for name, variable in variables_of(table).items():
        raw = environ.get(variable.name, "").strip()
        if not raw:
            continue
        try:
            reading.values[name] = variable.kind.read(raw)
            reading.given[variable.name] = "***" if variable.is_secret else raw
        except ValueError:
            reading.problems[variable.name] = variable.complaint(raw)
    return reading
