"""Split a text into chunks that are spoken one by one.

One pass finds every place to cut and ranks it: paragraph, sentence, clause. Then the chunks are
laid out so that they are about equally long, end at good places, and none is tiny. Nothing is lost:
the chunks, joined, are the text. White space belongs to the chunk before it. The time is linear in
the length of the text. `words` defines a word; `stops` tells which full stops end no sentence.
"""

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from functools import cache
from typing import Literal, NamedTuple

from higgs_worker.text.language import primary_subtag
from higgs_worker.text.stops import StopRules, may_end_sentence, stop_rules
from higgs_worker.text.tags import EVENT
from higgs_worker.text.words import (
    can_cut,
    cuts_within_word,
    is_spaceless,
    num_half_words,
)

Border = Literal["paragraph", "sentence", "clause", "none"]

SHORT_PARAGRAPH = 0.25
"""A paragraph shorter than this share of a chunk joins its neighbour: headings, dialogue."""
MIN_WORDS = 4
"""The model speaks chunks of fewer words badly."""

_WIDE_STOPS = "。！？｡．؟۔।॥።။።។།։\u037e"  # no space needs to follow
_WIDE_COMMAS = "，、；："
_CLOSING = "\"'”’»«›‹“‘)]}*_」』】）〉》］｝"
# In French, a space may precede the closing mark of a quotation; then no word follows it.
_CLOSE = rf"(?:[{re.escape(_CLOSING)}]|[ \u00a0\u202f][»›](?=\W|\Z)){{0,8}}"
_OPENING = re.compile(r"[\"'“”„«»‹›‘’(\[{¿¡「『（【《〈*_—–\- \u00a0\u202f]{0,8}")
_BULLET = re.compile(r"[ \t]*(?:[-*•–—]|[0-9]{1,3}[.)])[ \t]")
_BREAK = re.compile(r"\r\n|[\n\r\x0b\x0c\x85\u2028]")
_SPACE = re.compile(r"\s+")
_LAST_EVENT = re.compile(rf"(?:{EVENT.pattern})\Z")
_LONGEST_EVENT = 32


class Rank(IntEnum):
    """How good a place to cut is; higher is better."""

    LETTER = 0
    ABBREVIATION = 1
    WORD = 2
    CLAUSE = 3
    SENTENCE = 4
    PARAGRAPH = 5


_COST = {
    Rank.PARAGRAPH: 0.0,
    Rank.SENTENCE: 0.25,
    Rank.CLAUSE: 1.25,
    Rank.WORD: 3.0,
    Rank.ABBREVIATION: 4.0,
    Rank.LETTER: 5.0,
}
"""In chunks. A length that is one chunk off the target costs 1: balance never justifies a clause."""
_COST_TINY = 2.0
"""Of a chunk with too few words: more than a cut at a comma, less than one between two words."""


class _Span(NamedTuple):
    """A part of the text that is not divided further."""

    start: int
    end: int
    rank: Rank
    """Rank of the cut at its end."""
    size: int
    """In half words; 0 if there is nothing to speak."""


def split(text: str, *, max_words: int, language: str = "en") -> list[str]:
    """Split a text into chunks of at most `max_words`; joined, they are the text.

    Chunks end with paragraphs; only short paragraphs share a chunk with their neighbours. Within a
    paragraph, chunks end with sentences. If that is impossible, or would leave a chunk of less than
    four words, they end with a clause, else at a space. A word that is too long is cut between two
    letters. Events and grapheme clusters stay whole. Every chunk has something to speak, if the
    text does.

    Args:
        text: any text; "" has no chunks.
        max_words: of a chunk, counted as in `words`; at least 1.
        language: BCP-47 tag.

    Raises:
        ValueError: `max_words` is below 1.
    """
    if max_words < 1:
        raise ValueError("max_words must be at least 1")
    limit = 2 * max_words
    pieces = (fine for each in _clauses(text, language) for fine in _refine(text, each, limit))
    ends = [end for group in _groups(pieces, limit) for end in _lay_out(group, limit)]
    return _slices(text, ends)


def sentences(text: str, language: str) -> list[str]:
    """Split a text into its sentences; joined, they are the text.

    Text with nothing to speak belongs to the sentence before it.
    """
    clauses = _clauses(text, language)
    return _slices(text, [each.end for each in clauses if each.rank >= Rank.SENTENCE])


def border(chunk: str) -> Border:
    """Return what a chunk ends with; it decides the pause after it."""
    core = _core(chunk)
    space = chunk[len(chunk.rstrip()) :]
    if _is_paragraph(space):
        return "paragraph"
    if not core or re.search(rf"[.!?…{_WIDE_STOPS}]\Z", core[-1:]):
        return "sentence"
    if re.search(rf"[,;:،؛·—–{_WIDE_COMMAS}]\Z|\s-\Z", core[-2:]) or _BREAK.search(space):
        return "clause"
    return "none"


def _core(chunk: str) -> str:
    """Remove what may follow the last punctuation: spaces, quotation marks, events."""
    end = len(chunk)
    while end:
        if chunk[end - 1].isspace() or chunk[end - 1] in _CLOSING:
            end -= 1
        elif event := _LAST_EVENT.search(chunk, max(0, end - _LONGEST_EVENT), end):
            end = event.start()
        else:
            break
    return chunk[:end]


def _slices(text: str, ends: list[int]) -> list[str]:
    starts = [0, *ends[:-1]]
    return [text[start:end] for start, end in zip(starts, ends, strict=bool(ends))]


# --- where a text can be cut ---------------------------------------------------------------------


@cache
def _cut_pattern(is_greek: bool) -> re.Pattern[str]:
    stops = rf".!?…{_WIDE_STOPS}" + (";" if is_greek else "")
    commas = ",:،؛" + ("·" if is_greek else ";") + _WIDE_COMMAS
    return re.compile(
        rf"(?P<stop>[{stops}]+)(?P<close>{_CLOSE}(?:{EVENT.pattern})?)(?P<space>\s*)"
        rf"|(?:[{commas}]+{_CLOSE}|[—–]+|(?<=\s)-+(?=\s))(?P<comma_space>\s*)"
        rf"|(?P<break>[\n\r\x0b\x0c\x85\u2028\u2029]\s*)"
    )


def _cuts(text: str, language: str) -> Iterator[tuple[int, Rank]]:
    """Yield every border of a paragraph, sentence or clause, and its rank, in order."""
    rules = stop_rules(language)
    # In a text without capitals, a small letter does not mean that a sentence goes on.
    has_capitals = text != text.lower()
    for found in _cut_pattern(primary_subtag(language) == "el").finditer(text):
        end = found.end()
        space = found["break"] or found["space"] or found["comma_space"] or ""
        if space and _is_paragraph(space):
            yield end, Rank.PARAGRAPH
        elif found["stop"]:
            rank = _rank_of_stop(text, found, rules, has_capitals)
            if rank is not None:
                yield end, rank
        elif space and _BREAK.search(space) and _BULLET.match(text, end):
            yield end, Rank.SENTENCE
        elif found["break"]:
            # A line that continues with a small letter was only wrapped.
            if not text[end : end + 1].islower():
                yield end, Rank.CLAUSE
        elif space or text[end - 1] in _WIDE_COMMAS or is_spaceless(text[end : end + 1]):
            yield end, Rank.CLAUSE


def _rank_of_stop(
    text: str, found: re.Match[str], rules: StopRules, has_capitals: bool
) -> Rank | None:
    """Return the rank of a cut after a stop; None if the stop ends nothing."""
    stop, end = found["stop"], found.end()
    following = _OPENING.match(text, end)
    begin = following.end() if following else end
    character = text[begin : begin + 1]
    if not found["space"]:
        is_wide = any(each in _WIDE_STOPS for each in stop)
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


def _is_paragraph(space: str) -> bool:
    return "\u2029" in space or len(_BREAK.findall(space)) > 1


def _clauses(text: str, language: str) -> list[_Span]:
    cuts = [cut for cut in _cuts(text, language) if can_cut(text, cut[0])]
    return _join_silent(_between(text, 0, [*cuts, (len(text), Rank.PARAGRAPH)])) if text else []


def _refine(text: str, clause: _Span, limit: int) -> list[_Span]:
    """Split a clause that is too long for a chunk into words, and such words into letters."""
    if clause.size <= limit:
        return [clause]
    pieces: list[_Span] = []
    cuts = [*_word_cuts(text, clause), (clause.end, clause.rank)]
    for word in _between(text, clause.start, cuts):
        if word.size <= limit:
            pieces.append(word)
        else:
            cuts = [(at, Rank.LETTER) for at in cuts_within_word(text, word.start, word.end)]
            pieces += _between(text, word.start, [*cuts, (word.end, word.rank)])
    return _join_silent(pieces)


def _between(text: str, start: int, cuts: Iterable[tuple[int, Rank]]) -> Iterator[_Span]:
    """Yield the spans between cuts."""
    for end, rank in cuts:
        yield _Span(start, end, rank, num_half_words(text[start:end]))
        start = end


def _join_silent(pieces: Iterable[_Span]) -> list[_Span]:
    """Join a span with nothing to speak to the one before it; at a clause's start, after it."""
    joined: list[_Span] = []
    waiting: _Span | None = None  # has nothing to speak, joins the next one
    for piece in pieces:
        whole = piece._replace(start=waiting.start) if waiting else piece
        waiting = None
        if piece.size:
            joined.append(whole)
        elif joined and piece.rank != Rank.CLAUSE:
            joined[-1] = _extend(joined[-1], whole)
        else:
            waiting = whole
    if waiting:
        joined[-1:] = [_extend(joined[-1], waiting)] if joined else [waiting]
    return joined


def _extend(piece: _Span, silent: _Span) -> _Span:
    return piece._replace(end=silent.end, rank=max(piece.rank, silent.rank))


def _word_cuts(text: str, clause: _Span) -> Iterator[tuple[int, Rank]]:
    """Yield the cuts at spaces; one after a full stop that ends no sentence ranks lower."""
    for space in _SPACE.finditer(text, clause.start, clause.end):
        if clause.start < space.start() and space.end() < clause.end and can_cut(text, space.end()):
            is_stop = text[space.start() - 1] == "."
            yield space.end(), Rank.ABBREVIATION if is_stop else Rank.WORD


# --- which cuts are chosen -----------------------------------------------------------------------


def _groups(pieces: Iterable[_Span], limit: int) -> Iterator[list[_Span]]:
    """Group paragraphs that may share chunks: a short one and the next."""
    least = SHORT_PARAGRAPH * limit
    group: list[_Span] = []
    ready: list[_Span] = []  # held back, in case the last paragraph is short
    for piece in pieces:
        group.append(piece)
        if piece.rank == Rank.PARAGRAPH and sum(each.size for each in group) >= least:
            if ready:
                yield ready
            ready, group = group, []
    if ready or group:
        yield ready + group


def _lay_out(group: list[_Span], limit: int) -> Iterator[int]:
    """Yield the ends of a group's chunks: about equally long, at good places, none tiny."""
    least = min(2 * MIN_WORDS, limit // 4)
    rest = sum(each.size for each in group)
    first = 0
    while rest > limit and first + 1 < len(group):
        target = rest / -(-rest // limit)
        best, best_cost, best_size, size = first, float("inf"), group[first].size, 0
        for index in range(first, len(group)):
            size += group[index].size
            if size > limit:
                break
            cost = abs(size - target) / limit + _COST[group[index].rank]
            cost += _COST_TINY * (size < least or rest - size < least)
            if cost < best_cost:
                best, best_cost, best_size = index, cost, size
        yield group[best].end
        first, rest = best + 1, rest - best_size
    yield group[-1].end
