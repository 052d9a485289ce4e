"""How far two language models agree: in the columns that they draw, and in their logits."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Submission


def columns_of(runner: Runner, submissions: Sequence[Submission]) -> list[NDArray[np.int64]]:
    """Generate sequences side by side, to their end; returns the columns of each."""
    with runner.own_stream():
        runner.prefill(
            [
                PrefillChunk(slot, runner.begin(slot, submission))
                for slot, submission in enumerate(submissions)
            ]
        )
        while not (progress := runner.poll()).done[: len(submissions)].all():
            if progress.failed[: len(submissions)].any():
                raise RuntimeError("the model computed a value that is not a number")
            for _ in range(8):
                runner.step()
        return [runner.columns(s, int(progress.num_columns[s])) for s in range(len(submissions))]


def num_equal(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> int:
    """Return how many columns are equal up to the first that is not."""
    length = min(len(ours), len(theirs))
    different = (ours[:length] != theirs[:length]).any(1)
    return int(different.argmax()) if different.any() else length


def error_of(values: Tensor, reference: Tensor) -> dict[str, Any]:
    """Return how far logits are from others, as columns of a table."""
    difference = values - reference
    agree = (values.argmax(-1) == reference.argmax(-1)).float().mean()
    return {
        "error_max": float(difference.abs().max()),
        "error_rms": float(difference.square().mean().sqrt()),
        "same_largest_percent": 100 * float(agree),
    }
