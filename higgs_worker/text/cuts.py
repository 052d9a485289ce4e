"""The places where a paragraph, a sentence or a clause of a text ends.

`split` cuts a whole text at them, `gatherer` one that is still being written: there, a place counts
once nothing that may follow can change it. `stops` tells which full stops end no sentence.
"""

import re
from collections.abc import Iterator
from enum import IntEnum
from functools import cache
from typing import NamedTuple

from higgs_worker.text.language import primary_subtag
from higgs_worker.text.stops import LONGEST_WORD, StopRules, may_end_sentence, stop_rules
from higgs_worker.text.tags import EVENT
from higgs_worker.text.words import is_spaceless

WIDE_STOPS = "。！？｡．؟۔।॥።。།։\u037e"  # no space needs to follow
WIDE_COMMAS = "，、；："
CLOSING = "\"'”’»«›‹“‘)]}*_」』】）〉》］｝"
BREAK = re.compile(r"\r\n|[\n\r\x0b\x0c\x85\u2028]")
LONGEST_EVENT = 32

# In French, a space may precede the closing mark of a quotation; then no word follows it.
_CLOSE = rf"(?:[{re.escape(CLOSING)}]|[ \u00a0\u202f][»›](?=\W|\Z)){{0,8}}"
_OPENING = re.compile(r"[\"'“”„«»‹›‘’(\[{¿¡「『（【《〈*_—–\- \u00a0\u202f]{0,8}")
_BULLET = re.compile(r"[ \t]*(?:[-*•–—]|[0-9]{1,3}[.)])[ \t]")
_LONGEST_BULLET = 5
_WORD = re.compile(rf"\w{{0,{LONGEST_WORD}}}")


class Rank(IntEnum):
    """How good a place to cut is; higher is better."""

    LETTER = 0
    ABBREVIATION = 1
    WORD = 2
    CLAUSE = 3
    SENTENCE = 4
    PARAGRAPH = 5


class CutPlace(NamedTuple):
    """Punctuation or a line break, and what it ends."""

    start: int
    end: int
    """Where what follows begins, behind the white space."""
    rank: Rank | None
    """None: it ends nothing."""
    is_full_stop: bool
    """Whether it is a single full stop; then the next word may decide."""


def cuts(text: str, language: str) -> Iterator[tuple[int, Rank]]:
    """Yield every border of a paragraph, sentence or clause of a whole text, and its rank."""
    # In a text without capitals, a small letter does not mean that a sentence goes on.
    has_capitals = text != text.lower()
    for place in places(text, language, first_capital=0 if has_capitals else len(text) + 1):
        if place.rank is not None:
            yield place.end, place.rank


def places(text: str, language: str, *, first_capital: int, start: int = 0) -> Iterator[CutPlace]:
    """Yield punctuation and line breaks in order, with what they end as the text stands.

    Args:
        text: from its beginning, also if only the rest is wanted.
        language: BCP-47 tag.
        first_capital: index of the first capital letter. Behind it, a small letter after a stop
            means that the sentence goes on.
        start: where to begin: the end of a place, or where none begins before.
    """
    rules = stop_rules(language)
    for found in _pattern(primary_subtag(language) == "el").finditer(text, start):
        rank = _rank(text, found, rules, first_capital < found.end())
        yield CutPlace(found.start(), found.end(), rank, found["stop"] == ".")


def is_sure(text: str, place: CutPlace) -> bool:
    """Return whether nothing that may follow the text can change one of its places."""
    begin = _OPENING.match(text, place.end).end()  # type: ignore[union-attr]  # matches ""
    if begin >= len(text):
        return False
    num_following = len(text) - place.end
    following = text[place.end]
    if following == "<" and num_following < LONGEST_EVENT:
        return False
    if (following in "-*•–—" or following.isdecimal()) and num_following < _LONGEST_BULLET:
        return False
    word = _WORD.match(text, begin)
    is_word_over = word is None or word.end() < len(text) or len(word.group()) == LONGEST_WORD
    return is_word_over or not place.is_full_stop


def is_paragraph(space: str) -> bool:
    """Return whether white space divides paragraphs."""
    return "\u2029" in space or len(BREAK.findall(space)) > 1


@cache
def _pattern(is_greek: bool) -> re.Pattern[str]:
    stops = rf".!?…{WIDE_STOPS}" + (";" if is_greek else "")
    commas = ",:،؛" + ("·" if is_greek else ";") + WIDE_COMMAS
    return re.compile(
        rf"(?P<stop>[{stops}]+)(?P<close>{_CLOSE}(?:{EVENT.pattern})?)(?P<space>\s*)"
        rf"|(?:[{commas}]+{_CLOSE}|[—–]+|(?<=\s)-+(?=\s))(?P<comma_space>\s*)"
        rf"|(?P<break>[\n\r\x0b\x0c\x85\u2028\u2029]\s*)"
    )


def _rank(text: str, found: re.Match[str], rules: StopRules, has_capitals: bool) -> Rank | None:
    end = found.end()
    space = found["break"] or found["space"] or found["comma_space"] or ""
    if space and is_paragraph(space):
        return Rank.PARAGRAPH
    if found["stop"]:
        return _rank_of_stop(text, found, rules, has_capitals)
    if space and BREAK.search(space) and _BULLET.match(text, end):
        return Rank.SENTENCE
    if found["break"]:
        # A line that continues with a small letter was only wrapped.
        return None if text[end : end + 1].islower() else Rank.CLAUSE
    if space or text[end - 1] in WIDE_COMMAS or is_spaceless(text[end : end + 1]):
        return Rank.CLAUSE
    return None


def _rank_of_stop(
    text: str, found: re.Match[str], rules: StopRules, has_capitals: bool
) -> Rank | None:
    """Return the rank of a cut after a stop; None if the stop ends nothing."""
    stop, end = found["stop"], found.end()
    following = _OPENING.match(text, end)
    begin = following.end() if following else end
    character = text[begin : begin + 1]
    if not found["space"]:
        is_wide = any(each in WIDE_STOPS for each in stop)
        if not is_wide and not is_spaceless(text[end : end + 1]):
            return None  # 3.14, example.com
        if stop.startswith(("…", "..")):
            return Rank.CLAUSE  # 他走了……是的
        if found["close"] and "\u3040" <= character <= "\u309f":
            return None  # a Japanese particle continues the sentence after the quotation
    if stop == "." and not may_end_sentence(text, found.start(), begin, rules):
        return None
    if character and character in ".!?…,;:)]}":
        return None
    is_small = has_capitals and character.islower()
    if is_small and not any(each in "¿¡" for each in text[end:begin]):
        return Rank.CLAUSE
    return Rank.SENTENCE
