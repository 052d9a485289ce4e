"""Graphs: captured once per shape, replayed from then on, with the eager step's columns."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.roofline import PUBLISHED
from higgs_worker.cuda import cuda_capture
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Sampling, Submission
from higgs_worker.engine.slot_state import SlotState
from tests.engine.pairs import GREEDY, NUM_CODEBOOKS, Pairs
from tests.fakes.twin_capture import TwinCapture, TwinReplay
from tests.oracles.language_model import random_prompt

SAMPLINGS = (
    GREEDY,
    Sampling(seed=1, temperature=0.9),
    Sampling(seed=2, temperature=1.1, top_k=0, ras_window=30),
)


def run_together(
    runner: Runner, submissions: list[Submission], *, every: int = 3
) -> list[np.ndarray]:
    """Run sequences that join some steps apart; returns each one's columns."""
    for slot, submission in enumerate(submissions):
        runner.prefill([PrefillChunk(slot, runner.begin(slot, submission))])
        for _ in range(every):
            runner.step()
    while not runner.poll().done.all():
        runner.step()
    counts = runner.poll().num_columns
    columns = [runner.columns(slot, int(counts[slot])) for slot in range(len(submissions))]
    for slot in range(len(submissions)):
        runner.release(slot)
    return columns


def ask(num_ids: list[int], max_frames: int, sampling: Sampling = GREEDY) -> list[Submission]:
    """Ask for sequences with prompts of some lengths."""
    rng = np.random.default_rng(1)
    return [Submission(random_prompt(rng, count), sampling, max_frames) for count in num_ids]


def test_a_step_is_done_once_and_captured_once() -> None:
    """The first step of a shape runs eagerly, and capturing it does not run it again."""
    done: list[str] = []
    capture = TwinCapture()
    graphs = StepGraphs(capture)
    for key in ("a", "b", "a", "a"):
        graphs.run(key, lambda key=key: done.append(key))
    assert done == ["a", "b", "a", "a"]
    assert [graph.num_replays for graph in capture.captured] == [2, 0]
    assert graphs.enabled


def test_without_capture_every_step_is_eager() -> None:
    """On a CPU nothing is captured and nothing is kept."""
    done: list[int] = []
    graphs = StepGraphs(cuda_capture(torch.device("cpu")))
    for number in range(3):
        graphs.run("a", lambda number=number: done.append(number))
    assert done == [0, 1, 2]
    assert not graphs.enabled


def test_after_a_failed_capture_none_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    """No step is lost: new shapes run eagerly, captured ones are replayed; the log says so once."""
    done: list[str] = []
    capture = TwinCapture()

    def fail_at_b(step: Callable[[], None]) -> TwinReplay:
        tried.append(len(done))
        if done[-1] == "b":
            raise RuntimeError("no memory to capture")
        return capture(step)

    tried: list[int] = []
    graphs = StepGraphs(fail_at_b)
    assert graphs.is_missing("a")
    for key in ("a", "b", "c", "a", "b"):
        graphs.run(key, lambda key=key: done.append(key))
    assert done == ["a", "b", "c", "a", "b"]
    assert tried == [1, 2]
    assert capture.num_replays == 1
    assert not graphs.is_missing("c")
    assert graphs.enabled  # shapes stay padded, so that captured ones are met again
    (record,) = caplog.records
    assert record.message.startswith("a graph could not be captured")
    assert record.shape == "b"


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=("greedy", "narrow", "wide"))
def test_prefill_and_steps_need_no_sync(sampling: Sampling) -> None:
    """On the meta device, which has no values, everything but the poll runs: nothing syncs."""
    device = torch.device("meta")
    config = replace(PUBLISHED, num_layers=2)
    weights = Weights.empty(config, device=device, number_format=NumberFormat(torch.bfloat16))
    model = LanguageModel(config, weights, 1024)
    runner = Runner(model, num_slots=3, max_length=1024, capture=TwinCapture())
    (submission,) = ask([600], 40, sampling)
    for slot in (0, 2):
        num_prefill_left = runner.begin(slot, submission)
        for count in (20, num_prefill_left - 20):
            runner.prefill([PrefillChunk(slot, count)])
    runner.step()
    runner.release(0)
    runner.move(2, 0)
    runner.step()
    with pytest.raises(NotImplementedError, match="meta"):
        runner.poll()


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=("greedy", "narrow", "wide"))
def test_replayed_columns_equal_eager_ones(sampling: Sampling, pairs: Pairs) -> None:
    """Rows padded to powers of two and long buckets change no column; 5 slots make 4 graphs."""
    pair = pairs(4, "narrow", end=0.3, num_slots=5)
    capture = TwinCapture()
    twin = Runner(pair.runner.model, num_slots=5, max_length=320, capture=capture)
    submissions = ask([12, 30, 9, 17, 25], 40, sampling)
    eager = run_together(pair.runner, submissions)
    for _ in range(2):
        for ours, theirs in zip(run_together(twin, submissions), eager, strict=True):
            assert np.array_equal(ours, theirs)
        assert len(capture.captured) == len({1, 2, 4, 5})
    assert all(graph.num_replays for graph in capture.captured)


def test_modes_and_lengths_are_shapes(pairs: Pairs) -> None:
    """Each mode and each length bucket is captured, once."""
    pair = pairs(4, "narrow", end=0.0, num_slots=1)
    model = LanguageModel(pair.runner.model.config, pair.weights, 1100)
    capture = TwinCapture()
    twin = Runner(model, num_slots=1, max_length=1100, capture=capture)
    eager = Runner(model, num_slots=1, max_length=1100)
    for sampling in SAMPLINGS:
        for submission in ask([490, 30, 1000], 30, sampling):
            (ours,), (theirs,) = run_together(twin, [submission]), run_together(eager, [submission])
            assert np.array_equal(ours, theirs)
            assert len(ours) == 30 + NUM_CODEBOOKS
    # 256, 512, 768, 1024 and the slot's own length; greedy and narrow share.
    assert len(capture.captured) == 5 * 2


def test_shapes_captured_ahead_serve_later_sequences(pairs: Pairs) -> None:
    """Before the first sequence and between sequences: no column changes, nothing is left over."""
    pair = pairs(4, "narrow", end=0.3, num_slots=5)
    capture = TwinCapture()
    twin = Runner(
        LanguageModel(pair.runner.model.config, pair.weights, 1100),
        num_slots=5,
        max_length=1100,
        capture=capture,
    )
    eager = Runner(twin.model, num_slots=5, max_length=1100)
    twin.prepare()
    assert len(capture.captured) == 4 * 5  # 1, 2, 4 and 5 rows; five lengths up to 1024
    for sizes in ([12, 30, 9, 17, 25], [490, 8, 100, 40, 1000]):
        submissions = ask(sizes, 40, SAMPLINGS[1])
        ours = run_together(twin, submissions)
        for own, theirs in zip(ours, run_together(eager, submissions), strict=True):
            assert np.array_equal(own, theirs)
        while twin.capture_next():
            pass
    assert len(capture.captured) == 4 * 6
    assert not eager.capture_next()


def test_state_stays_where_it_is() -> None:
    """A graph keeps addresses: storing rows never moves a tensor, and slices are views."""
    state = SlotState.idle(torch.arange(4), NUM_CODEBOOKS)
    places = [getattr(state, name).data_ptr() for name in SlotState.__slots__]
    rows = torch.tensor([1, 3])
    picked = state.select(rows)
    picked.step += 5
    state.store(rows, picked)
    assert [getattr(state, name).data_ptr() for name in SlotState.__slots__] == places
    view = state.select(slice(0, 2))
    view.overdue.fill_(-1)
    assert state.counters[:, 4].tolist() == [-1, -1, 0, 0]
    assert state.step.flatten().tolist() == [1, 6, 1, 6]
