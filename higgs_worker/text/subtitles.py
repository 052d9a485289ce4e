"""Write timed texts as subtitles: SubRip (SRT) or WebVTT.

A cue has at most two lines of 42 columns, as broadcasters do. A longer segment becomes several cues
that share its time in proportion to their length. Cues are in order and never overlap.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from higgs_worker.text.tags import EVENTS, WRITTEN_EVENT
from higgs_worker.text.words import OPENING, SPACELESS, can_cut

MAX_COLUMNS = 42
"""Of a line; a wide character, as in Chinese, takes two."""
MAX_LINES = 2

_EVENT_NAME = re.compile(r"\[\w+\]")
_OPEN = re.escape(OPENING)
_UNIT = re.compile(rf"[{_OPEN}]{{0,3}}[{SPACELESS}][^\w\s{_OPEN}]*\s*|[^\s{SPACELESS}]+\s*")


class TimedText(Protocol):
    """A text and the time in which it is spoken."""

    @property
    def text(self) -> str:
        """Return the text; events as callers write them."""

    @property
    def speaker(self) -> str | None:
        """Return the speaker's name, if it is known."""

    @property
    def start_s(self) -> float:
        """Return when it starts, in seconds."""

    @property
    def end_s(self) -> float:
        """Return when it ends, in seconds."""


@dataclass(frozen=True, slots=True)
class _Cue:
    start_ms: int
    end_ms: int
    speaker: str | None
    lines: list[str]


def srt(segments: Iterable[TimedText]) -> str:
    """Return SubRip; a speaker's name precedes the text.

    Raises:
        ValueError: a time is negative or not finite.
    """
    return "".join(
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n"
        # SubRip has no escape syntax, and an arrow in the text would be read as a time.
        + "\n".join(cue.lines).replace("-->", "→")
        + "\n\n"
        for number, cue in enumerate(_cues(segments, lambda name: f"{name}: "), start=1)
    )


def vtt(segments: Iterable[TimedText]) -> str:
    """Return WebVTT; a speaker becomes the cue's voice tag.

    Raises:
        ValueError: a time is negative or not finite.
    """
    cues = (
        f"\n{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n"
        + (f"<v {_escape(cue.speaker)}>" if cue.speaker else "")
        + _escape("\n".join(cue.lines))
        + "\n"
        for cue in _cues(segments, lambda name: "")
    )
    return "WEBVTT\n" + "".join(cues)


def _cues(segments: Iterable[TimedText], prefix: Callable[[str], str]) -> Iterator[_Cue]:
    """Yield cues in order; one that would overlap the one before it starts when that ends."""
    free_ms = 0
    for segment in sorted(segments, key=_start):
        start_ms, end_ms = _ms(segment.start_s), _ms(segment.end_s)
        speaker = " ".join((segment.speaker or "").split()) or None
        text = " ".join(WRITTEN_EVENT.sub(_event_label, segment.text).split())
        if not text:
            continue
        lines = _lines((prefix(speaker) if speaker else "") + text)
        groups = [lines[at : at + MAX_LINES] for at in range(0, len(lines), MAX_LINES)]
        start_ms = max(start_ms, free_ms)
        free_ms = max(end_ms, start_ms + len(groups))  # at least one millisecond each
        lengths = [sum(map(len, group)) for group in groups]
        spare_ms, begin_ms, done = free_ms - start_ms - len(groups), start_ms, 0
        for number, (group, length) in enumerate(zip(groups, lengths, strict=True), start=1):
            done += length
            stop_ms = start_ms + number + spare_ms * done // sum(lengths)
            yield _Cue(begin_ms, stop_ms, speaker, group)
            begin_ms = stop_ms


def _start(segment: TimedText) -> float:
    return segment.start_s


def _ms(time_s: float) -> int:
    if not math.isfinite(time_s) or time_s < 0:
        raise ValueError(f"a subtitle's time must be a number of seconds from 0 on, not {time_s}")
    return round(time_s * 1000)


def _event_label(event: re.Match[str]) -> str:
    """Return an event as [Laughter], where it starts, else a space."""
    form = EVENTS[event[1]]
    name = _EVENT_NAME.search(form)
    return f" {name[0]} " if name and not form.startswith("<SE_e>") else " "


def _lines(text: str) -> list[str]:
    """Break a text into lines; if two suffice, they are about equally long."""
    max_columns = MAX_COLUMNS
    if MAX_COLUMNS < (total := _columns(text)) <= MAX_COLUMNS * MAX_LINES:
        # The narrowest width with two lines: 60 columns become 30 and 30, not 42 and 18.
        max_columns = next(
            (each for each in range(total // 2, MAX_COLUMNS) if len(_wrap(text, each)) <= 2),
            MAX_COLUMNS,
        )
    return _wrap(text, max_columns)


def _wrap(text: str, max_columns: int) -> list[str]:
    lines: list[str] = []
    line, num_columns = "", 0
    for unit in _units(text):
        if line and num_columns + _columns(unit.rstrip()) > max_columns:
            lines.append(line.rstrip())
            line, num_columns = "", 0
        line += unit
        num_columns += _columns(unit)
    return [*lines, line.rstrip()]


def _units(text: str) -> Iterator[str]:
    """Yield the parts that are not broken: words, or letters of a script without spaces."""
    start = 0
    for found in _UNIT.finditer(text):
        if found.start() < start or not (found.end() == len(text) or can_cut(text, found.end())):
            continue
        yield from _cut_to_columns(text[start : found.end()])
        start = found.end()
    yield from _cut_to_columns(text[start:])


def _cut_to_columns(unit: str) -> Iterator[str]:
    start = columns = 0
    for at, character in enumerate(unit):
        columns += _columns(character)
        if columns > MAX_COLUMNS and not character.isspace() and can_cut(unit, at):
            yield unit[start:at]
            start, columns = at, _columns(character)
    if unit[start:]:
        yield unit[start:]


def _columns(text: str) -> int:
    return sum(
        2 if unicodedata.east_asian_width(each) in "WF" else unicodedata.category(each)[0] != "M"
        for each in text
    )


def _time(time_ms: int, point: str) -> str:
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{ms:03}"


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
