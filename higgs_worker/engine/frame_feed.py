"""Frames of one sequence as they become complete, for whoever wants them before its end."""

from collections.abc import Callable

import numpy as np

from higgs_worker.engine.delay import undelay
from higgs_worker.engine.sequence import Codes

OnFrames = Callable[[Codes], None]
"""Takes the next frames [F, K], never none; called in the engine's thread, so it must be quick."""


class FrameFeed:
    """Turns the columns of each round into the frames that they complete."""

    def __init__(self, on_frames: OnFrames, *, num_first_frames: int) -> None:
        """Feed `on_frames`; fewer than `num_first_frames` are of no use to it at first."""
        self._on_frames = on_frames
        self._num_first_frames = num_first_frames
        self._columns: Codes | None = None
        """From the last column before the first frame that has not been fed."""
        self.num_columns = 0
        """Columns taken so far."""

    def steps_to_first(self, num_codebooks: int) -> int:
        """Say how many more columns complete the first useful frames; 0 when they are complete."""
        return max(0, self._num_first_frames + num_codebooks - self.num_columns)

    def take(self, columns: Codes, bos_id: int, eos_id: int) -> None:
        """Take the next columns [N, K] and pass on the frames before the first end code."""
        self.num_columns += len(columns)
        if self._columns is not None:
            columns = np.concatenate([self._columns, columns])
        frames = undelay(columns, bos_id, eos_id)
        self._columns = columns[len(frames) :]
        if len(frames):
            self._on_frames(frames)
