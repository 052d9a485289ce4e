"""One decode step for the first slots: from the newest columns to the next ones.

`TorchStep` is the reference, one torch operator after another. `kernels.fused_step.FusedStep` is
the same in a quarter of the launches; where that is faster, `step_choice.py` takes it.
"""

from collections.abc import Hashable
from typing import Protocol

from higgs_worker.engine.columns import Columns
from higgs_worker.engine.kv_cache import CacheWindow, KVCache
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.sampling import Mode
from higgs_worker.engine.slot_state import SlotState


class DecodeStep(Protocol):
    """A way to compute a step. It works in place, on tensors that stay where they are."""

    def key(self, num_rows: int, length: int, mode: Mode) -> Hashable:
        """Return what a captured step depends on: steps of one key share a graph."""

    def run(self, state: SlotState, window: CacheWindow, mode: Mode) -> None:
        """Draw the next column of each row.

        Args:
            state: of the first slots.
            window: as many slots of the cache, and at least the positions in use.
            mode: at least as wide as each row needs.
        """


class TorchStep:
    """A step as torch operators."""

    def __init__(self, model: LanguageModel, cache: KVCache, columns: Columns) -> None:
        self._model, self._cache, self._columns = model, cache, columns

    def key(self, num_rows: int, length: int, mode: Mode) -> Hashable:
        """Return the shape and the mode, of which all kernels depend."""
        return num_rows, length, mode

    def run(self, state: SlotState, window: CacheWindow, mode: Mode) -> None:
        """Draw the next column of each row."""
        logits = self._model.decode(state.column, state.position, self._cache, window)
        self._columns.draw(state, logits, mode)
