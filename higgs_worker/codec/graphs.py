"""The streaming decoder's call at a few fixed shapes, captured as CUDA graphs.

A call is some three hundred small kernels, which the host takes longer to launch than a GPU to run.
Where an audio starts or ends inside a call is data, so all pieces of a stream run through the same
graphs. What cannot be captured still has the fixed shapes: cuDNN needs 47 ms for each new one
(measured on an H100).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from higgs_worker.codec.piece_schedule import MAX_PIECE_FRAMES, PIECE_FRAMES
from higgs_worker.cuda import Captures

DecodeRows = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Rows [B], codes [B, K, F] and bounds [B, 2] -> PCM [B, S]; updates these rows' state in place."""


class PieceGraph:
    """The call at one shape; its inputs and its output stay where they are."""

    def __init__(
        self,
        decode: DecodeRows,
        captures: Captures,
        *,
        num_rows: int,
        num_frames: int,
        spare_row: int,
        num_codebooks: int,
        device: torch.device,
    ) -> None:
        """Run the call once, and capture it if that works."""
        self._spare_row = spare_row
        self._rows = torch.full((num_rows,), spare_row, device=device)
        self._codes = torch.zeros(
            (num_rows, num_codebooks, num_frames), dtype=torch.int64, device=device
        )
        self._bounds = torch.zeros((num_rows, 2), dtype=torch.int64, device=device)
        self._decode = decode
        self._pcm: Tensor
        # A first call allocates memory and makes plans, which must not be captured.
        self._run()
        self._graph = captures.capture(self._run, (num_rows, num_frames))

    def run(self, rows: Tensor, codes: Tensor, bounds: Tensor) -> Tensor:
        """Make the call, see `DecodeRows`; the result is valid until any graph runs again.

        Args:
            rows, codes, bounds: on the host, of at most as many rows as the call has.
        """
        count = len(rows)
        self._rows[:count] = rows
        self._rows[count:] = self._spare_row
        self._codes[:count] = codes
        self._bounds[:count] = bounds
        if self._graph is None:
            self._run()
        else:
            self._graph.replay()
        return self._pcm[:count]

    def _run(self) -> None:
        self._pcm = self._decode(self._rows, self._codes, self._bounds)


class PieceGraphs:
    """The call at all fixed shapes: powers of two of rows, `PIECE_FRAMES` frames."""

    @torch.inference_mode()
    def __init__(
        self,
        decode: DecodeRows,
        captures: Captures,
        *,
        max_rows: int,
        spare_row: int,
        num_codebooks: int,
        device: torch.device,
    ) -> None:
        """Capture all shapes, the largest first: the smaller ones can then share its memory.

        Args:
            decode: works on state that stays where it is.
            captures: turns a computation into one that can be replayed.
            max_rows: largest number of rows of a call.
            spare_row: row of the state that padding may overwrite at any time.
            num_codebooks: K.
            device: where the call runs.
        """
        self._rows = sorted({max_rows, *(1 << power for power in range(max_rows.bit_length()))})
        self._graphs = {
            (num_rows, num_frames): PieceGraph(
                decode,
                captures,
                num_rows=num_rows,
                num_frames=num_frames,
                spare_row=spare_row,
                num_codebooks=num_codebooks,
                device=device,
            )
            for num_frames in reversed(PIECE_FRAMES)
            for num_rows in reversed(self._rows)
        }

    def find(self, num_rows: int, num_frames: int) -> PieceGraph | None:
        """Return the smallest graph with at least `num_rows` rows; None if there is none."""
        fitting = next((rows for rows in self._rows if rows >= num_rows), None)
        return None if fitting is None else self._graphs.get((fitting, num_frames))


def call_sizes(num_frames: int) -> list[int]:
    """Return the fewest sizes of calls, in frames, that hold so many; the last may not be full."""
    num_full, rest = divmod(num_frames, MAX_PIECE_FRAMES)
    fitting = [min(size for size in PIECE_FRAMES if size >= rest)] if rest else []
    return [MAX_PIECE_FRAMES] * num_full + fitting
