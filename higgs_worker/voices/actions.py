"""Carries out the actions of `api.action` on the library of voices. Blocks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from higgs_worker.api.action import Action, DeleteVoice, ListVoices, SaveVoice
from higgs_worker.voices.library import VoiceLibrary
from higgs_worker.voices.references import References


@dataclass(frozen=True, slots=True)
class Actions:
    """Carries out actions, and names voices and model."""

    library: VoiceLibrary
    references: Callable[[], References]
    """Called only to save a voice: it may load an encoder."""
    model: str

    def run(self, action: Action) -> dict[str, Any]:
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
                return {"voice": asdict(saved.info), "warnings": list(saved.warnings)}
        return {"worker": {"version": version("higgs-worker")}, "model": {"id": self.model}}

    def names(self) -> list[str]:
        """Return the names of all voices."""
        return [each.name for each in self.library.list()]
