"""The streaming decoder's call as CUDA graphs, captured at a few shapes.

A call is some three hundred small kernels, which the host takes longer to launch than a GPU to run.
Pieces inside a stream have few sizes and need no masks, so those are captured. The first and the
last piece of a stream run eagerly.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from higgs_worker.codec.piece_schedule import MAX_PIECE_FRAMES
from higgs_worker.cuda import Capture

CAPTURED_FRAMES = (8, 16, MAX_PIECE_FRAMES)
"""Frames per piece; the engine passes on eight at a time."""

DecodeRows = Callable[[Tensor, Tensor], Tensor]
"""Rows [B] and codes [B, K, F] -> PCM [B, S]; updates the state of these rows in place."""


class PieceGraph:
    """The call at one shape; its inputs and its output stay where they are."""

    def __init__(
        self, decode: DecodeRows, capture: Capture, *, rows: Tensor, codes: Tensor, spare_row: int
    ) -> None:
        self._rows, self._codes, self._spare_row = rows, codes, spare_row
        self._pcm: Tensor

        def run() -> None:
            self._pcm = decode(rows, codes)

        run()  # a first call allocates memory, which must not be captured
        self._graph = capture(run)

    def run(self, rows: Tensor, codes: Tensor) -> Tensor:
        """Replay the call, see `DecodeRows`; the result is valid until any graph runs again."""
        count = len(rows)
        self._rows[:count] = rows
        self._rows[count:] = self._spare_row
        self._codes[:count] = codes
        self._graph.replay()
        return self._pcm[:count]


class PieceGraphs:
    """The call at all captured shapes: powers of two of rows, `CAPTURED_FRAMES` frames."""

    @torch.inference_mode()
    def __init__(
        self,
        decode: DecodeRows,
        capture: Capture,
        *,
        max_rows: int,
        spare_row: int,
        num_codebooks: int,
        device: torch.device,
    ) -> None:
        """Capture all shapes, the largest first: the smaller ones can then share its memory.

        Args:
            decode: works on state that stays where it is.
            capture: turns a computation into one that can be replayed.
            max_rows: largest number of rows of a call.
            spare_row: row of the state that padding may overwrite at any time.
            num_codebooks: K.
            device: where the call runs.
        """
        self._rows = sorted({max_rows, *(1 << power for power in range(max_rows.bit_length()))})
        self._graphs = {
            (num_rows, num_frames): PieceGraph(
                decode,
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

    def find(self, num_rows: int, num_frames: int) -> PieceGraph | None:
        """Return the smallest graph with at least `num_rows` rows; None if there is none."""
        fitting = next((rows for rows in self._rows if rows >= num_rows), None)
        return None if fitting is None else self._graphs.get((fitting, num_frames))
