"""What a job may ask for besides speech: keep voices, and say what this worker is.

    {"action": "list_voices"}
    {"action": "save_voice", "name": "Anna", "audio": "https://…", "text": "What is said in it."}
    {"action": "delete_voice", "name": "Anna"}
    {"action": "info"}

Everything here blocks. Knows the library of voices, no model and no platform.
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from higgs_worker.api.request import refuse_credentials
from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import InvalidRequest
from higgs_worker.messages import check_readable, quote
from higgs_worker.voices.library import VoiceLibrary
from higgs_worker.voices.references import References

_FIELDS = {
    "list_voices": ((), ()),
    "save_voice": (("name", "audio", "text"), ("description", "licence", "replace")),
    "delete_voice": (("name",), ()),
    "info": ((), ()),
}
"""By action: what it needs, and what else it takes."""
_MAX_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Actions:
    """Carries out actions. `references` is asked only to save a voice: it may load an encoder."""

    library: VoiceLibrary
    references: Callable[[], References]
    model: str

    def run(self, raw: Mapping[Any, Any]) -> dict[str, Any]:
        """Do what a job asks for.

        Raises:
            InvalidRequest: it asks for something else, or wrongly.
            WorkerError: it cannot be done.
        """
        refuse_credentials(raw)
        action = _checked(raw)
        if action == "list_voices":
            return {"voices": [asdict(each) for each in self.library.list()]}
        if action == "delete_voice":
            self.library.remove(_text(raw, "name"))
            return {"deleted": raw["name"]}
        if action == "save_voice":
            return {"voice": self._save(raw)}
        return {"worker": {"version": version("higgs-worker")}, "model": {"id": self.model}}

    def names(self) -> list[str]:
        """Give the names of all voices."""
        return [each.name for each in self.library.list()]

    def _save(self, raw: Mapping[Any, Any]) -> dict[str, Any]:
        try:
            voice = VoiceSpec.parse({key: raw[key] for key in ("audio", "text")})
        except ValueError as error:
            raise InvalidRequest(f"the voice {error}") from None
        replace = raw.get("replace", False)
        if not isinstance(replace, bool):
            raise InvalidRequest(f"replace must be true or false, not {quote(replace)}")
        summary = self.references().save(
            _text(raw, "name"),
            voice,
            description=_text(raw, "description") if raw.get("description") is not None else None,
            licence=_text(raw, "licence") if raw.get("licence") is not None else None,
            replace=replace,
        )
        return asdict(summary)


def _checked(raw: Mapping[Any, Any]) -> str:
    action = raw["action"]
    if not isinstance(action, str) or action not in _FIELDS:
        near = difflib.get_close_matches(str(action)[:40], _FIELDS, n=1)
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
