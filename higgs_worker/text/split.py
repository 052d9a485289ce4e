"""Split a text into chunks that are spoken one by one.

`cuts` finds every place to cut and ranks it: paragraph, sentence, clause. Then the chunks are laid
out so that they are about equally long, end at good places, and none is tiny. Nothing is lost: the
chunks, joined, are the text. White space belongs to the chunk before it. The time is linear in the
length of the text. `words` defines a word.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from higgs_worker.text.cuts import (
    BREAK,
    CLOSING,
    LONGEST_EVENT,
    WIDE_COMMAS,
    WIDE_STOPS,
    Rank,
    cuts,
    is_paragraph,
)
from higgs_worker.text.tags import EVENT
from higgs_worker.text.words import can_cut, cuts_within_word, num_half_words

Border = Literal["paragraph", "sentence", "clause", "none"]

SHORT_PARAGRAPH = 0.25
"""A paragraph shorter than this share of a chunk joins its neighbour: headings, dialogue."""
MIN_WORDS = 4
"""The model speaks chunks of fewer words badly."""

_SPACE = re.compile(r"\s+")
_LAST_EVENT = re.compile(rf"(?:{EVENT.pattern})\Z")

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
    if is_paragraph(space):
        return "paragraph"
    if not core or re.search(rf"[.!?…{WIDE_STOPS}]\Z", core[-1:]):
        return "sentence"
    if re.search(rf"[,;:،؛·—–{WIDE_COMMAS}]\Z|\s-\Z", core[-2:]) or BREAK.search(space):
        return "clause"
    return "none"


def _core(chunk: str) -> str:
    """Remove what may follow the last punctuation: spaces, quotation marks, events."""
    end = len(chunk)
    while end:
        if chunk[end - 1].isspace() or chunk[end - 1] in CLOSING:
            end -= 1
        elif event := _LAST_EVENT.search(chunk, max(0, end - LONGEST_EVENT), end):
            end = event.start()
        else:
            break
    return chunk[:end]


def _slices(text: str, ends: list[int]) -> list[str]:
    starts = [0, *ends[:-1]]
    return [text[start:end] for start, end in zip(starts, ends, strict=bool(ends))]


# --- the parts of a text ---------------------------------------------------------------------------


def _clauses(text: str, language: str) -> list[_Span]:
    found = [cut for cut in cuts(text, language) if can_cut(text, cut[0])]
    return _join_silent(_between(text, 0, [*found, (len(text), Rank.PARAGRAPH)])) if text else []


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
