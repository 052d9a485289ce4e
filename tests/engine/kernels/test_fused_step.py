"""Whole sequences through the fused step, and what it launches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.roofline import PUBLISHED
from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.kernels.tiles import MAX_ROWS
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Sampling
from tests.engine.kernels.tiny import TINY, begin, submissions, tiny_model
from tests.fakes.twin_capture import TwinCapture

GREEDY = Sampling(seed=0, temperature=0.0, ras_window=0)
META = torch.device("meta")


def history(
    kernels: str, sampling: Sampling, num_steps: int, *, is_int8: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and counters of two sequences, of which the second joins later.

    The first one's slot is left and used again in between.
    """
    runner = Runner(tiny_model(is_int8=is_int8), num_slots=2, max_length=160, kernels=kernels)
    runner.prepare()
    first, short, second = submissions([70, 9, 30], sampling, 60)
    begin(runner, 0, short)
    runner.step()
    runner.release(0)
    begin(runner, 0, first)
    runner.step()
    begin(runner, 1, second)
    for _ in range(num_steps):
        runner.step()
    progress = runner.poll()
    assert not progress.failed.any()
    return runner.recent(num_steps), progress.num_columns


@pytest.mark.slow
@pytest.mark.parametrize("is_int8", [False, True], ids=["float32", "int8"])
def test_columns_equal_torchs(is_int8: bool) -> None:
    """Two sequences of unequal length, one of which joins late; usual sampling."""
    ours, theirs = (
        history(kernels, Sampling(seed=1), 2, is_int8=is_int8) for kernels in ("triton", "torch")
    )
    for own, their in zip(ours, theirs, strict=True):
        assert np.array_equal(own, their)


@pytest.mark.long
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=2, top_k=0, ras_window=30)])
def test_long_sequences_equal_torchs(sampling: Sampling) -> None:
    """Forty columns: greedy and wide, across a tile of positions, and over their ends."""
    for ours, theirs in zip(
        history("triton", sampling, 40), history("torch", sampling, 40), strict=True
    ):
        assert np.array_equal(ours, theirs)


def published(num_slots: int) -> FusedStep:
    """Return the step of the published sizes, without memory."""
    weights = Weights.empty(PUBLISHED, device=META, number_format=NumberFormat(torch.bfloat16))
    model = LanguageModel(PUBLISHED, weights, 512)
    runner = Runner(model, num_slots=num_slots, max_length=512, capture=TwinCapture())
    return FusedStep(model, runner.cache, runner._columns)


@pytest.mark.slow
def test_a_step_has_144_launches() -> None:
    """Five a layer and four more, for one slot as for many."""
    step = published(MAX_ROWS)
    for num_rows in (1, 8, 64):
        state = step._columns.state.select(slice(0, num_rows))
        names = [launch.name for launch in step.launches(state)]
        layer = ["qkv", "attend", "out", "gate_up", "down"]
        assert names == ["embed", *layer * PUBLISHED.num_layers, "head", "choose", "settle"]
        assert len(names) == 144


@pytest.mark.parametrize("num_rows", [1, 2, 5, 8, 16, 20, 32, 64])
def test_exchanged_parts_and_counters_have_their_places(num_rows: int) -> None:
    """No program writes behind the tensors that programs of a launch share."""
    step = published(num_rows)
    parts, counters = step._parts.numel(), step._counters.numel()
    for launch in step.launches(step._columns.state)[:7]:
        constants, grid = launch.constants, launch.grid
        if launch.name == "attend":
            pairs = grid[0] * grid[1]
            size = (constants["HEAD_DIM"] + 2) * constants["ROWS"]
            assert pairs * grid[2] * size <= parts
            assert pairs <= counters
        elif "SPLITS" in constants:
            halves = 2 if constants["IS_GATED"] else 1
            size = constants["TILE"] * constants["ROWS"]
            assert grid[0] * halves * grid[1] * size <= parts
            assert grid[0] <= counters


def test_the_squares_of_a_norm_are_those_of_its_writer() -> None:
    """A product adds up as many parts as whoever wrote the stream before it has tiles."""
    step = published(MAX_ROWS)
    for num_rows in (1, 16, 64):
        written = None
        for launch in step.launches(step._columns.state.select(slice(0, num_rows))):
            read = launch.constants.get("NUM_SQUARES", 0)
            assert not read or read == written
            if launch.name in ("embed", "out", "down"):
                written = launch.grid[0]


def test_more_rows_than_a_step_has_are_torchs() -> None:
    """Where there are more than 64 slots, only the first so many run fused."""
    model = tiny_model(replace(TINY, num_codebooks=2))
    runner = Runner(model, num_slots=70, max_length=64, kernels="triton")
    runner.prepare()
    kinds = {rows: type(runner._steps.step_for(rows)).__name__ for rows in (1, 64, 70)}
    assert kinds == {1: "FusedStep", 64: "FusedStep", 70: "TorchStep"}
