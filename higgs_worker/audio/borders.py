"""Find where one sentence ends and the next begins within the audio of a chunk.

The model speaks a chunk at once and does not say where its sentences are. Their expected lengths
give an estimate of each border, and the pauses in the audio are exact. So each border is put into
the pause that fits best. Where there is no pause, the estimate stands.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_HOP_S = 0.01
_MIN_PAUSE_S = 0.06
_QUIET_DB = 25.0
"""A pause is this far below the chunk's loud parts."""
_PAUSE_WORTH = 2.0
"""A pause of length d may move a border by up to 2 d."""
_NO_PAUSE_COST_S = 0.8
"""Cost, in seconds, of a border where there is no pause."""


def align(pcm: NDArray[np.float32], sample_rate: int, lengths: Sequence[float]) -> list[int]:
    """Return the sample at which each sentence but the first begins, in order.

    Args:
        pcm: `[S] float32`, the chunk.
        sample_rate: in hertz.
        lengths: how long each sentence should take, in any one unit.
    """
    total = float(sum(lengths))
    expected = np.cumsum(np.asarray(lengths[:-1], float)) / total * len(pcm) / sample_rate
    if not len(expected):
        return []
    at, worth = _pauses(pcm, sample_rate)
    # The estimates themselves are candidates, at a cost, so that an ordered choice always exists.
    at = np.concatenate([at, expected])
    worth = np.concatenate([worth, np.full(len(expected), -_NO_PAUSE_COST_S)])
    order = np.argsort(at, kind="stable")
    at, worth = at[order], worth[order]
    costs = np.abs(at[None, :] - expected[:, None]) - worth[None, :]
    chosen = _cheapest_in_order(costs)
    return [min(round(float(at[index]) * sample_rate), len(pcm)) for index in chosen]


def _pauses(
    pcm: NDArray[np.float32], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the middle of each pause and how far it may move a border, both in seconds."""
    hop = round(_HOP_S * sample_rate)
    hops = pcm[: len(pcm) // hop * hop].reshape(-1, hop)
    level = 10 * np.log10(np.square(hops).mean(axis=1, dtype=np.float64) + 1e-12)
    if not len(level):
        return np.zeros(0), np.zeros(0)
    quiet = level < np.percentile(level, 90) - _QUIET_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]])))
    starts, ends = edges[::2] * _HOP_S, edges[1::2] * _HOP_S
    long = ends - starts >= _MIN_PAUSE_S
    # Silence at either end of the chunk separates no sentences.
    long &= (starts > 0) & (ends < len(level) * _HOP_S)
    return (starts + ends)[long] / 2, _PAUSE_WORTH * (ends - starts)[long]


def _cheapest_in_order(costs: NDArray[np.float64]) -> list[int]:
    """Return one column per row, strictly rising, at the lowest total cost."""
    num_rows, num_columns = costs.shape
    best = costs[0].copy()
    came_from = np.zeros((num_rows, num_columns), dtype=np.int64)
    for row in range(1, num_rows):
        # The lowest cost of the rows so far, with the last choice before each column.
        before = np.full(num_columns, np.inf)
        index = 0
        for column in range(1, num_columns):
            if best[column - 1] < best[index] or column == 1:
                index = column - 1
            before[column] = best[index]
            came_from[row, column] = index
        best = before + costs[row]
    chosen = [int(np.argmin(best))]
    for row in range(num_rows - 1, 0, -1):
        chosen.append(int(came_from[row, chosen[-1]]))
    return chosen[::-1]
