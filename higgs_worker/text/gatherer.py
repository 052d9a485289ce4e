"""Gather a text that is still being written into pieces that can be spoken.

Fragments of any size come in: tokens of a language model, words, paragraphs. A sentence or clause
counts once nothing that may follow can change where it ends ("Dr." and "3." may go on), or at a
mark, which its caller sets where a text ends. So the parts of a text depend on the text alone, and
not on how it was cut; when they are taken decides which of them come together. Joined, the pieces
are the text. The time is linear, and no more is kept than what has not been taken.
"""

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from higgs_worker.text.cuts import CutPlace, Rank, is_sure, places
from higgs_worker.text.language import detect
from higgs_worker.text.split import MIN_WORDS
from higgs_worker.text.words import can_cut, num_half_words

MAX_WORDS = 100
"""Of a piece, if its parts allow it: as many as a request has in a chunk by default."""
MAX_OPEN_CHARS = 1000
"""Of a part that does not end. A longer sentence is cut at a space: it is read in several breaths."""
_LOOKAHEAD = 64
"""Behind so many characters every place is sure: quotation marks and the next word."""
_BLOCK_CHARS = 4096
"""Taken in at once, so that what is left of a long fragment is not copied for each of its parts."""
_CONTEXT_CHARS = 400
"""Of the text so far, which tell its language: a few sentences, so that it may change."""
_DETECT_EVERY_CHARS = 100
"""Once there is some context; at the beginning, each part may tell the language."""

Mark = TypeVar("Mark")


@dataclass(frozen=True, slots=True)
class Piece(Generic[Mark]):
    """What is spoken at once."""

    text: str
    """May be empty, or have nothing to speak, where there is a mark."""
    mark: Mark | None = None
    """What was set where it ends."""


@dataclass(slots=True)
class _Part:
    """A clause or sentence that is over."""

    texts: list[str]
    rank: Rank
    size: int
    """In half words; 0 if there is nothing to speak."""


@dataclass(slots=True)
class _Passage(Generic[Mark]):
    """The parts between two marks."""

    parts: deque[_Part] = field(default_factory=deque)
    mark: Mark | None = None
    is_over: bool = False


class Gatherer(Generic[Mark]):
    """Takes fragments, gives pieces."""

    def __init__(self, language: str | None = None, *, max_words: int = MAX_WORDS) -> None:
        """Nothing has been written yet.

        Args:
            language: BCP-47 tag; None: detected from what was written so far.
            max_words: of a piece, if its parts allow it.
        """
        self.num_chars = 0
        """Of what was not taken yet."""
        self._given_language = language
        self._max_size = 2 * max_words
        self._min_size = 2 * min(MIN_WORDS, max_words)
        self._passages: deque[_Passage[Mark]] = deque([_Passage()])
        self._tail = ""
        """What may still go on."""
        self._num_scanned = 0
        """Characters of the tail in which no place begins that could still end something."""
        self._first_capital = sys.maxsize
        """Index into the tail; below 0 if one was seen before it."""
        self._language = language or "en"
        self._context = ""
        self._num_undetected = 0
        """Characters of the context since its language was detected."""

    @property
    def language(self) -> str:
        """BCP-47 tag of the text so far."""
        return self._language

    @property
    def num_marks(self) -> int:
        """How many marks were not taken yet."""
        return len(self._passages) - 1

    def push(self, fragment: str) -> None:
        """Add what was written next."""
        self.num_chars += len(fragment)
        for start in range(0, len(fragment), _BLOCK_CHARS):
            block = fragment[start : start + _BLOCK_CHARS]
            self._find_capital(block)
            self._tail += block
            self._cut_tail()

    def settle(self) -> None:
        """End a sentence where the text so far seems to end one, although it may go on.

        For a writer who is known to stop between sentences. What follows may be anything: "No. "
        and "3. " stay open.
        """
        # As if a number followed: of all words, it makes the fewest stops end a sentence.
        supposed = self._tail + "0"
        for place in self._places(supposed):
            rank = place.rank
            if place.end == len(self._tail) and rank is not None and rank >= Rank.SENTENCE:
                self._end_part(place.end, rank)
                return

    def end(self, mark: Mark) -> None:
        """End the text, and set a mark there; what is pushed then is another text."""
        self._cut_tail(is_whole=True)
        if self._tail:
            self._end_part(len(self._tail), Rank.PARAGRAPH)
        passage = self._passages[-1]
        passage.mark, passage.is_over = mark, True
        self._passages.append(_Passage())

    def clear(self) -> None:
        """Drop all that was not taken, marks too."""
        self._passages = deque([_Passage()])
        if self._first_capital < sys.maxsize:
            self._first_capital = -1
        self._tail, self._num_scanned, self.num_chars = "", 0, 0

    def take(self, *, may_be_clause: bool) -> Piece[Mark] | None:
        """Return the next piece, or None if it is better to wait.

        A piece ends at a mark or has whole sentences, as many as there are, up to `max_words`, and
        no fewer than four words, which the model would speak badly.

        Args:
            may_be_clause: whether clauses are enough, because nothing else is there to be heard.
        """
        passage = self._passages[0]
        num_parts = self._num_parts(passage, may_be_clause)
        if num_parts is None:
            return None
        taken = [passage.parts.popleft() for _ in range(num_parts)]
        text = "".join(each for part in taken for each in part.texts)
        self.num_chars -= len(text)
        if passage.parts or not passage.is_over:
            return Piece(text)
        self._passages.popleft()
        return Piece(text, passage.mark)

    def _find_capital(self, block: str) -> None:
        if self._first_capital == sys.maxsize and block != block.lower():
            index = next(n for n, each in enumerate(block) if each != each.lower())
            self._first_capital = len(self._tail) + index

    def _cut_tail(self, *, is_whole: bool = False) -> None:
        """Make parts of the tail as far as they are sure; `is_whole`: nothing follows it."""
        while (end := self._next_cut(is_whole)) is not None:
            self._end_part(*end)

    def _next_cut(self, is_whole: bool) -> tuple[int, Rank] | None:
        tail = self._tail
        for place in self._places(tail):
            if place.end > MAX_OPEN_CHARS:
                return self._forced_cut(), Rank.WORD
            if not is_whole and not is_sure(tail, place):
                self._num_scanned = place.start
                break
            self._num_scanned = place.end
            if place.rank is not None and can_cut(tail, place.end):
                return place.end, place.rank
        else:
            # A dash between spaces is one only if a space follows.
            self._num_scanned = len(tail.rstrip("-"))
        is_long = len(tail) > (MAX_OPEN_CHARS if is_whole else MAX_OPEN_CHARS + _LOOKAHEAD)
        return (self._forced_cut(), Rank.WORD) if is_long else None

    def _places(self, text: str) -> Iterator[CutPlace]:
        return places(
            text, self._language, first_capital=self._first_capital, start=self._num_scanned
        )

    def _forced_cut(self) -> int:
        """Return where a part is cut that does not end: at a space, else between two letters."""
        space = max(self._tail.rfind(each, 0, MAX_OPEN_CHARS) for each in " \n\t")
        if space > 0:
            return space + 1
        at = MAX_OPEN_CHARS
        while at > 1 and not can_cut(self._tail, at):
            at -= 1
        return at if at > 1 else MAX_OPEN_CHARS

    def _end_part(self, end: int, rank: Rank) -> None:
        """Make a part of the first `end` characters of the tail."""
        text, self._tail = self._tail[:end], self._tail[end:]
        self._num_scanned = 0
        if self._first_capital < sys.maxsize:
            self._first_capital = max(-1, self._first_capital - end)
        parts = self._passages[-1].parts
        size = num_half_words(text)
        if parts and not (size and parts[-1].size):
            # What has nothing to speak belongs to the part before it, or to the first one.
            last = parts[-1]
            last.texts.append(text)
            last.size += size
            last.rank = max(last.rank, rank) if not size else rank
        else:
            parts.append(_Part([text], rank, size))
        self._hear_language(text)

    def _hear_language(self, text: str) -> None:
        if self._given_language is not None:
            return
        self._context = (self._context + text)[-_CONTEXT_CHARS:]
        self._num_undetected += len(text)
        if self._num_undetected >= min(_DETECT_EVERY_CHARS, len(self._context) // 2):
            self._num_undetected = 0
            self._language = detect(self._context)

    def _num_parts(self, passage: _Passage[Mark], may_be_clause: bool) -> int | None:
        """Return how many parts make the next piece; None: not enough."""
        sentences = clauses = size = 0
        for num, part in enumerate(passage.parts, 1):
            size += part.size
            if size > self._max_size:
                return sentences or clauses or max(1, num - 1)
            if size >= self._min_size:
                clauses = num
                if part.rank >= Rank.SENTENCE:
                    sentences = num
        if passage.is_over:
            return len(passage.parts)
        return sentences or (clauses if may_be_clause else 0) or None
