"""Environment variables: their types, and how to declare and read those that fill a dataclass.

A variable is declared in the metadata of the field that it fills, so that its names, meaning and
bounds stand in one place. A type refuses a value with a bare ValueError, which `read_variables`
turns into a sentence.

pydantic-settings does not do here: it makes the handler's import almost half as long again (0.35 s
of 0.8), and types, sentences and warnings would still have to be ours.
"""

import os.path
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
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

    words: tuple[str, ...] = ("true", "false", "1", "0", "on", "off", "yes", "no")

    def parse(self, raw: str) -> Any:
        """Return whether it is on."""
        return Choice.parse(self, raw) in ("true", "1", "on", "yes")


@dataclass(frozen=True, slots=True)
class ForeignSwitch:
    """A switch that belongs to a library: a few words are on, and everything else is off."""

    on: tuple[str, ...]
    """The words that the library takes, in any case."""

    @property
    def allowed(self) -> str:
        """The end of the sentence "it must be …"."""
        return f"{' or '.join(self.on)} for on; everything else is off"

    def parse(self, raw: str) -> bool:
        """Return whether it is on."""
        return raw.casefold() in self.on


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
class ExpandedDirectory(Directory):
    """A directory that may begin with `~` and name variables, as its library reads it."""

    def parse(self, raw: str) -> Any:
        """Return the path, expanded."""
        return Directory.parse(self, os.path.expandvars(os.path.expanduser(raw)))


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
    other_names: tuple[str, ...] = ()
    """What else it is called; the first name that is set counts, `name` before these."""
    default: Any = None
    is_required: bool = False
    """Whether the dataclass cannot be filled without it."""

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, in the order in which they count."""
        return (self.name, *self.other_names)

    @property
    def is_secret(self) -> bool:
        """Whether its value must not be shown."""
        return isinstance(self.kind, Secret)

    def parse(self, name: str, raw: str) -> Any:
        """Return the typed value.

        Args:
            name: the one of its names that is set.
            raw: its value; neither a secret nor what may hold one is quoted.

        Raises:
            ValueError: why it is refused, as a sentence.
        """
        fault = _paste_fault(name, raw)
        if fault is None and isinstance(self.kind, Text | Matching) and raw.lower() in _NOTHING:
            fault = f"says '{raw}', as programs write no value; unset it, or set the value"
        if fault is not None:
            raise ValueError(f"{name} {fault}")
        try:
            return self.kind.parse(raw)
        except ValueError:
            may_hold_secret = isinstance(self.kind, Secret | Address)
            shown = "not usable" if may_hold_secret else quote(raw)
            raise ValueError(f"{name} is {shown}; it must be {self.kind.allowed}") from None


@dataclass(frozen=True, slots=True)
class ParsedVariables:
    """The variables of one dataclass that are set."""

    values: dict[str, Any]
    """The valid values, by field."""
    given: dict[str, str]
    """The valid values as text, by variable; secrets are masked."""
    problems: dict[str, str]
    """Why the other values are refused, by variable."""
    overruled: dict[str, str]
    """Names that do not count, each with the other name of the variable that does."""

    @property
    def names(self) -> frozenset[str]:
        """The variables that are set, valid or not."""
        return frozenset({*self.given, *self.problems})

    @property
    def warnings(self) -> list[str]:
        """A sentence for each name that does not count."""
        return [
            f"{name} has no effect, because {counting} has another value"
            for name, counting in self.overruled.items()
        ]


def env_field(
    name: str, kind: VariableType, meaning: str, *other_names: str, default: Any = MISSING
) -> Any:
    """Return a dataclass field that an environment variable fills; no repr shows a secret.

    Args:
        name: of the variable.
        kind: what it may hold.
        meaning: a sentence for docs/settings.md.
        other_names: what else the variable is called.
        default: of the field; without one, the variable is required.
    """
    is_required = default is MISSING
    variable = Variable(
        name, meaning, kind, other_names, None if is_required else default, is_required
    )
    return field(default=default, repr=not variable.is_secret, metadata={"variable": variable})


def variables_of(table: type) -> dict[str, Variable]:
    """Return the variables that fill a dataclass, by field."""
    declared = {each.name: each.metadata.get("variable") for each in fields(table)}
    return {name: variable for name, variable in declared.items() if variable is not None}


def read_variables(table: type, environ: Mapping[str, str]) -> ParsedVariables:
    """Read the variables that fill a dataclass; an empty one counts as unset."""
    parsed = ParsedVariables({}, {}, {}, {})
    for key, variable in variables_of(table).items():
        counting = None
        for name in variable.names:
            raw = environ.get(name, "").strip()
            if not raw:
                continue
            try:
                value = variable.parse(name, raw)
            except ValueError as problem:
                parsed.problems[name] = str(problem)
                continue
            parsed.given[name] = "***" if variable.is_secret else raw
            if counting is None:
                counting = name
                parsed.values[key] = value
            elif value != parsed.values[key]:
                parsed.overruled[name] = counting
    return parsed


_NOTHING = frozenset({"none", "null", "nil", "undefined"})
_QUOTES = frozenset({'""', "''", "``", "“”", "„“", "‘’", "«»"})


def _paste_fault(name: str, raw: str) -> str | None:
    """Return what is wrong with a value that was copied badly; None if nothing is.

    The words complete a sentence that begins with the variable's name, and quote nothing.
    """
    if re.search(r"\{\{.*\}\}", raw, re.DOTALL):
        return (
            "holds a placeholder, {{ … }}, that was not filled in; make the secret of that name in "
            "RunPod's console, or set the value itself"
        )
    if re.fullmatch(r"<[^<>]*>|\$\{[^{}]*\}", raw):
        return "is a placeholder; put the value in its place"
    if len(raw) > 1 and raw[0] + raw[-1] in _QUOTES:
        return "has quotes around its value; leave them out"
    if re.match(rf"(export\s+)?{re.escape(name)}\s*=", raw):
        return "repeats its name in its value; leave the name out"
    if re.fullmatch(r"[*•]{2,}|•", raw):
        return "holds what hides a value, not the value; copy the value itself"
    return None
