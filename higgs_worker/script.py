"""What is said in which order: a request's text as chunks, each with its speaker and its pause.

Tags become speakers, pauses and events, sentences are written as they are spoken, and chunks of
them are made so that nothing is lost. Knows no voice, no prompt and no sound.
"""

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from higgs_worker.errors import InvalidRequest
from higgs_worker.schema import SpeechRequest
from higgs_worker.text.language import detect
from higgs_worker.text.markup import Passage, parse
from higgs_worker.text.normalise import normalise
from higgs_worker.text.split import border, sentences, split
from higgs_worker.text.words import is_speakable, num_words
from higgs_worker.voice_choice import VoiceChoice

PAUSES_S = {"paragraph": 0.5, "sentence": 0.2, "clause": 0.05, "none": 0.0}
"""Silence between two chunks, beside what each keeps at its own edges."""
TURN_PAUSE_S = 0.25
MAX_PAUSES_S = 600.0
"""Silence costs nothing to ask for, and memory to give."""
OPENING_WORDS = 30
"""A first chunk from which the others take their voice: ten seconds are a good reference, and the
others wait for them."""

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
class Share:
    """The part of a chunk that belongs to one sentence."""

    sentence: int
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one sequence is to say."""

    text: str
    speaker: str | None
    """None: nobody in particular, or several in a joint dialogue."""
    shares: tuple[Share, ...]
    pause_s: float = 0.0
    """Silence before it."""

    @property
    def words(self) -> str:
        """What is said, without the tags of a joint dialogue."""
        return "".join(share.text for share in self.shares).strip()


@dataclass(frozen=True, slots=True)
class Role:
    """A speaker: the model's name for them, and the voice that the caller chose."""

    tag: str
    """SPEAKER0, SPEAKER1 …"""
    choice: VoiceChoice | None

    @property
    def description(self) -> str | None:
        """The voice in words; None when it is a recording or the model's choice."""
        return self.choice.description if self.choice else None

    @property
    def has_recording(self) -> bool:
        """Whether the voice is a recording, of the library or the caller's."""
        return self.choice is not None and self.choice.description is None


@dataclass(frozen=True, slots=True)
class Script:
    """All chunks of a request."""

    chunks: tuple[Chunk, ...]
    sentences: tuple[Sentence, ...]
    roles: Mapping[str | None, Role]
    """By speaker, in order of appearance; None is who speaks without a tag."""
    language: str
    is_joint: bool
    """Chunks hold the turns of several speakers, tagged."""
    end_pause_s: float = 0.0


def write(request: SpeechRequest) -> Script:
    """Make a script of a request's text.

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
    writer = _Writer(request, _cast(request, passages), language)
    for passage in passages:
        writer.add(passage)
    if not writer.sentences:
        raise InvalidRequest(
            "text has nothing to say once tags, symbols and emoji are taken out; send words"
        )
    return writer.script()


def _cast(request: SpeechRequest, passages: list[Passage]) -> dict[str | None, Role]:
    """Give every speaker of a text a tag and the voice that was chosen for them."""
    speakers = list(dict.fromkeys(each.speaker for each in passages if each.text.strip()))
    tagged = [speaker for speaker in speakers if speaker is not None]
    given = {name.casefold(): choice for name, choice in request.speakers.items()}
    free = (
        f"SPEAKER{n}" for n in range(len(tagged) + len(speakers)) if f"SPEAKER{n}" not in tagged
    )
    roles: dict[str | None, Role] = {}
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
        roles[speaker] = Role(str(speaker) if is_numbered else next(free), choice)
    return roles


class _Writer:
    """Collects sentences, passage by passage, into chunks."""

    def __init__(
        self, request: SpeechRequest, roles: dict[str | None, Role], language: str
    ) -> None:
        self.sentences: list[Sentence] = []
        self._request = request
        self._roles = roles
        self._language = language
        self._is_joint = request.dialogue == "joint" and len(roles) > 1
        self._chunks: list[Chunk] = []
        self._pause_s = 0.0

    def add(self, passage: Passage) -> None:
        """Take in what one speaker says up to the next pause or speaker."""
        self._pause_s += passage.pause_s
        said = deque(self._said(passage))
        if not said:
            return
        text = "".join(share.text for share in said)
        for number, piece in enumerate(self._pieces(text, passage.speaker)):
            pause_s = self._natural_pause_s(passage.speaker)
            if not number and self._pause_s:
                pause_s, self._pause_s = self._pause_s, 0.0
            shares = tuple(_cut(said, len(piece)))
            self._chunks.append(Chunk(piece, passage.speaker, shares, pause_s))

    def script(self) -> Script:
        """Return what was collected."""
        chunks = self._chunks
        if self._is_joint:
            chunks = list(_joined(chunks, self._roles, self._request.chunk_words))
        return Script(
            chunks=tuple(chunks),
            sentences=tuple(self.sentences),
            roles=self._roles,
            language=self._language,
            is_joint=self._is_joint,
            end_pause_s=self._pause_s,
        )

    def _said(self, passage: Passage) -> Iterable[Share]:
        for text in sentences(passage.text, self._language):
            spoken = normalise(text, self._language) if self._request.normalise else text.strip()
            if not is_speakable(spoken):
                continue
            self.sentences.append(Sentence(text.strip(), spoken, passage.speaker))
            edge = text[len(text.rstrip()) :] or ("" if _SPACELESS.search(spoken) else " ")
            yield Share(len(self.sentences) - 1, spoken + edge)

    def _pieces(self, text: str, speaker: str | None) -> list[str]:
        """Split what is said at once; a voice that is yet to be found begins with a short piece."""
        opening = self._opening(text) if self._opens(speaker) else ""
        pieces = []
        for part in (opening, text[len(opening) :]):
            if part:
                max_words = self._request.chunk_words
                pieces += split(part, max_words=max_words, language=self._language)
        return pieces

    def _opens(self, speaker: str | None) -> bool:
        if self._is_joint or any(chunk.speaker == speaker for chunk in self._chunks):
            return False
        return not self._roles[speaker].has_recording

    def _opening(self, text: str) -> str:
        opening = ""
        for sentence in sentences(text, self._language):
            if opening and num_words(opening + sentence) > OPENING_WORDS:
                break
            opening += sentence
        return opening

    def _natural_pause_s(self, speaker: str | None) -> float:
        if not self._chunks:
            return 0.0
        before = self._chunks[-1]
        if before.speaker != speaker:
            return TURN_PAUSE_S
        return PAUSES_S[border(before.text)]


def _cut(shares: deque[Share], num_chars: int) -> Iterable[Share]:
    """Take so many characters off the front of `shares`, in place."""
    while num_chars > 0:
        share = shares.popleft()
        if len(share.text) > num_chars:
            shares.appendleft(Share(share.sentence, share.text[num_chars:]))
            share = Share(share.sentence, share.text[:num_chars])
        num_chars -= len(share.text)
        yield share


def _joined(
    chunks: list[Chunk], roles: Mapping[str | None, Role], max_words: int
) -> Iterable[Chunk]:
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
    yield _together(lines, roles)


def _together(lines: list[Chunk], roles: Mapping[str | None, Role]) -> Chunk:
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
