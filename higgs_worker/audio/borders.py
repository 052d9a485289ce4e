"""Where within a chunk one sentence ends and the next begins.

A model that speaks a chunk at once does not say where its sentences are. Their lengths tell roughly
where a border should be and the pauses heard there tell exactly, so each border is put into the
pause that fits best. Where no pause is heard, the estimate stands.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_HOP_S = 0.01
_MIN_PAUSE_S = 0.06
_QUIET_DB = 25.0
"""A pause is this far below the speech around it."""
_PAUSE_WORTH = 2.0
"""How far from its due place, in its own lengths, a pause is still worth the way …"""
_NO_PAUSE_COST_S = 0.8
"""… and what a border without one counts as."""


def align(pcm: NDArray[np.float32], sample_rate: int, lengths: Sequence[float]) -> list[int]:
    """Give the sample at which each sentence but the first begins, in order.

    Args:
        pcm: `[S] float32`, the chunk.
        sample_rate: in hertz.
        lengths: how long each sentence should take, in any unit.
    """
    total = float(sum(lengths))
    due = np.cumsum(np.asarray(lengths[:-1], float)) / total * len(pcm) / sample_rate
    if not len(due):
        return []
    at, worth = _pauses(pcm, sample_rate)
    # The due places themselves are there too, at a price: order can always be kept.
    at = np.concatenate([at, due])
    worth = np.concatenate([worth, np.full(len(due), -_NO_PAUSE_COST_S)])
    order = np.argsort(at, kind="stable")
    at, worth = at[order], worth[order]
    costs = np.abs(at[None, :] - due[:, None]) - worth[None, :]
    chosen = _cheapest_in_order(costs)
    return [min(round(float(at[index]) * sample_rate), len(pcm)) for index in chosen]


def _pauses(
    pcm: NDArray[np.float32], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the pauses: the middle of each in seconds, and what it is worth in seconds."""
    hop = round(_HOP_S * sample_rate)
    hops = pcm[: len(pcm) // hop * hop].reshape(-1, hop)
    level = 10 * np.log10(np.square(hops).mean(axis=1, dtype=np.float64) + 1e-12)
    if not len(level):
        return np.zeros(0), np.zeros(0)
    quiet = level < np.percentile(level, 90) - _QUIET_DB
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]])))
    starts, ends = edges[::2] * _HOP_S, edges[1::2] * _HOP_S
    long = ends - starts >= _MIN_PAUSE_S
    # Silence at the very ends lies between no two sentences.
    long &= (starts > 0) & (ends < len(level) * _HOP_S)
    return (starts + ends)[long] / 2, _PAUSE_WORTH * (ends - starts)[long]


def _cheapest_in_order(costs: NDArray[np.float64]) -> list[int]:
    """Choose one column per row, columns rising, at the least total cost."""
    num_rows, num_columns = costs.shape
    best = costs[0].copy()
    came_from = np.zeros((num_rows, num_columns), dtype=np.int64)
    for row in range(1, num_rows):
        # The cheapest way to end before each column.
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
