"""Tags: instructions in square brackets, which are not read aloud.

    [laugh] [cough] [applause] [cheering] [music]             a sound
    [humming start] [humming end]; music and sing likewise    a sound around words
    [pause 500ms] [pause 1.5s]                                silence
    [SPEAKER0] [Anna]                                         who speaks from here

Case and spaces do not matter. Any other bracket is text, unless it looks like a mistyped tag: see
`Tags.looks_meant`. This module examines one bracket at a time; `markup` parses a text.
Source: boson-ai/higgs-audio `examples/generation.py`, the replacements before prompting.
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from higgs_worker.errors import InvalidRequest
from higgs_worker.messages import MAX_QUOTED, quote

EVENTS = {
    "laugh": "<SE>[Laughter]</SE>",
    "cough": "<SE>[Cough]</SE>",
    "applause": "<SE>[Applause]</SE>",
    "cheering": "<SE>[Cheering]</SE>",
    "music": "<SE>[Music]</SE>",
    "music start": "<SE_s>[Music]</SE_s>",
    "music end": "<SE_e>[Music]</SE_e>",
    "humming start": "<SE_s>[Humming]</SE_s>",
    "humming end": "<SE_e>[Humming]</SE_e>",
    "sing start": "<SE_s>[Singing]</SE_s>",
    "sing end": "<SE_e>[Singing]</SE_e>",
}
"""The form that the model was trained on, by what callers write."""

EVENT = re.compile("|".join(re.escape(form) for form in EVENTS.values()))
"""Any event in the model's form. It has no white space and must never be cut or rewritten."""

WRITTEN_EVENT = re.compile(rf"\[({'|'.join(map(re.escape, EVENTS))})\]")
"""Any event as `as_written` writes it."""

MAX_PAUSE_S = 10.0
"""Longer silence is a mistake, or should be added by the player."""

EDITORIAL = frozenset({"sic", "citation needed", "emphasis added", "redacted"})
"""Words that writers put in brackets and that look like tags; they are text."""

_SPEAKER = re.compile(r"speaker[0-9]{1,9}")
_PAUSE = re.compile(r"pause ?([0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?(ms|s)")
_PAUSE_LIKE = re.compile(r"pause\W*(?:[0-9.+-].*)?", re.DOTALL)
_MAX_LOOKALIKE = 32
_MAX_LOOKALIKE_WORDS = 3
_WRITTEN = {form: f"[{name}]" for name, form in EVENTS.items()}


def as_written(text: str) -> str:
    """Return a text with events as callers write them, not as the model knows them."""
    return EVENT.sub(lambda event: _WRITTEN[event[0]], text)


@dataclass(frozen=True, slots=True)
class EventTag:
    """A sound, in the model's form."""

    form: str


@dataclass(frozen=True, slots=True)
class PauseTag:
    """Silence, in whole milliseconds, so that sums are exact."""

    duration_ms: int


@dataclass(frozen=True, slots=True)
class SpeakerTag:
    """The speaker from here on."""

    name: str


class Tags:
    """The tags of one text: the model's events, pauses, and its speakers."""

    def __init__(self, names: Collection[str] = ()) -> None:
        """Accept the names of speakers besides SPEAKER0, SPEAKER1 …

        Raises:
            InvalidRequest: a name cannot be a tag, is another tag already, or occurs twice.
        """
        self._names: dict[str, str] = {}
        for name in names:
            key = _key(name)
            if not key or re.search(r"[\[\]\r\n]", name):
                raise InvalidRequest(
                    f"{quote(name)} cannot be a speaker's name; it must not be empty or hold "
                    "square brackets or line breaks"
                )
            if key in EVENTS or _PAUSE_LIKE.fullmatch(key):
                raise InvalidRequest(
                    f"{quote(name)} cannot be a speaker's name, because [{key}] is another tag; "
                    "choose another name"
                )
            if self._names.setdefault(key, name) != name:
                raise InvalidRequest(
                    f"the speakers {quote(self._names[key])} and {quote(name)} cannot be told "
                    "apart in a text; rename one of them"
                )
        known = sorted((*EVENTS, *self._names), key=len, reverse=True)
        self._longest = max(map(len, known))
        any_of = "|".join((*map(re.escape, known), _SPEAKER.pattern, "pause"))
        self._known = re.compile(rf"(?:{any_of})(?![^\W_])")

    def read(self, inner: str) -> EventTag | PauseTag | SpeakerTag | None:
        """Return the tag for the text between two brackets; None if it is not a tag.

        Raises:
            InvalidRequest: a pause is out of bounds.
        """
        key = _key(inner)
        if name := self._names.get(key):
            return SpeakerTag(name)
        if form := EVENTS.get(key):
            return EventTag(form)
        if _SPEAKER.fullmatch(key):
            return SpeakerTag(key.upper())
        if pause := _PAUSE.fullmatch(key):
            return PauseTag(_duration_ms(pause[1], pause[2], inner))
        return None

    def looks_meant(self, inner: str, before: str, after: str) -> bool:
        """Return whether a bracket that is no tag looks like one; otherwise it is text.

        It looks like a tag if it holds one to three words of letters, 2 to 32 characters, perhaps
        with `-`, `_`, `'` and a number at the end: [sigh], [SPEKER1], [clears throat], [Speaker 2].
        It also does if it starts like a pause. It is text if it is a single letter, starts with a
        number or holds other characters: [x], [1], [2024], [he left, slowly]. It is also text after
        a letter or digit (list[int]), as the label of a link ([label](address)), or in EDITORIAL.

        Args:
            inner: the text between the brackets.
            before: the character before them, or "".
            after: the character after them, or "".
        """
        key = _key(inner)
        if _PAUSE_LIKE.fullmatch(key):
            return True
        is_text = before.isalnum() or after == "(" or key in EDITORIAL
        return not is_text and _looks_like_tag(key)

    def mistake(self, inner: str, before: str, after: str) -> str | None:
        """Return what is wrong with a bracket that looks like a tag; None if it is text.

        Args:
            inner, before, after: see `looks_meant`.
        """
        if not self.looks_meant(inner, before, after):
            return None
        if _is_like_pause(inner):
            return f"{_quote_tag(inner)} is no pause; write [pause 500ms] or [pause 1.5s]"
        near = self._nearest(_key(inner))
        advice = f"did you mean [{near}]?" if near else f"there are {self._known_tags()}."
        return (
            f"unknown tag {_quote_tag(inner)}; {advice} To have the words read aloud, leave out "
            "the brackets or set strict_tags to false"
        )

    def doubt(self, inner: str) -> str | None:
        """Return a warning of a bracket that is read as text; None if it is like no tag."""
        near = "pause 500ms" if _is_like_pause(inner) else self._nearest(_key(inner))
        return near and f"{_quote_tag(inner)} was read as text; did you mean [{near}]?"

    def unclosed(self, rest: str) -> str | None:
        """Return what is wrong with an unclosed bracket; None unless a tag starts there.

        Args:
            rest: the text after the bracket; `unclosed_span` characters are enough.
        """
        found = self._known.match(_key(re.split(r"[\r\n]", rest, maxsplit=1)[0]))
        return found and f"the tag '[{found.group()[:MAX_QUOTED]}' is not closed; add a ']'"

    @property
    def unclosed_span(self) -> int:
        """Return how many characters after a bracket show whether a tag starts there."""
        return self._longest + _MAX_LOOKALIKE

    def _nearest(self, key: str) -> str | None:
        number = re.search(r"[0-9]{1,9}$", key)
        speaker = f"speaker{number.group() if number else 0}"
        shown = {each: each for each in EVENTS} | {speaker: speaker.upper()} | self._names
        found = difflib.get_close_matches(key, shown, n=1)
        return shown[found[0]] if found else None

    def _known_tags(self) -> str:
        names = [name for name in self._names.values() if len(name) <= MAX_QUOTED][:10]
        return ", ".join(f"[{each}]" for each in (*EVENTS, "pause 500ms", "SPEAKER0", *names))


def _key(text: str) -> str:
    """Return a tag's text with case and spaces folded."""
    return unicodedata.normalize("NFC", " ".join(text.split())).casefold()


def _duration_ms(number: str, unit: str, inner: str) -> int:
    value = float(number) * (1000 if unit == "s" else 1)
    if not math.isfinite(value) or not 1 <= round(value) <= MAX_PAUSE_S * 1000:
        raise InvalidRequest(
            f"{_quote_tag(inner)} is out of bounds; a pause takes from 1ms to {MAX_PAUSE_S:g}s"
        )
    return round(value)


def _looks_like_tag(key: str) -> bool:
    letters = re.sub(r"\s?[0-9]+$", "", key)
    return (
        len(letters) >= 2
        and len(key) <= _MAX_LOOKALIKE
        and len(key.split()) <= _MAX_LOOKALIKE_WORDS
        and letters[0].isalpha()
        and all(each in " -_'’" or unicodedata.category(each)[0] in "LM" for each in letters)
    )


def _is_like_pause(inner: str) -> bool:
    key = _key(inner)
    return _PAUSE_LIKE.fullmatch(key) is not None or key.startswith("pause ")


def _quote_tag(inner: str) -> str:
    return f"'[{inner}]'" if len(inner) <= MAX_QUOTED else f"'[{inner[:MAX_QUOTED]}…'"
