"""A voice as a request gives it: a name, a recording with its transcript, or a description.

It is validated here, and found by `voices`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from higgs_worker.messages import check_readable, quote

MAX_NAME = 64
MAX_SPEAKERS = 64
_MAX_TEXT = 2000
_MAX_ADDRESS_CHARS = 8192  # as `web_address` takes them


def _check_text(value: str) -> str:
    return check_readable(value, _MAX_TEXT)


def _check_audio(value: str) -> str:
    """Return what may be an address or base64; whether it is one is seen when it is used."""
    if len(value) <= _MAX_ADDRESS_CHARS:
        return check_readable(value)
    if not value.isascii():  # known of a string without a look at its characters
        raise ValueError("is longer than an address, and no base64, which is ASCII")
    return value


_KEYS = {
    "audio": ("an address or base64", _check_audio),
    "text": ("what is said in it", _check_text),
    "description": ("a voice in words", _check_text),
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
            name = check_readable(value, MAX_NAME).strip()
            if not name:
                raise ValueError("is empty; send the name of a voice, or null for none")
            return cls(name=name)
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
            what, check = _KEYS[key]
            part = value.get(key)
            if not isinstance(part, str) or not part.strip():
                raise ValueError(f"needs {key!r}: {what}")
            try:
                found[key] = check(part).strip()
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
    folded: set[str] = set()
    for name, voice in value.items():
        shown = quote(name)
        if not isinstance(name, str):
            raise ValueError(f"has the name {shown}, which is no text")
        if len(name) > MAX_NAME or any(mark in name for mark in "[]\n\r\t"):
            raise ValueError(
                f"has the name {shown}; a name has at most {MAX_NAME} characters on one line and "
                "no brackets"
            )
        if not name or name != name.strip():
            raise ValueError(f"has the name {shown}; a name is a word or a few, without edges")
        if name.casefold() in folded:
            raise ValueError(f"has {shown} twice, as capitals do not count")
        folded.add(name.casefold())
        try:
            check_readable(name)
            speakers[name] = None if voice is None else VoiceSpec.parse(voice)
        except ValueError as error:
            raise ValueError(f"has {shown}, which {error}") from None
    return speakers
