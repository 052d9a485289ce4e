"""How a conversation has sounded so far: what its later requests take from the earlier ones.

A recording is the same for all of them. A voice in words, or of the model's choice, is another one
each time; so later requests take it from the first that was spoken, as later chunks of a text do.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from higgs_worker.voices.references import Reference


@dataclass(slots=True)
class Continuity:
    """Shared by the requests of one conversation, one after another."""

    references: dict[str | None, Reference] = field(default_factory=dict)
    """The first chunk of each speaker without a recording."""
    loudness_lufs: float | None = None
    """Of the first chunk; later ones are brought to it."""

    has_begun: bool = False
    """Whether a request was begun; those after it are not refused because others wait."""

    def learn(self, speaker: str | None, text: str, codes: NDArray[np.int64]) -> None:
        """Keep how a speaker without a recording said something, [F, K], if it is the first."""
        self.references.setdefault(speaker, Reference(text, codes))
