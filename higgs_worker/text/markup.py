"""Parse a text with tags into passages: who says what, and where there is silence.

A tag is valid at any position. Events stay in the text, in the model's form; speaker and pause tags
divide it. Nothing but tags is lost: the passages' texts, joined, are the text without speaker and
pause tags.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from higgs_worker.errors import InvalidRequest
from higgs_worker.text.link_references import LinkReferences
from higgs_worker.text.tags import EVENT, MAX_PAUSE_S, EventTag, PauseTag, SpeakerTag, Tags
from higgs_worker.text.words import is_speakable

_BRACKET = re.compile(rf"(?P<event>{EVENT.pattern})|\[(?P<inner>[^\[\]\r\n]*+)\]|\[")
_MAX_LISTED = 50
_MAX_DOUBTS = 5


@dataclass(frozen=True, slots=True)
class Passage:
    """Text of one speaker, without an explicit pause."""

    speaker: str | None
    """As in `names`, or SPEAKER0, SPEAKER1 …; None before the first tag."""
    text: str
    pause_s: float = 0.0
    """Silence before it, in seconds."""


def parse(text: str, *, names: Collection[str] = (), strict: bool = True) -> list[Passage]:
    """Divide a text at its speaker and pause tags.

    Every passage has a letter, digit or event to speak. Text without any (an empty turn, the line
    break between two tags) joins the passage before it, or else the first one after it. There are
    two exceptions. A pause at the end makes a last passage without text, and a text with nothing to
    speak makes at most one passage. Consecutive pauses add up, also across a speaker tag.

    Args:
        text: as the caller wrote it.
        names: speakers besides SPEAKER0, SPEAKER1 … that are valid in brackets.
        strict: reject brackets that look like tags but are not; otherwise they are text.

    Raises:
        InvalidRequest: a name cannot be used, a pause is out of bounds, or a tag is unknown or not
            closed; `details["errors"]` lists such tags.
    """
    if strict:
        check_tags(text, names=names)
    divider = _Divider()
    for tag in _read(text, Tags(names)):
        if isinstance(tag, SpeakerTag):
            divider.switch_to(tag.name)
        elif isinstance(tag, PauseTag):
            divider.pause(tag.duration_ms)
        else:
            divider.add(tag)
    return divider.finish()


def check_tags(text: str, *, names: Collection[str] = ()) -> None:
    """Refuse brackets that look like tags but are not.

    Args:
        text: as the caller wrote it.
        names: see `parse`.

    Raises:
        InvalidRequest: see `parse`.
    """
    if problems := list(islice(_problems(text, Tags(names)), _MAX_LISTED)):
        raise _invalid(problems)


def doubts(text: str, *, names: Collection[str] = ()) -> tuple[str, ...]:
    """Return warnings of brackets that are read as text and were perhaps meant as tags.

    Args:
        text: as the caller wrote it.
        names: see `parse`.
    """
    tags = Tags(names)
    meant = {
        inner: None
        for inner, before, after, _ in _other_brackets(text, tags)
        if inner is not None and tags.looks_meant(inner, before, after)
    }
    found = (tags.doubt(inner) for inner in islice(meant, _MAX_LISTED))
    return tuple(islice(filter(None, found), _MAX_DOUBTS))


def _read(text: str, tags: Tags) -> Iterator[str | SpeakerTag | PauseTag]:
    """Yield text, events included, and the tags that divide it."""
    done = 0
    for found in _BRACKET.finditer(text):
        tag = None if found["inner"] is None else tags.read(found["inner"])
        if tag is not None:
            yield text[done : found.start()]
            yield tag.form if isinstance(tag, EventTag) else tag
            done = found.end()
    yield text[done:]


def _problems(text: str, tags: Tags) -> Iterator[tuple[int, str]]:
    """Yield where a bracket looks like a tag and is none, and what is wrong with it."""
    for inner, before, after, start in _other_brackets(text, tags):
        if inner is None:
            problem = tags.unclosed(text[start + 1 : start + 1 + tags.unclosed_span])
        else:
            problem = tags.mistake(inner, before, after)
        if problem:
            yield start, problem


def _other_brackets(text: str, tags: Tags) -> Iterator[tuple[str | None, str, str, int]]:
    """Yield each bracket that is neither a tag nor an event nor part of a link by reference.

    What it holds (None: it is not closed), the characters around it, and where it begins.
    """
    links = LinkReferences(text).brackets(text)
    for found in _BRACKET.finditer(text):
        inner, start, end = found["inner"], found.start(), found.end()
        if found["event"] or start in links or (inner is not None and tags.read(inner)):
            continue
        yield inner, text[max(0, start - 1) : start], text[end : end + 1], start


class _Divider:
    """Collects passages; their parts are joined once, at the end."""

    def __init__(self) -> None:
        self._speaker: str | None = None
        self._pause_ms = 0
        self._parts: list[str] = []  # text since the last speaker or pause tag
        self._silent: list[str] = []  # text before the first speakable part
        self._passages: list[tuple[str | None, list[str], int]] = []

    def add(self, text: str) -> None:
        self._parts.append(text)

    def switch_to(self, speaker: str) -> None:
        if speaker != self._speaker:
            self._flush()
            self._speaker = speaker

    def pause(self, duration_ms: int) -> None:
        self._flush()
        self._pause_ms += duration_ms
        if self._pause_ms > MAX_PAUSE_S * 1000:
            raise InvalidRequest(
                f"pauses in a row add up to more than {MAX_PAUSE_S:g}s; make them shorter"
            )

    def finish(self) -> list[Passage]:
        self._flush()
        if self._pause_ms or (self._silent and not self._passages):
            self._append(self._silent if not self._passages else [])
        return [
            Passage(speaker, "".join(parts), pause_ms / 1000)
            for speaker, parts, pause_ms in self._passages
        ]

    def _flush(self) -> None:
        parts, self._parts = [each for each in self._parts if each], []
        if not any(map(is_speakable, parts)):
            (self._passages[-1][1] if self._passages else self._silent).extend(parts)
        elif self._passages and not self._pause_ms and self._passages[-1][0] == self._speaker:
            self._passages[-1][1].extend(parts)
        else:
            self._append(self._silent + parts)
            self._silent = []

    def _append(self, parts: list[str]) -> None:
        self._passages.append((self._speaker, parts, self._pause_ms))
        self._pause_ms = 0


def _invalid(problems: list[tuple[int, str]]) -> InvalidRequest:
    position, message = problems[0]
    least = "at least " if len(problems) == _MAX_LISTED else ""
    more = f" (and {least}{len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(
        f"text, at position {position} counted from 0: {message}{more}",
        details={
            "errors": [
                {"field": "text", "message": f"at position {position}: {message}"}
                for position, message in problems
            ]
        },
    )
