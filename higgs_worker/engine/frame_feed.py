"""The frames of one sequence, passed on as soon as its columns complete them."""

from collections.abc import Callable

import numpy as np

from higgs_worker.engine.delay import undelay
from higgs_worker.engine.sequence import Codes

OnFrames = Callable[[Codes], None]
"""Receives the next frames [F, K], F at least 1. Runs in the engine's thread: must be quick."""


class FrameFeed:
    """Turns the columns of each round into the frames that they complete."""

    def __init__(self, on_frames: OnFrames, *, num_first_frames: int) -> None:
        """Start before the first column.

        Args:
            on_frames: receives the frames.
            num_first_frames: how many frames `on_frames` needs before the first ones are of use.
        """
        self._on_frames = on_frames
        self._num_first_frames = num_first_frames
        self._columns: Codes | None = None
        """The last columns: those that frames not passed on yet still need."""
        self.num_columns = 0
        """Columns pushed so far."""

    def steps_to_first(self, num_codebooks: int) -> int:
        """Return how many more columns complete the first useful frames; 0 when they are there."""
        return max(0, self._num_first_frames + num_codebooks - self.num_columns)

    def push(self, columns: Codes, bos_id: int, eos_id: int) -> None:
        """Add the next columns [N, K] and pass on completed frames up to the first end code."""
        self.num_columns += len(columns)
        if self._columns is not None:
            columns = np.concatenate([self._columns, columns])
        frames = undelay(columns, bos_id, eos_id)
        self._columns = columns[len(frames) :]
        if len(frames):
            self._on_frames(frames)
