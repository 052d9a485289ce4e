"""A text as chunks: what is said in which order, by whom, with which pauses.

Tags become speakers, pauses and events; sentences are written out as they are spoken; chunks are
made of them, and joining the chunks gives the text back. A long text is planned stretch by stretch,
as its chunks are asked for, so the first sound waits for the first stretch alone.
"""

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from threading import Lock

from higgs_worker.api.request import SpeechRequest
from higgs_worker.errors import InvalidRequest
from higgs_worker.speech.roles import SpeakerRole, assign_roles
from higgs_worker.text.language import detect
from higgs_worker.text.link_references import LinkReferences
from higgs_worker.text.markup import Passage, check_tags, doubts, parse
from higgs_worker.text.normalise.normalise import normalise
from higgs_worker.text.split import border, sentences, split
from higgs_worker.text.tags import as_written
from higgs_worker.text.words import is_speakable, num_words

PAUSES_S = {"paragraph": 0.5, "sentence": 0.2, "clause": 0.05, "none": 0.0}
"""Silence between two chunks, beside what each keeps at its own edges."""
TURN_PAUSE_S = 0.25
"""Silence between two speakers."""
MAX_PAUSES_S = 600.0
"""All pauses of a text together. Silence is cheap to ask for and takes memory to return."""
MIN_HEARD_S = 0.1
"""What a pause at the start must leave of the caller's limit; less than two frames say nothing."""
OPENING_WORDS = 30
"""Length of a first chunk from which the others take their voice. The others wait for it, and ten
seconds of speech are a good reference."""

STRETCH_CHUNKS = 8
"""A text is planned in stretches of about this many chunks …"""
_CHARS_PER_WORD = 6
MIN_STRETCH_CHARS = 2000
"""… or of this many characters, if that is more."""

WRAPPED_AT = 60
"""A line at least this long that ends without a stop was wrapped to a width."""

_SPACELESS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]\Z")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as the caller wrote it, and as it is spoken."""

    text: str
    spoken: str
    speaker: str | None


@dataclass(frozen=True, slots=True)
class SentencePart:
    """The part of a chunk that belongs to one sentence."""

    sentence: int
    """Index into `ChunkPlan.sentences`."""
    text: str
    is_end: bool = True
    """Whether the sentence ends with it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one sequence is to say."""

    text: str
    speaker: str | None
    """None: nobody in particular, or several in a joint dialogue."""
    parts: tuple[SentencePart, ...]
    pause_s: float = 0.0
    """Silence before it."""

    @property
    def words(self) -> str:
        """What is said, without the tags of a joint dialogue."""
        return "".join(part.text for part in self.parts).strip()


def plan(request: SpeechRequest) -> "ChunkPlan":
    """Start the plan of a request's text: its first chunk is there, further ones on demand.

    Raises:
        InvalidRequest: a tag is wrong, or nothing is left to say.
    """
    names = list(request.speakers)
    if request.strict_tags:
        check_tags(request.text, names=names)  # as it was sent: an error tells a position in it
    passages = parse(_unwrap_lines(request.text), names=names, strict=False)
    if (pauses_s := sum(passage.pause_s for passage in passages)) > MAX_PAUSES_S:
        raise InvalidRequest(
            f"the pauses in text add up to {pauses_s:.0f} s and at most {MAX_PAUSES_S:.0f} are "
            "allowed; make them shorter"
        )
    language = request.language or detect(" ".join(passage.text for passage in passages))
    chunk_plan = ChunkPlan(request, passages, assign_roles(request, passages), language)
    first = chunk_plan.first(1)
    if not first:
        raise InvalidRequest(
            "text has nothing to say once tags, symbols and emoji are taken out; send words"
        )
    _refuse_silence(request, first[0].pause_s)
    return chunk_plan


def _refuse_silence(request: SpeechRequest, pause_s: float) -> None:
    """Refuse a pause at the start that takes all the time there is: nothing would be heard."""
    limit_s = request.max_duration_s
    if limit_s is not None and pause_s and limit_s * request.speed < pause_s + MIN_HEARD_S:
        raise InvalidRequest(
            f"text begins with a pause of {pause_s:g} s and max_duration_s is {limit_s:g}, so "
            "nothing would be heard; make the pause shorter or the limit longer"
        )


class ChunkPlan:
    """The chunks of one request, planned as far as somebody asked. Any thread may ask."""

    def __init__(
        self,
        request: SpeechRequest,
        passages: Sequence[Passage],
        roles: Mapping[str | None, SpeakerRole],
        language: str,
    ) -> None:
        self.roles = roles
        """By speaker, in order of appearance; None speaks without a tag."""
        self.language = language
        self.is_joint = request.dialogue == "joint" and len(roles) > 1
        """Whether chunks hold the turns of several speakers, tagged."""
        self.sentences: list[Sentence] = []
        """Those of the chunks that were planned."""
        self.warnings: tuple[str, ...] = ()
        """Of brackets that may have been meant as tags and are read as text."""
        if not request.strict_tags:
            self.warnings = doubts(request.text, names=list(request.speakers))
        self._request = request
        self._links = LinkReferences(request.text)
        self._planned: list[Chunk] = []
        self._coming = self._all_chunks(passages)
        self._lock = Lock()
        self._num_chars_planned = 0
        self._num_chars_left = sum(len(passage.text) for passage in passages)
        self._pause_s = 0.0
        """Asked for before the next chunk."""
        self._last: Chunk | None = None
        self._opened: set[str | None] = set()
        """Speakers who have said something."""

    @property
    def num_chars(self) -> int:
        """Characters of all chunks; what is not planned yet counts as the caller wrote it."""
        return self._num_chars_planned + self._num_chars_left

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """All chunks; plans the whole text."""
        return tuple(self.first(sys.maxsize))

    @property
    def end_pause_s(self) -> float:
        """Silence at the end; known once the whole text is planned."""
        return self._pause_s

    def first(self, num: int) -> Sequence[Chunk]:
        """Return the first `num` chunks, or all if there are fewer; plans on where needed."""
        with self._lock:
            for chunk in islice(self._coming, max(num - len(self._planned), 0)):
                self._planned.append(chunk)
                self._num_chars_planned += len(chunk.text)
            return self._planned[:num]

    def _all_chunks(self, passages: Iterable[Passage]) -> Iterator[Chunk]:
        turns = (chunk for passage in passages for chunk in self._plan_passage(passage))
        if self.is_joint:
            return _join_turns(turns, self.roles, self._request.chunk_words)
        return turns

    def _plan_passage(self, passage: Passage) -> Iterator[Chunk]:
        """Plan what one speaker says up to the next pause or speaker."""
        self._pause_s += passage.pause_s
        chars = max(MIN_STRETCH_CHARS, STRETCH_CHUNKS * self._request.chunk_words * _CHARS_PER_WORD)
        for stretch in _stretches(passage.text, self.language, chars):
            parts = deque(self._write_out(stretch, passage.speaker))
            self._num_chars_left += sum(len(part.text) for part in parts) - sum(map(len, stretch))
            if not parts:
                continue
            texts = self._split(parts, passage.speaker)
            self._opened.add(passage.speaker)
            for text in texts:
                pause_s = self._pause_s or self._natural_pause_s(passage.speaker)
                self._pause_s = 0.0
                self._num_chars_left -= len(text)
                own_parts = tuple(_pop_chars(parts, len(text)))
                self._last = Chunk(text, passage.speaker, own_parts, pause_s)
                yield self._last

    def _write_out(self, stretch: list[str], speaker: str | None) -> Iterator[SentencePart]:
        """Write sentences out as they are spoken, and leave out what cannot be spoken."""
        for text in stretch:
            spoken = text.strip()
            if self._request.normalise:
                spoken = normalise(self._links.without_ids(text), self.language)
            if not is_speakable(spoken):
                continue
            written = as_written(text.strip())
            self.sentences.append(Sentence(written, as_written(spoken), speaker))
            edge = text[len(text.rstrip()) :] or ("" if _SPACELESS.search(spoken) else " ")
            yield SentencePart(len(self.sentences) - 1, spoken + edge)

    def _split(self, parts: Iterable[SentencePart], speaker: str | None) -> list[str]:
        """Split a stretch into the texts of chunks; a voice still to be found starts short."""
        text = "".join(part.text for part in parts)
        opening = _opening(parts) if self._needs_opening(speaker) else ""
        texts = []
        for each in (opening, text[len(opening) :]):
            if each:
                max_words = self._request.chunk_words
                texts += split(each, max_words=max_words, language=self.language)
        return texts

    def _needs_opening(self, speaker: str | None) -> bool:
        if self.is_joint or speaker in self._opened:
            return False
        return not self.roles[speaker].has_recording

    def _natural_pause_s(self, speaker: str | None) -> float:
        if self._last is None:
            return 0.0
        if self._last.speaker != speaker:
            return TURN_PAUSE_S
        return PAUSES_S[border(self._last.text)]


def _stretches(text: str, language: str, max_chars: int) -> Iterator[list[str]]:
    """Yield the sentences of a text, about `max_chars` of them at a time.

    The last stretch is not short, and no sentence is cut, however long it is.
    """
    start, size = 0, max_chars
    while start < len(text):
        end = start + size
        if len(text) - end <= max_chars // 2:
            end = len(text)
        found = sentences(text[start:end], language)
        if end < len(text):
            found.pop()  # it may go on
        num_chars = sum(map(len, found))
        if num_chars < max(1, len(text[start:end]) // 2):
            # A very long sentence follows. To look at it again behind each short one in front of
            # it would take quadratic time.
            size *= 2
            continue
        yield found
        start, size = start + num_chars, max_chars


def _opening(parts: Iterable[SentencePart]) -> str:
    """Return the sentences at the start that make a first chunk of moderate length."""
    opening = ""
    for part in parts:
        if opening and num_words(opening + part.text) > OPENING_WORDS:
            break
        opening += part.text
    return opening


def _pop_chars(parts: deque[SentencePart], num_chars: int) -> Iterable[SentencePart]:
    """Remove so many characters from the front of `parts`, in place, and yield them."""
    while num_chars > 0:
        part = parts.popleft()
        if len(part.text) > num_chars:
            parts.appendleft(SentencePart(part.sentence, part.text[num_chars:]))
            part = SentencePart(part.sentence, part.text[:num_chars], is_end=False)
        num_chars -= len(part.text)
        yield part


def _join_turns(
    chunks: Iterable[Chunk], roles: Mapping[str | None, SpeakerRole], max_words: int
) -> Iterator[Chunk]:
    """Join turns, tagged, as far as the bound of words and the pauses asked for allow."""
    lines: list[Chunk] = []
    total = 0
    for chunk in chunks:
        size = num_words(chunk.text)
        if lines and (total + size > max_words or chunk.pause_s > max(PAUSES_S.values())):
            yield _tagged(lines, roles)
            lines, total = [], 0
        lines.append(chunk)
        total += size
    if lines:
        yield _tagged(lines, roles)


def _tagged(lines: list[Chunk], roles: Mapping[str | None, SpeakerRole]) -> Chunk:
    text = "\n".join(f"[{roles[line.speaker].tag}] {line.text.strip()}" for line in lines)
    parts = tuple(part for line in lines for part in line.parts)
    return Chunk(text, None, parts, lines[0].pause_s)


def _unwrap_lines(text: str) -> str:
    """Join lines that were wrapped, and keep those apart that were meant: headings, lists."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    parts = lines[:1]
    for line, following in pairwise(lines):
        end, begin = line.rstrip()[-1:], following.lstrip()[:1]
        if not end or not begin:
            parts.append("\n")
        elif begin.islower() or end in ",;-–—" or (len(line) >= WRAPPED_AT and end.isalnum()):
            parts.append(" ")
        else:
            parts.append("\n\n")
        parts.append(following)
    return "".join(parts)
