"""One step of normalisation: a pattern, and how what it finds is said.

Every pattern must take linear time on any text: each repetition is bounded or possessive, or its
match can begin only at the edge of the run that it reads. Knows no language.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LETTERS = (
    "A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f\u1e00-\u1eff"
)
"""Latin letters and their accents, for character classes. `\\w` would be too much: words of scripts
that are written without spaces touch the numbers beside them."""
START = rf"(?<![0-9_{LETTERS}])"
END = rf"(?![0-9_{LETTERS}])"

_JOINS = re.compile(rf"[0-9{LETTERS}]")


@dataclass(frozen=True, slots=True)
class Rule:
    """A named pattern and its reading."""

    name: str
    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]
    """What is said in place of a match; None leaves it as it stands."""

    def apply(self, text: str) -> str:
        """Say every match; what is said gets a space where it would touch another word."""
        return self.pattern.sub(self._said, text)

    def _said(self, match: re.Match[str]) -> str:
        said = self.say(match)
        if said is None:
            return match[0]
        text, start, end = match.string, match.start(), match.end()
        before = (
            " " if _JOINS.match(said[:1]) and _JOINS.match(text[max(start - 1, 0) : start]) else ""
        )
        after = " " if _JOINS.match(said[-1:]) and _JOINS.match(text[end : end + 1]) else ""
        return f"{before}{said}{after}"


def rule(
    name: str, pattern: str, say: Callable[[re.Match[str]], str | None] | str, flags: int = 0
) -> Rule:
    """Make a rule; a string is said as it is, with the match's groups filled in as `\\1`."""
    if isinstance(say, str):
        template = say
        return Rule(name, re.compile(pattern, flags), lambda match: match.expand(template))
    return Rule(name, re.compile(pattern, flags), say)


def apply(rules: Iterable[Rule], text: str) -> str:
    """Apply rules in their order."""
    for each in rules:
        text = each.apply(text)
    return text


def listed(text: str) -> list[str]:
    """Return the words of a table that is written as a text."""
    return text.split()


def either(words: Iterable[str]) -> str:
    """Return a pattern for any of these words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
