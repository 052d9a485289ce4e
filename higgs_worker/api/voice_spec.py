"""A voice as a request gives it: a name, a recording with its transcript, or a description.

It is validated here, and found by `voices`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from higgs_worker.messages import check_readable, quote

MAX_NAME = 64
MAX_SPEAKERS = 64
_MAX_AUDIO_CHARS = 30_000_000  # base64 of more than any request may hold
_MAX_TEXT = 2000
_KEYS = {
    "audio": ("an address or base64", _MAX_AUDIO_CHARS),
    "text": ("what is said in it", _MAX_TEXT),
    "description": ("a voice in words", _MAX_TEXT),
}


@dataclass(frozen=True, slots=True)
class VoiceSpec:
    """A voice of the library, a recording and what is said in it, or a voice in words."""

    name: str | None = None
    audio: str = ""
    """http(s) address, data URI or base64."""
    text: str = ""
    description: str | None = None

    @classmethod
    def parse(cls, value: object) -> "VoiceSpec":
        """Check a name, {"audio", "text"} or {"description"}.

        Raises:
            ValueError: the text continues a sentence that starts with the field's name.
        """
        if isinstance(value, str):
            if not value.strip():
                raise ValueError("is empty; send the name of a voice, or null for none")
            return cls(name=check_readable(value.strip(), MAX_NAME))
        if not isinstance(value, Mapping) or not value.keys() <= _KEYS.keys():
            raise ValueError(
                'must be the name of a voice, {"audio", "text"} or {"description"}, not '
                + quote(value)
            )
        if "description" in value and len(value) > 1:
            raise ValueError(
                "has a description and a recording; send one of them, as the recording says it all"
            )
        wanted = ("description",) if "description" in value else ("audio", "text")
        found = {}
        for key in wanted:
            what, max_chars = _KEYS[key]
            part = value.get(key)
            if not isinstance(part, str) or not part.strip():
                raise ValueError(f"needs {key!r}: {what}")
            try:
                found[key] = check_readable(part.strip(), max_chars)
            except ValueError as error:
                raise ValueError(f"has {key!r}, which {error}") from None
        return cls(**found)


def parse_speakers(value: object) -> dict[str, VoiceSpec | None]:
    """Check {"SPEAKER0": voice, "Anna": voice, …}; null lets the model choose.

    Raises:
        ValueError: the text continues a sentence that starts with the field's name.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f'must be an object such as {{"SPEAKER0": "Anna"}}, not {quote(value)}')
    if len(value) > MAX_SPEAKERS:
        raise ValueError(f"has {len(value)} entries and at most {MAX_SPEAKERS} are allowed")
    speakers: dict[str, VoiceSpec | None] = {}
    for name, voice in value.items():
        shown = quote(name)
        if not isinstance(name, str) or not name.strip() or name != name.strip():
            raise ValueError(f"has the name {shown}; a name is a word or a few, without edges")
        if len(name) > MAX_NAME or any(mark in name for mark in "[]\n\r\t"):
            raise ValueError(
                f"has the name {shown}; a name has at most {MAX_NAME} characters on one line and "
                "no brackets"
            )
        if name.casefold() in {each.casefold() for each in speakers}:
            raise ValueError(f"has {shown} twice, as capitals do not count")
        try:
            check_readable(name)
            speakers[name] = None if voice is None else VoiceSpec.parse(voice)
        except ValueError as error:
            raise ValueError(f"has {shown}, which {error}") from None
    return speakers
