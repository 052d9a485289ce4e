"""What is said in which order: a request's text as chunks, each with its speaker and its pause.

Tags become speakers, pauses and events, sentences are written as they are spoken, and chunks of
them are made so that nothing is lost. A long text is written stretch by stretch, as its chunks are
asked for, so that the first sound waits for the first stretch alone. Knows no voice, no prompt and
no sound.
"""

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from threading import Lock

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import InvalidRequest
from higgs_worker.text.language import detect
from higgs_worker.text.markup import Passage, parse
from higgs_worker.text.normalise.normalise import normalise
from higgs_worker.text.split import border, sentences, split
from higgs_worker.text.words import is_speakable, num_words

PAUSES_S = {"paragraph": 0.5, "sentence": 0.2, "clause": 0.05, "none": 0.0}
"""Silence between two chunks, beside what each keeps at its own edges."""
TURN_PAUSE_S = 0.25
MAX_PAUSES_S = 600.0
"""Silence costs nothing to ask for, and memory to give."""
OPENING_WORDS = 30
"""A first chunk from which the others take their voice: ten seconds are a good reference, and the
others wait for them."""

STRETCH_CHUNKS = 8
"""A text is written in stretches of about so many chunks, …"""
_CHARS_PER_WORD = 6
MIN_STRETCH_CHARS = 2000
"""… or of so many characters, if that is more."""

WRAPPED_AT = 60
"""Lines at least this long that end without a stop were wrapped to a width."""

_NUMBERED = re.compile(r"SPEAKER\d+")
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
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one sequence is to say."""

    text: str
    speaker: str | None
    """None: nobody in particular, or several in a joint dialogue."""
    shares: tuple[SentencePart, ...]
    pause_s: float = 0.0
    """Silence before it."""

    @property
    def words(self) -> str:
        """What is said, without the tags of a joint dialogue."""
        return "".join(share.text for share in self.shares).strip()


@dataclass(frozen=True, slots=True)
class SpeakerRole:
    """A speaker: the model's name for them, and the voice that the caller chose."""

    tag: str
    """SPEAKER0, SPEAKER1 …"""
    choice: VoiceSpec | None

    @property
    def description(self) -> str | None:
        """The voice in words; None when it is a recording or the model's choice."""
        return self.choice.description if self.choice else None

    @property
    def has_recording(self) -> bool:
        """Whether the voice is a recording, of the library or the caller's."""
        return self.choice is not None and self.choice.description is None


class ChunkPlan:
    """All chunks of a request, written as far as somebody asked."""

    def __init__(self, writer: "_Writer") -> None:
        self.roles: Mapping[str | None, SpeakerRole] = writer.roles
        """By speaker, in order of appearance; None is who speaks without a tag."""
        self.language: str = writer.language
        self.is_joint: bool = writer.is_joint
        """Chunks hold the turns of several speakers, tagged."""
        self.sentences: list[Sentence] = writer.sentences
        """Those of the chunks that were written."""
        self._writer = writer
        self._coming = writer.chunks()
        self._written: list[Chunk] = []
        self._num_chars = 0
        self._lock = Lock()

    @property
    def num_chars(self) -> int:
        """Characters of all chunks; what is not written yet counts as it came."""
        return self._num_chars + self._writer.num_chars_left

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """All of them; writes to the end."""
        return tuple(self.first(sys.maxsize))

    @property
    def end_pause_s(self) -> float:
        """Silence at the end, once all is written."""
        return self._writer.pause_s

    def first(self, num: int) -> Sequence[Chunk]:
        """Give the first chunks, so many if there are; writes on where needed, which takes time."""
        with self._lock:
            for chunk in islice(self._coming, max(num - len(self._written), 0)):
                self._written.append(chunk)
                self._num_chars += len(chunk.text)
            return self._written[:num]


def plan(request: SpeechRequest) -> ChunkPlan:
    """Begin the script of a request's text.

    Raises:
        InvalidRequest: a tag is wrong, or nothing remains to be said.
    """
    names = list(request.speakers)
    passages = parse(_unwrapped(request.text), names=names, strict=request.strict_tags)
    if (pauses_s := sum(passage.pause_s for passage in passages)) > MAX_PAUSES_S:
        raise InvalidRequest(
            f"the pauses in text add up to {pauses_s:.0f} s and at most {MAX_PAUSES_S:.0f} are "
            "allowed; make them shorter"
        )
    language = request.language or detect(" ".join(passage.text for passage in passages))
    script = ChunkPlan(_Writer(request, passages, _cast(request, passages), language))
    if not script.first(1):
        raise InvalidRequest(
            "text has nothing to say once tags, symbols and emoji are taken out; send words"
        )
    return script


def _cast(request: SpeechRequest, passages: list[Passage]) -> dict[str | None, SpeakerRole]:
    """Give every speaker of a text a tag and the voice that was chosen for them."""
    speakers = list(dict.fromkeys(each.speaker for each in passages if each.text.strip()))
    tagged = [speaker for speaker in speakers if speaker is not None]
    given = {name.casefold(): choice for name, choice in request.speakers.items()}
    free = (
        f"SPEAKER{n}" for n in range(len(tagged) + len(speakers)) if f"SPEAKER{n}" not in tagged
    )
    roles: dict[str | None, SpeakerRole] = {}
    for speaker in speakers:
        choice = request.voice
        if speaker is not None and speaker.casefold() in given:
            choice = given[speaker.casefold()]
        elif speaker is not None and (given or (request.voice and len(tagged) > 1)):
            known = "speakers has no voice for it" if given else "voice cannot be that of all"
            raise InvalidRequest(
                f"the text has [{speaker}] and {known}; send speakers with a voice for each, or "
                "null where the model may choose"
            )
        is_numbered = speaker is not None and _NUMBERED.fullmatch(speaker)
        roles[speaker] = SpeakerRole(str(speaker) if is_numbered else next(free), choice)
    return roles


class _Writer:
    """Writes sentences, passage by passage, into chunks."""

    def __init__(
        self,
        request: SpeechRequest,
        passages: list[Passage],
        roles: dict[str | None, SpeakerRole],
        language: str,
    ) -> None:
        self.roles = roles
        self.language = language
        self.is_joint = request.dialogue == "joint" and len(roles) > 1
        self.sentences: list[Sentence] = []
        self.num_chars_left = sum(len(passage.text) for passage in passages)
        """Of what is not in a chunk yet."""
        self.pause_s = 0.0
        """Asked for, before what comes next."""
        self._request = request
        self._passages = passages
        self._last: Chunk | None = None
        self._begun: set[str | None] = set()
        """Speakers who have said something."""

    def chunks(self) -> Iterator[Chunk]:
        """Write all chunks, one by one."""
        turns = (chunk for passage in self._passages for chunk in self._turn(passage))
        if self.is_joint:
            return _joined(turns, self.roles, self._request.chunk_words)
        return turns

    def _turn(self, passage: Passage) -> Iterator[Chunk]:
        """Write what one speaker says up to the next pause or speaker."""
        self.pause_s += passage.pause_s
        chars = max(MIN_STRETCH_CHARS, STRETCH_CHUNKS * self._request.chunk_words * _CHARS_PER_WORD)
        for stretch in _stretches(passage.text, self.language, chars):
            said = deque(self._said(stretch, passage.speaker))
            self.num_chars_left += sum(len(share.text) for share in said) - sum(map(len, stretch))
            if not said:
                continue
            pieces = self._pieces(said, passage.speaker)
            self._begun.add(passage.speaker)
            for piece in pieces:
                pause_s = self.pause_s or self._natural_pause_s(passage.speaker)
                self.pause_s = 0.0
                self.num_chars_left -= len(piece)
                shares = tuple(_cut(said, len(piece)))
                self._last = Chunk(piece, passage.speaker, shares, pause_s)
                yield self._last

    def _said(self, stretch: list[str], speaker: str | None) -> Iterator[SentencePart]:
        for text in stretch:
            spoken = normalise(text, self.language) if self._request.normalise else text.strip()
            if not is_speakable(spoken):
                continue
            self.sentences.append(Sentence(text.strip(), spoken, speaker))
            edge = text[len(text.rstrip()) :] or ("" if _SPACELESS.search(spoken) else " ")
            yield SentencePart(len(self.sentences) - 1, spoken + edge)

    def _pieces(self, said: Iterable[SentencePart], speaker: str | None) -> list[str]:
        """Split what is said at once; a voice that is yet to be found begins with a short piece."""
        text = "".join(share.text for share in said)
        opening = _opening(said) if self._opens(speaker) else ""
        pieces = []
        for part in (opening, text[len(opening) :]):
            if part:
                max_words = self._request.chunk_words
                pieces += split(part, max_words=max_words, language=self.language)
        return pieces

    def _opens(self, speaker: str | None) -> bool:
        if self.is_joint or speaker in self._begun:
            return False
        return not self.roles[speaker].has_recording

    def _natural_pause_s(self, speaker: str | None) -> float:
        if self._last is None:
            return 0.0
        if self._last.speaker != speaker:
            return TURN_PAUSE_S
        return PAUSES_S[border(self._last.text)]


def _stretches(text: str, language: str, max_chars: int) -> Iterator[list[str]]:
    """Give the sentences of a text, about so many characters of them at a time.

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
        if found:
            yield found
        start, size = start + sum(map(len, found)), max_chars if found else 2 * size


def _opening(said: Iterable[SentencePart]) -> str:
    opening = ""
    for share in said:
        if opening and num_words(opening + share.text) > OPENING_WORDS:
            break
        opening += share.text
    return opening


def _cut(shares: deque[SentencePart], num_chars: int) -> Iterable[SentencePart]:
    """Take so many characters off the front of `shares`, in place."""
    while num_chars > 0:
        share = shares.popleft()
        if len(share.text) > num_chars:
            shares.appendleft(SentencePart(share.sentence, share.text[num_chars:]))
            share = SentencePart(share.sentence, share.text[:num_chars])
        num_chars -= len(share.text)
        yield share


def _joined(
    chunks: Iterable[Chunk], roles: Mapping[str | None, SpeakerRole], max_words: int
) -> Iterator[Chunk]:
    """Put turns together, tagged, as far as the bound of words and the pauses asked for allow."""
    lines: list[Chunk] = []
    total = 0
    for chunk in chunks:
        size = num_words(chunk.text)
        if lines and (total + size > max_words or chunk.pause_s > max(PAUSES_S.values())):
            yield _together(lines, roles)
            lines, total = [], 0
        lines.append(chunk)
        total += size
    if lines:
        yield _together(lines, roles)


def _together(lines: list[Chunk], roles: Mapping[str | None, SpeakerRole]) -> Chunk:
    text = "\n".join(f"[{roles[line.speaker].tag}] {line.text.strip()}" for line in lines)
    shares = tuple(share for line in lines for share in line.shares)
    return Chunk(text, None, shares, lines[0].pause_s)


def _unwrapped(text: str) -> str:
    """Join lines that were wrapped, and part those that were meant: headings, lists, turns."""
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
