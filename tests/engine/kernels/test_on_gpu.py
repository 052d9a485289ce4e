"""Fused steps on a GPU: compiled kernels, real graphs, bf16 and the published shapes of heads.

They need torch, numpy, triton and pytest alone.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.gpu.models import random_weights
from benchmarks.gpu.variants import Variant, take, variants
from benchmarks.roofline import PUBLISHED
from higgs_worker.cuda import HIGH, cuda_capture, own_stream
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Prompt, Sampling, Submission, TextSegment
from higgs_worker.engine.step_choice import relative_error, rounding_bound
from tests.engine.test_graphs import run_together

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CUDA = torch.device("cuda")
CONFIG = replace(
    PUBLISHED, vocab_size=512, width=768, mlp_width=1088, num_layers=3, num_heads=6, num_kv_heads=2
)
"""The feed-forward's width is no multiple of a tile of 128."""
MAX_LENGTH = 640
LENGTHS = (3, 90, 64, 200, 17, 128, 65, 400)
NUM_STEPS = 100
NUM_REPLAYS = 1000
GREEDY = Sampling(seed=0, temperature=0.0, ras_window=0)
USUAL = Sampling(seed=0, temperature=1.0)


def random_model(dtype: torch.dtype, *, has_int8_layers: bool = False) -> LanguageModel:
    """Return a small model with the published shapes of heads."""
    weights = random_weights(CONFIG, CUDA, dtype, has_int8_layers=has_int8_layers)
    return LanguageModel(CONFIG, weights, MAX_LENGTH)


def ask(lengths: tuple[int, ...], sampling: Sampling, max_frames: int) -> list[Submission]:
    """Ask for sequences with prompts of some lengths, each with a seed of its own."""
    rng = np.random.default_rng(0)
    return [
        Submission(
            Prompt((TextSegment(tuple(rng.integers(2, 512, length).tolist())),)),
            replace(sampling, seed=seed),
            max_frames,
        )
        for seed, length in enumerate(lengths)
    ]


def made_up(model: LanguageModel, variant: Variant, num_rows: int) -> tuple[Runner, FusedStep]:
    """Return a runner whose slots are under way, at lengths that differ, and its fused step."""
    runner = Runner(model, num_slots=num_rows, max_length=MAX_LENGTH)
    take(runner, variant)
    runner._steps._make_up(range(num_rows), MAX_LENGTH)
    number = torch.arange(1, num_rows + 1, device=CUDA)
    position = runner._columns.state.position
    position.copy_(position * number // num_rows)
    step = runner._steps.step_for(num_rows)
    assert isinstance(step, FusedStep)
    return runner, step


FUSED = (Variant("fused"), Variant("fused", is_dependent=True))


@pytest.fixture(params=FUSED, ids=lambda variant: variant.name)
def variant(request: pytest.FixtureRequest) -> Variant:
    """Launches one after another, and launches that are set up ahead."""
    own: Variant = request.param
    if own not in variants(CUDA):
        pytest.skip("needs compute capability 9.0")
    return own


@pytest.fixture
def stream() -> Iterator[None]:
    """A stream of high priority, as the engine's."""
    with own_stream(CUDA, HIGH):
        yield


@pytest.mark.usefixtures("stream")
def test_greedy_columns_are_those_of_torch(variant: Variant) -> None:
    """In float32, eight sequences that join some steps apart, replayed from graphs."""
    model, submissions = random_model(torch.float32), ask(LENGTHS, GREEDY, NUM_STEPS)
    columns = []
    for each in (Variant("torch"), variant):
        runner = Runner(model, num_slots=len(LENGTHS), max_length=MAX_LENGTH)
        take(runner, each)
        columns.append(run_together(runner, submissions))
    for theirs, ours in zip(*columns, strict=True):
        assert len(ours) >= NUM_STEPS
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("has_int8_layers", [False, True], ids=["bfloat16", "int8"])
@pytest.mark.parametrize("num_rows", [1, 2, 8, 16, 31, 64])
@torch.inference_mode()
def test_logits_are_those_of_torch_but_for_rounding(
    num_rows: int, has_int8_layers: bool, variant: Variant
) -> None:
    """In bf16, and within the bound by which a worker judges."""
    model = random_model(torch.bfloat16, has_int8_layers=has_int8_layers)
    runner, fused = made_up(model, variant, num_rows)
    state = runner._columns.state
    window = runner.cache.window(num_rows, MAX_LENGTH)
    logits = model.decode(state.column, state.position, runner.cache, window)
    error = relative_error(fused.decode(state), logits)
    assert error <= rounding_bound(CONFIG, torch.bfloat16)


@pytest.mark.usefixtures("stream")
@pytest.mark.parametrize("num_rows", [1, 8, 64])
@torch.inference_mode()
def test_a_step_gives_the_same_bits_every_time(num_rows: int, variant: Variant) -> None:
    """A thousand replays from one state, whichever program comes last."""
    runner, fused = made_up(random_model(torch.bfloat16), variant, num_rows)
    state, window = runner._columns.state, runner.cache.window(1, 1)
    rows = torch.arange(num_rows, device=CUDA)
    before = state.select(rows)

    def outcome() -> tuple[Tensor, Tensor]:
        state.store(rows, before)
        fused.run(state, window, "narrow")
        return fused.decode(state), state.column

    first = [each.clone() for each in outcome()]
    num_different = torch.zeros((), dtype=torch.int64, device=CUDA)

    def compare() -> None:
        for ours, theirs in zip(outcome(), first, strict=True):
            num_different.add_((ours != theirs).any())

    compare()
    capture = cuda_capture(CUDA)
    assert capture is not None
    graph = capture(compare)
    for _ in range(NUM_REPLAYS):
        graph.replay()
    assert int(num_different) == 0


@pytest.mark.parametrize("num_rows", [2, 8, 64])
@torch.inference_mode()
def test_nan_stays_in_its_slot(num_rows: int, variant: Variant) -> None:
    """Of the others every logit and id keeps its bits; the slot itself is told as unhealthy."""
    runner, fused = made_up(random_model(torch.bfloat16), variant, num_rows)
    state, bad = runner._columns.state, num_rows // 2
    rows = torch.arange(num_rows, device=CUDA)
    before = state.select(rows)
    outcomes = []
    for value in (None, torch.nan):
        if value is not None:
            runner.cache._data[:, bad, :, 0] = value
        logits = fused.decode(state).clone()
        fused.run(state, runner.cache.window(1, 1), "narrow")
        outcomes.append((logits, state.column.clone(), state.health.clone()))
        state.store(rows, before)
    (logits, columns, health), (its_logits, its_columns, its_health) = outcomes
    others = rows != bad
    assert torch.isfinite(health).all()
    assert torch.equal(its_logits[others], logits[others])
    assert torch.equal(its_columns[others], columns[others])
    assert torch.isfinite(its_health[others]).all()
    assert torch.isnan(its_health[bad]).all()
    assert ((its_columns[bad] >= 0) & (its_columns[bad] < CONFIG.codebook_size)).all()


@torch.inference_mode()
def test_a_finished_slot_stays_as_it_is(variant: Variant) -> None:
    """Its counters stand still while the others' advance, and its neighbours do not notice."""
    runner, fused = made_up(random_model(torch.bfloat16), variant, 8)
    state = runner._columns.state
    rows = torch.arange(8, device=CUDA)
    before = state.select(rows)
    columns = []
    for finished in ([], [0, 5]):
        state.overdue[finished] = 0
        counters = state.counters.clone()
        fused.run(state, runner.cache.window(1, 1), "narrow")
        advanced = torch.tensor([slot not in finished for slot in range(8)], device=CUDA)
        assert torch.equal((state.counters != counters).any(1), advanced)
        columns.append(state.column[advanced].clone())
        state.store(rows, before)
    keep = torch.tensor([slot for slot in range(8) if slot not in (0, 5)], device=CUDA)
    assert torch.equal(columns[0][keep], columns[1])


@pytest.mark.usefixtures("stream")
def test_a_worker_chooses_and_says_what(caplog: pytest.LogCaptureFixture) -> None:
    """Both ways agree on this card, and the log has both times for each number of slots."""
    caplog.set_level(logging.INFO, logger="higgs_worker")
    runner = Runner(
        random_model(torch.bfloat16), num_slots=8, max_length=MAX_LENGTH, kernels="auto"
    )
    runner.prepare()
    (record,) = [each for each in caplog.records if "kernels" in each.getMessage()]
    assert record.getMessage() == "kernels chosen", record.exc_text
    steps = record.__dict__["steps"]
    assert [each["num_rows"] for each in steps] == [1, 2, 4, 8]
    for each in steps:
        assert each["torch_ms"] > 0
        assert each["triton_ms"] > 0
        is_fused = isinstance(runner._steps.step_for(each["num_rows"]), FusedStep)
        assert is_fused == (each["triton_ms"] < each["torch_ms"])
        assert each["chosen"] == ("triton" if is_fused else "torch")


def test_the_engine_speaks_through_fused_kernels() -> None:
    """In its own thread, and as a runner does here: the same bits, alone or after others."""
    model, submissions = random_model(torch.bfloat16), ask(LENGTHS[:3], USUAL, 40)
    runner = Runner(model, num_slots=1, max_length=MAX_LENGTH, kernels="triton")
    with own_stream(CUDA, HIGH):
        runner.prepare()
        alone = [run_together(runner, [submission])[0] for submission in submissions]
    fused = Runner(model, num_slots=1, max_length=MAX_LENGTH, kernels="triton")
    with Engine(fused) as engine:
        engine.wait_until_ready()
        for submission, theirs in zip(submissions, alone, strict=True):
            (result,) = engine.generate([submission])
            length = min(len(result.columns), len(theirs))
            assert length > 0
            assert np.array_equal(result.columns[:length], theirs[:length])
        assert isinstance(fused._steps.step_for(1), FusedStep)
