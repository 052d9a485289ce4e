"""The step of the streaming decoder, captured at a few shapes.

A step is some three hundred small kernels, which the host takes longer to launch than a GPU to run.
Pieces between a stream's ends have few sizes and no special cases, so those are captured; the first
and the last piece of a stream run eagerly. Knows no streams, only rows.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from higgs_worker.codec.pace import MAX_PIECE_FRAMES
from higgs_worker.cuda_graphs import Capture

CAPTURED_FRAMES = (8, 16, MAX_PIECE_FRAMES)
"""Sizes of pieces; frames come eight at a time."""

Step = Callable[[Tensor, Tensor], Tensor]
"""Rows [B] and codes [B, K, F] -> PCM [B, S]; changes the state of these rows."""


class StepGraph:
    """The step at one shape; its inputs and its output stay where they are."""

    def __init__(
        self, step: Step, capture: Capture, *, rows: Tensor, codes: Tensor, spare_row: int
    ) -> None:
        self._rows, self._codes, self._spare_row = rows, codes, spare_row
        self._pcm: Tensor

        def run() -> None:
            self._pcm = step(rows, codes)

        run()  # what a first call allocates must not be captured
        self._graph = capture(run)

    def run(self, rows: Tensor, codes: Tensor) -> Tensor:
        """See `Step`; what it gives holds until the next run of any graph."""
        count = len(rows)
        self._rows[:count] = rows
        self._rows[count:] = self._spare_row
        self._codes[:count] = codes
        self._graph.replay()
        return self._pcm[:count]


class StreamGraphs:
    """The step at every shape that is captured: rows by powers of two, few sizes of pieces."""

    @torch.inference_mode()
    def __init__(
        self,
        step: Step,
        capture: Capture,
        *,
        max_rows: int,
        spare_row: int,
        num_codebooks: int,
        device: torch.device,
    ) -> None:
        """Capture them all, the largest first: the smaller ones then find memory to share.

        Args:
            step: works on state that stays where it is.
            capture: turns a computation into one that can be replayed.
            max_rows: the most that will be asked for.
            spare_row: a row of the state that may be overwritten at any time.
            num_codebooks: K.
            device: where the step runs.
        """
        self._rows = sorted({max_rows, *(1 << power for power in range(max_rows.bit_length()))})
        self._graphs = {
            (num_rows, num_frames): StepGraph(
                step,
                capture,
                rows=torch.full((num_rows,), spare_row, device=device),
                codes=torch.zeros(
                    (num_rows, num_codebooks, num_frames), dtype=torch.int64, device=device
                ),
                spare_row=spare_row,
            )
            for num_frames in reversed(CAPTURED_FRAMES)
            for num_rows in reversed(self._rows)
        }

    def find(self, num_rows: int, num_frames: int) -> StepGraph | None:
        """Give the graph that holds so many rows; None where none was captured."""
        fitting = next((rows for rows in self._rows if rows >= num_rows), None)
        return None if fitting is None else self._graphs.get((fitting, num_frames))
