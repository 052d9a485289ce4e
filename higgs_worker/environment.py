"""Environment variables: their types, and how to declare and read those that fill a dataclass.

A variable is declared in the metadata of the field that it fills, so that its name, meaning and
bounds stand in one place. A type refuses a value with a bare ValueError, which `read_variables`
turns into a sentence.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

from higgs_worker.messages import quote

_MAX_TEXT = 4096  # the longest path on Linux


class VariableType(Protocol):
    """A type of value: describes what it allows, and parses it."""

    @property
    def allowed(self) -> str:
        """The end of the sentence "it must be …"."""

    def parse(self, raw: str) -> Any:
        """Return the typed value, or raise ValueError."""


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number within bounds."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        """The end of the sentence "it must be …"."""
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, raw: str) -> int:
        """Return the number; `int` alone would accept 1_000 and digits of other scripts."""
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
    """The pattern as the documentation shows it."""

    @property
    def allowed(self) -> str:
        """The end of the sentence "it must be …"."""
        return "one of " + ", ".join([*self.words, *([self.shown] if self.shown else [])])

    def parse(self, raw: str) -> str:
        """Return the word as it is spelled in `words`."""
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

    def parse(self, raw: str) -> Any:
        """Return whether it is on."""
        return Choice.parse(self, raw) in ("true", "1")


@dataclass(frozen=True, slots=True)
class Text:
    """A name or a path, on one line."""

    max_length: int = _MAX_TEXT

    @property
    def allowed(self) -> str:
        """The end of the sentence "it must be …"."""
        return f"one line of at most {self.max_length} characters"

    def parse(self, raw: str) -> str:
        """Return the text as it is."""
        if len(raw) > self.max_length or not raw.isprintable():
            raise ValueError(raw)
        return raw


@dataclass(frozen=True, slots=True)
class Matching:
    """Text that matches a pattern, on one line."""

    pattern: str
    allowed: str
    """The end of the sentence "it must be …"."""

    def parse(self, raw: str) -> str:
        """Return the text as it is."""
        if not (raw.isprintable() and re.fullmatch(self.pattern, raw)):
            raise ValueError(raw)
        return raw


@dataclass(frozen=True, slots=True)
class Secret(Text):
    """A value that no error and no log line may show."""

    @property
    def allowed(self) -> str:
        """The end of the sentence "it must be …"."""
        return "one word of plain letters, digits and signs"

    def parse(self, raw: str) -> str:
        """Return the secret; it must fit into an HTTP header."""
        if not raw.isascii() or " " in raw:
            raise ValueError
        return Text.parse(self, raw)


@dataclass(frozen=True, slots=True)
class Address(Text):
    """The web address of a service."""

    @property
    def allowed(self) -> str:
        """The end of the sentence "it must be …"."""
        return "an http or https address without user, password and query"

    def parse(self, raw: str) -> str:
        """Return the address."""
        if not re.fullmatch(r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?", raw):
            raise ValueError(raw)
        return Text.parse(self, raw)


@dataclass(frozen=True, slots=True)
class Directory(Text):
    """A directory; it need not exist yet."""

    def parse(self, raw: str) -> Any:
        """Return the path."""
        return Path(Text.parse(self, raw))


@dataclass(frozen=True, slots=True)
class Names(Text):
    """Names, separated by commas."""

    def parse(self, raw: str) -> Any:
        """Return the names in lower case."""
        return frozenset(
            name.strip().lower() for name in Text.parse(self, raw).split(",") if name.strip()
        )


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable, as the documentation shows it."""

    name: str
    meaning: str
    """A sentence for docs/settings.md."""
    kind: VariableType
    default: Any = None
    is_required: bool = False
    """Whether the dataclass cannot be filled without it."""

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be shown."""
        return isinstance(self.kind, Secret)

    def describe_problem(self, raw: str) -> str:
        """Return why a value is refused; quotes neither a secret nor what may hold one."""
        may_hold_secret = isinstance(self.kind, Secret | Address)
        shown = "not usable" if may_hold_secret else quote(raw)
        return f"{self.name} is {shown}; it must be {self.kind.allowed}"


@dataclass(frozen=True, slots=True)
class ParsedVariables:
    """The variables of one dataclass that are set."""

    values: dict[str, Any]
    """The valid values, by field."""
    given: dict[str, str]
    """The valid values as text, by variable; secrets are masked."""
    problems: dict[str, str]
    """Why the other values are refused, by variable."""

    @property
    def names(self) -> frozenset[str]:
        """The variables that are set, valid or not."""
        return frozenset({*self.given, *self.problems})


def env_field(name: str, kind: VariableType, meaning: str) -> dict[str, Any]:
    """Return the metadata of a field that an environment variable fills."""
    return {"variable": Variable(name, meaning, kind)}


def variables_of(table: type) -> dict[str, Variable]:
    """Return the variables that fill a dataclass, by field."""
    found = {}
    for each in fields(table):
        if "variable" in each.metadata:
            is_required = each.default is MISSING
            found[each.name] = replace(
                each.metadata["variable"],
                default=None if is_required else each.default,
                is_required=is_required,
            )
    return found


def read_variables(table: type, environ: Mapping[str, str]) -> ParsedVariables:
    """Read the variables that fill a dataclass; an empty one counts as unset."""
    parsed = ParsedVariables({}, {}, {})
    for name, variable in variables_of(table).items():
        raw = environ.get(variable.name, "").strip()
        if not raw:
            continue
        try:
            parsed.values[name] = variable.kind.parse(raw)
            parsed.given[variable.name] = "***" if variable.is_secret else raw
        except ValueError:
            parsed.problems[variable.name] = variable.describe_problem(raw)
    return parsed
