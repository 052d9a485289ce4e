"""What may be asked for besides speech: voices, what a text would become, what this worker is.

{"action": "list_voices"}
{"action": "save_voice", "name": "Anna", "audio": "https://…", "text": "What is said in it."}
{"action": "update_voice", "name": "Anna", "new_name": "Hannah"}
{"action": "delete_voice", "name": "Hannah"}
{"action": "read", "text": "It costs $3."}
{"action": "info"}
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import InvalidRequest
from higgs_worker.messages import MAX_QUOTED, check_readable, quote

_NAMES = ("list_voices", "save_voice", "update_voice", "delete_voice", "read", "info")
_MAX_NOTE = 2000

Fields = Mapping[Any, Any]
"""What stands beside `action`; what comes from a caller was screened before."""


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

    @classmethod
    def parse(cls, fields: Fields) -> "SaveVoice":
        """Validate the fields of a voice to be saved.

        Raises:
            InvalidRequest: one is missing or wrong.
        """
        _check_fields(
            "save_voice", fields, ("name", "audio", "text"), ("description", "licence", "replace")
        )
        try:
            voice = VoiceSpec.parse({key: fields[key] for key in ("audio", "text")})
        except ValueError as error:
            raise InvalidRequest(f"the voice {error}") from None
        replace = fields.get("replace", False)
        if not isinstance(replace, bool):
            raise InvalidRequest(f"replace must be true or false, not {quote(replace)}")
        return cls(
            _text(fields, "name"),
            voice,
            description=_note(fields, "description"),
            licence=_note(fields, "licence"),
            replace=replace,
        )


@dataclass(frozen=True, slots=True)
class UpdateVoice:
    """Change what is said of a voice; None: it stays, and an empty note is removed."""

    name: str
    new_name: str | None = None
    text: str | None = None
    description: str | None = None
    licence: str | None = None

    @classmethod
    def parse(cls, name: str, changes: Fields, *, renamed_by: str = "new_name") -> "UpdateVoice":
        """Validate the changes of a voice.

        Args:
            name: of the voice.
            changes: by what is to be changed; a note that is null is removed.
            renamed_by: the field of the new name.

        Raises:
            InvalidRequest: there is none, or one is wrong.
        """
        known = (renamed_by, "text", "description", "licence")
        for key in changes:
            if key not in known:
                raise InvalidRequest(
                    f"{quote(key)} of a voice cannot be changed, only {', '.join(known)}"
                )
        if not changes:
            raise InvalidRequest(f"nothing is to be changed; send any of {', '.join(known)}")
        notes = ("description", "licence")
        values = {
            key: "" if key in notes and changes[key] is None else _text(changes, key)
            for key in changes
        }
        if renamed_by in values:
            values["new_name"] = values.pop(renamed_by)
        return cls(name, **values)


@dataclass(frozen=True, slots=True)
class DeleteVoice:
    """Remove a voice from the library."""

    name: str


@dataclass(frozen=True, slots=True)
class ReadText:
    """Tell what would be spoken, without speaking it."""

    request: SpeechRequest


@dataclass(frozen=True, slots=True)
class ShowInfo:
    """Tell the version of the worker and the model."""


LibraryAction = ListVoices | SaveVoice | UpdateVoice | DeleteVoice | ShowInfo
"""What needs no more than the library of voices, and what a worker knows of itself."""

Action = LibraryAction | ReadText


def parse_action(raw: Mapping[Any, Any], *, max_text_chars: int) -> Action:
    """Validate an input that has `action`.

    Args:
        raw: the input; what comes from a caller was screened before.
        max_text_chars: the operator's limit for a text.

    Raises:
        InvalidRequest: there is no such action, or a field is wrong.
    """
    action = raw["action"]
    fields = {key: value for key, value in raw.items() if key != "action"}
    match action:
        case "save_voice":
            return SaveVoice.parse(fields)
        case "update_voice":
            return _parse_update(fields)
        case "delete_voice":
            _check_fields(action, fields, ("name",))
            return DeleteVoice(_text(fields, "name"))
        case "read":
            return ReadText(SpeechRequest.parse(fields, max_text_chars=max_text_chars))
        case "list_voices":
            _check_fields(action, fields)
            return ListVoices()
        case "info":
            _check_fields(action, fields)
            return ShowInfo()
    raise _unknown(action)


def _parse_update(fields: Fields) -> UpdateVoice:
    if "name" not in fields:
        raise InvalidRequest("update_voice needs 'name'")
    changes = {key: value for key, value in fields.items() if key != "name"}
    return UpdateVoice.parse(_text(fields, "name"), changes)


def _check_fields(
    action: str, fields: Fields, needed: tuple[str, ...] = (), allowed: tuple[str, ...] = ()
) -> None:
    for key in needed:
        if key not in fields:
            raise InvalidRequest(f"{action} needs {key!r}")
    for key in fields:
        if key not in (*needed, *allowed):
            raise InvalidRequest(f"{action} takes no field {quote(key)}")


def _unknown(action: object) -> InvalidRequest:
    said = action[:MAX_QUOTED] if isinstance(action, str) else ""
    near = difflib.get_close_matches(said, _NAMES, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InvalidRequest(f"action must be one of {', '.join(_NAMES)}, not {quote(action)}{hint}")


def _note(fields: Fields, key: str) -> str | None:
    return None if fields.get(key) is None else _text(fields, key)


def _text(fields: Fields, key: str) -> str:
    value = fields[key]
    if not isinstance(value, str):
        raise InvalidRequest(f"{key} must be a string, not {quote(value)}")
    try:
        return check_readable(value, _MAX_NOTE)
    except ValueError as error:
        raise InvalidRequest(f"{key} {error}") from None
