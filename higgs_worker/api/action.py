"""What may be asked for besides speech: the voices of the library, and what this worker is.

{"action": "list_voices"}
{"action": "save_voice", "name": "Anna", "audio": "https://…", "text": "What is said in it."}
{"action": "delete_voice", "name": "Anna"}
{"action": "info"}
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import InvalidRequest
from higgs_worker.messages import MAX_QUOTED, check_readable, quote

_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "list_voices": ((), ()),
    "save_voice": (("name", "audio", "text"), ("description", "licence", "replace")),
    "delete_voice": (("name",), ()),
    "info": ((), ()),
}
"""By action: the fields that it needs, and those that it also takes."""
_MAX_NOTE = 2000


@dataclass(frozen=True, slots=True)
class ListVoices:
    """List the voices of the library."""


@dataclass(frozen=True, slots=True)
class SaveVoice:
    """Add a recording to the library."""

    name: str
    voice: VoiceSpec
    """The recording and its transcript."""
    description: str | None
    licence: str | None
    replace: bool
    """Whether a voice of this name may be overwritten."""


@dataclass(frozen=True, slots=True)
class DeleteVoice:
    """Remove a voice from the library."""

    name: str


@dataclass(frozen=True, slots=True)
class ShowInfo:
    """Tell the version of the worker and the model."""


Action = ListVoices | SaveVoice | DeleteVoice | ShowInfo


def parse_action(raw: Mapping[Any, Any]) -> Action:
    """Validate an input that has `action`.

    Args:
        raw: the input; what comes from a caller was screened before.

    Raises:
        InvalidRequest: there is no such action, or a field is wrong.
    """
    match _check_fields(raw):
        case "list_voices":
            return ListVoices()
        case "delete_voice":
            return DeleteVoice(_text(raw, "name"))
        case "save_voice":
            return _parse_save(raw)
        case _:
            return ShowInfo()


def _parse_save(raw: Mapping[Any, Any]) -> SaveVoice:
    try:
        voice = VoiceSpec.parse({key: raw[key] for key in ("audio", "text")})
    except ValueError as error:
        raise InvalidRequest(f"the voice {error}") from None
    replace = raw.get("replace", False)
    if not isinstance(replace, bool):
        raise InvalidRequest(f"replace must be true or false, not {quote(replace)}")
    return SaveVoice(
        _text(raw, "name"),
        voice,
        description=_text(raw, "description") if raw.get("description") is not None else None,
        licence=_text(raw, "licence") if raw.get("licence") is not None else None,
        replace=replace,
    )


def _check_fields(raw: Mapping[Any, Any]) -> str:
    """Return the action's name if its fields are those that it takes."""
    action = raw["action"]
    if not isinstance(action, str) or action not in _FIELDS:
        said = action[:MAX_QUOTED] if isinstance(action, str) else ""
        near = difflib.get_close_matches(said, _FIELDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InvalidRequest(
            f"action must be one of {', '.join(_FIELDS)}, not {quote(action)}{hint}"
        )
    needed, allowed = _FIELDS[action]
    for key in needed:
        if key not in raw:
            raise InvalidRequest(f"{action} needs {key!r}")
    for key in raw:
        if key not in ("action", *needed, *allowed):
            raise InvalidRequest(f"{action} takes no field {quote(key)}")
    return action


def _text(raw: Mapping[Any, Any], key: str) -> str:
    value = raw[key]
    if not isinstance(value, str):
        raise InvalidRequest(f"{key} must be a string, not {quote(value)}")
    try:
        return check_readable(value, _MAX_NOTE)
    except ValueError as error:
        raise InvalidRequest(f"{key} {error}") from None
