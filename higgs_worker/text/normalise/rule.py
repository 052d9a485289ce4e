"""One step of normalisation: a pattern, and the words for what it matches.

Every pattern must take linear time on any text: each repetition is bounded or possessive, or its
match can start only at the edge of the run that it reads. A group is repeated in an atomic one,
`(?>(?:…)+)`, because in Python 3.11.2 a possessive one keeps what its last, failed turn has read.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LETTERS = (
    "A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u0300-\u036f\u1e00-\u1eff"
)
"""Latin letters and their accents, for character classes. `\\w` would match too much: in scripts
without spaces, words touch the numbers beside them."""
START = rf"(?<![0-9_{LETTERS}])"
END = rf"(?![0-9_{LETTERS}])"

_JOINS = re.compile(rf"[0-9{LETTERS}]")


@dataclass(frozen=True, slots=True)
class Rule:
    """A named pattern and its replacement."""

    name: str
    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]
    """Returns the words for a match; None leaves it unchanged."""

    def apply(self, text: str) -> str:
        """Return a text with every match replaced, and a space where words would touch."""
        return self.pattern.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
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
    """Return a rule; a string is a template, in which `\\1` stands for the match's group."""
    if isinstance(say, str):
        template = say
        return Rule(name, re.compile(pattern, flags), lambda match: match.expand(template))
    return Rule(name, re.compile(pattern, flags), say)


def apply(rules: Iterable[Rule], text: str) -> str:
    """Return a text after all rules, applied in order."""
    for each in rules:
        text = each.apply(text)
    return text


def listed(text: str) -> list[str]:
    """Return the words of a table that is written as one string."""
    return text.split()


def either(words: Iterable[str]) -> str:
    """Return a pattern for any of these words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
