"""The model of the decode step: its operators are the step's, its times those of an H100."""

import math
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import roofline
from benchmarks.cards import CARDS, GAP_US
from benchmarks.measure import OperatorCounter
from benchmarks.models import SIZES
from benchmarks.ours import num_bytes_per_step
from benchmarks.roofline import PUBLISHED, Design, Step, designs_of, step_of
from benchmarks.step_parts import POSITION_TILE
from higgs_worker.engine.columns import Columns
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from tests.fakes.twin_capture import TwinCapture

META = torch.device("meta")
H100 = CARDS["h100"]
MAX_LAUNCHES = 150
"""Each costs some microseconds, whatever it does."""


def efficient_attention(
    queries: Tensor, keys: Tensor, values: Tensor, *, attn_mask: Tensor, scale: float
) -> Tensor:
    """Return what CUDA's memory-efficient attention returns, layout included."""
    mask = attn_mask.expand(*queries.shape[:3], keys.shape[2])
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    out: Tensor = efficient(queries, keys, values, mask, False, scale=scale)[0]
    return out


@pytest.fixture
def runner() -> Runner:
    """Return a runner of the published sizes, with shapes and no data, that captures its steps."""
    weights = Weights.empty(PUBLISHED, device=META, number_format=NumberFormat(torch.bfloat16))
    model = LanguageModel(PUBLISHED, weights, max_length=1024)
    return Runner(model, num_slots=2, max_length=1024, capture=TwinCapture())


@pytest.mark.parametrize("batch", [1, 2])
def test_operators_are_those_of_the_step(
    batch: int, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code dispatches, by name and number, what today's designs list."""
    monkeypatch.setattr(F, "scaled_dot_product_attention", efficient_attention)
    state, window = runner._views(batch, 512)
    # One kernel on CUDA, several where it is taken apart.
    with torch.inference_mode(), OperatorCounter(whole={"rms_norm"}) as counter:
        logits = runner.model.decode(state.column, state.position, runner.cache, window)
        runner._columns.draw(state, logits, "narrow")
    for design in ("eager", "graph"):
        listed: Counter[str] = Counter()
        for part in step_of(design, batch, 512).parts:
            for operator in part.kernels:
                listed[operator] += part.calls
        assert listed == counter.by_name


def test_sizes_are_those_of_the_code() -> None:
    """The published sizes and the bytes of a step stand elsewhere too."""
    assert ModelConfig.from_dict(SIZES["full"].config().to_dict()) == PUBLISHED
    kv_bytes = 2 * 28 * 8 * 128 * 2
    for batch, context in ((1, 1), (64, 600)):
        weights = num_bytes_per_step(PUBLISHED, torch.bfloat16)
        needed = step_of("graph", batch, context).needed_bytes
        assert needed == pytest.approx(weights + batch * context * kv_bytes, rel=1e-4)


@pytest.mark.parametrize(
    ("batch", "context", "measured_ms"),
    [
        (1, 400, 4.03),
        (4, 400, 4.13),
        (8, 400, 4.21),
        (16, 400, 4.40),
        (32, 400, 4.61),
        (64, 400, 5.68),
        (1, 2000, 5.79),
        (4, 2000, 5.91),
        (8, 2000, 5.94),
        (16, 2000, 6.13),
        (32, 2000, 7.19),
        (64, 2000, 10.7),
    ],
)
def test_step_times_of_an_h100(batch: int, context: int, measured_ms: float) -> None:
    """Replayed steps, measured with torch 2.11."""
    assert step_of("graph", batch, context).ms(H100) == pytest.approx(measured_ms, rel=0.1)


def test_eager_step_time_of_an_h100() -> None:
    """The host takes 6.7 ms, on its quiet days, to launch a step that the card has done in 4."""
    step = step_of("eager", 1, 400)
    assert step.ms(H100) == pytest.approx(6.7, rel=0.1)
    assert step.device_ms(H100) == step_of("graph", 1, 400).ms(H100) < step.ms(H100)


@pytest.mark.parametrize(
    ("batch", "part", "measured_us"),
    [
        (1, "qkv", 13.2),
        (1, "attention", 22.8),
        (1, "out", 9.4 + 1.9),
        (1, "gate_up", 36.8),
        (1, "down", 19.6 + 1.9),
        (1, "head", 19.7),
        (1, "norms", 4.8),
        (32, "qkv", 14.1),
        (32, "attention", 39.2),
        (32, "out", 9.7),
        (32, "gate_up", 38.2),
        (32, "down", 22.0 + 2.3),
        (32, "head", 21.7),
    ],
)
def test_kernel_times_of_an_h100(batch: int, part: str, measured_us: float) -> None:
    """The profile of one replayed step that reads 512 positions."""
    found = {each.name: each for each in step_of("graph", batch, 512).parts}[part]
    assert found.total_us(H100) - GAP_US * found.launches == pytest.approx(measured_us, rel=0.1)


def test_no_step_beats_its_card() -> None:
    """Nothing reads faster than the card, and each design is at least as fast as the one before."""
    assert designs_of(H100) == list(get_args(Design))
    assert not any(each.endswith("-pdl") for each in designs_of(CARDS["4090"]))
    for card in CARDS.values():
        for batch in (1, 8, 64):
            steps = [step_of(design, batch, 600) for design in designs_of(card)]
            times = [step.ms(card) for step in steps]
            assert times == sorted(times, reverse=True)
            assert all(step.share_of_bandwidth(card) < card.read_share for step in steps)


@pytest.mark.parametrize("batch", [1, 8, 32, 64])
@pytest.mark.parametrize("has_int8_layers", [False, True])
def test_launches_are_those_of_the_fused_step(batch: int, has_int8_layers: bool) -> None:
    """Names, numbers and programs of all launches, and the bytes of the large ones."""
    number_format = NumberFormat(torch.bfloat16, has_int8_layers)
    weights = Weights.empty(PUBLISHED, device=META, number_format=number_format)
    model, context = LanguageModel(PUBLISHED, weights, max_length=1024), 600
    cache = KVCache(PUBLISHED, batch, 1024, device=META, dtype=torch.bfloat16)
    columns = Columns(PUBLISHED, batch, 1024, META)
    launches = FusedStep(model, cache, columns).launches(columns.state)
    step = step_of("fused-int8" if has_int8_layers else "fused", batch, context)
    assert len(launches) == step.launches == 144 <= MAX_LAUNCHES
    listed = Counter({(part.name, part.grid): part.calls for part in step.parts})
    assert listed == Counter((each.name, each.grid) for each in launches)

    parts = {part.name: part for part in step.parts}
    for launch in launches[1:6] + launches[-3:-2]:
        constants, grid = launch.constants, launch.grid
        if launch.name == "attend":
            assert constants["TILE"] == POSITION_TILE
            read = batch * context * cache.layer(0)[0, :, 0].nbytes
            queries, size = batch * constants["NUM_KV_HEADS"], constants["HEAD_DIM"] + 2
            exchanged = 4 * queries * constants["ROWS"] * size * grid[-1]
        else:
            weight = launch.arguments["weight"]
            assert isinstance(weight, Tensor)
            read = weight.nbytes
            tile = constants["TILE"] * (2 if constants["IS_GATED"] else 1)
            exchanged = 4 * math.prod(grid) * tile * constants["ROWS"]
        if grid[-1] == 1:
            exchanged = 0
        # What else there is: the rows.
        rest = parts[launch.name].num_bytes - read - exchanged
        assert 0 <= rest <= batch * 4 * (PUBLISHED.mlp_width + 3 * PUBLISHED.width) + 2**16


def test_int8_halves_the_matrices_of_the_layers() -> None:
    """The head and the cache stay as they are; dependent launches read the same."""
    bf16, int8 = step_of("fused", 1, 600), step_of("fused-int8", 1, 600)

    def num_bytes(step: Step, name: str) -> float:
        return next(part.num_bytes for part in step.parts if part.name == name)

    for name in ("qkv", "out", "gate_up", "down"):
        assert num_bytes(int8, name) == pytest.approx(num_bytes(bf16, name) / 2, rel=0.05)
    for name in ("head", "attend"):
        assert num_bytes(int8, name) == num_bytes(bf16, name)
    dependent = step_of("fused-pdl", 1, 600)
    assert dependent.launches == bf16.launches
    assert dependent.needed_bytes == bf16.needed_bytes


def test_bad_sizes_are_refused() -> None:
    """A batch or context below 1 has no step."""
    with pytest.raises(ValueError, match="at least 1"):
        step_of("graph", 0, 600)


def test_command_prints_kernels_and_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """One table per card and batch of a named design, then its summary."""
    roofline.main(["--cards=h100,h200", "--batch=1,32", "--design=eager", "--host-us=10"])
    printed = capsys.readouterr().out
    for card in ("H100", "H200"):
        for batch in (1, 32):
            assert f"{card}, eager, batch {batch}: " in printed
        assert f"| {card} | eager | " in printed
    assert printed.count("operators of 10 us, 4.36 ms") == 4


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--cards=h100,t4", "no such card: t4; there are 4090, l40s, a100, h100, h200"),
        ("--batch=1,0", "0 is below 1"),
        ("--context=0", "0 is below 1"),
    ],
)
def test_bad_options_are_named(
    option: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error says what is wrong with which option."""
    with pytest.raises(SystemExit):
        roofline.main([option])
    assert problem in capsys.readouterr().err


def test_documented_table_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """docs/performance.md shows the summary of today's model."""
    roofline.main([])
    page = Path(__file__).parent.parent / "docs" / "performance.md"
    assert capsys.readouterr().out in page.read_text(encoding="utf-8")
