"""Carries out the actions of `api.action` on the library of voices. Blocks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from higgs_worker.api.action import (
    DeleteVoice,
    LibraryAction,
    ListVoices,
    SaveVoice,
    ShowInfo,
    UpdateVoice,
)
from higgs_worker.voices.library import SavedVoice, VoiceLibrary
from higgs_worker.voices.references import References


@dataclass(frozen=True, slots=True)
class Actions:
    """Carries out actions, and names voices and model."""

    library: VoiceLibrary
    references: Callable[[], References]
    """Called only to save a voice: it may load an encoder."""
    model: str

    def run(self, action: LibraryAction) -> dict[str, Any]:
        """Carry out an action and return its output.

        Raises:
            WorkerError: it cannot be done.
        """
        match action:
            case ListVoices():
                return {"voices": [asdict(each) for each in self.library.list()]}
            case DeleteVoice(name):
                self.library.remove(name)
                return {"deleted": name}
            case SaveVoice():
                saved = self.references().save(
                    action.name,
                    action.voice,
                    description=action.description,
                    licence=action.licence,
                    replace=action.replace,
                )
                return _told(saved)
            case UpdateVoice():
                updated = self.library.update(
                    action.name,
                    new_name=action.new_name,
                    text=action.text,
                    description=action.description,
                    licence=action.licence,
                )
                return _told(updated)
            case ShowInfo():
                worker = {"version": version("higgs-worker")}
                return {"worker": worker, "model": {"id": self.model}}

    def names(self) -> list[str]:
        """Return the names of all voices."""
        return [each.name for each in self.library.list()]


def _told(saved: SavedVoice) -> dict[str, Any]:
    return {"voice": asdict(saved.info), "warnings": list(saved.warnings)}
