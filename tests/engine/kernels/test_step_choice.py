"""The choice at start: both ways are run, compared and timed, and what goes wrong is torch's."""

import logging
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmarks.roofline import PUBLISHED
from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.slot_state import SlotState
from higgs_worker.engine.step_choice import StepChoice, relative_error, rounding_bound
from higgs_worker.errors import InvalidSettings
from tests.engine.kernels.tiny import TINY, tiny_model
from tests.fakes.twin_capture import TwinCapture


class WrongStep(FusedStep):
    """Computes logits that are changed by a function."""

    def __init__(self, *parts: object, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self._change = change

    def decode(self, state: SlotState) -> Tensor:
        """Return the changed logits."""
        return self._change(super().decode(state))


class OtherChoice(StepChoice):
    """Chooses between torch's step and one that is made by a function."""

    make: Callable[..., FusedStep]

    def _fused_step(self) -> FusedStep:
        return self.make(self._model, self._cache, self._columns)


def choose(make: Callable[..., FusedStep], *, kernels: str = "auto") -> tuple[Runner, StepChoice]:
    """Choose for a runner of one slot; returns both."""
    runner = Runner(tiny_model(max_length=48), num_slots=1, max_length=48, capture=TwinCapture())
    choice = OtherChoice(runner.model, runner.cache, runner._columns, runner._graphs)
    choice.make = make
    runner._steps = choice
    runner._kernels = kernels
    runner.prepare()
    return runner, choice


@pytest.mark.slow
def test_both_ways_are_compared_and_the_faster_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """The log has both times; the slots are as if nothing had run in them."""
    caplog.set_level(logging.INFO)
    runner, choice = choose(FusedStep)
    (record,) = [each for each in caplog.records if each.message == "kernels chosen"]
    (step,) = record.steps
    assert step["num_rows"] == 1
    assert step["torch_ms"] > 0
    assert step["triton_ms"] > step["torch_ms"]  # interpreted
    assert step["chosen"] == "torch"
    assert step["error"] < 1e-5
    assert type(choice.step_for(1)).__name__ == "TorchStep"
    state, fresh = runner._columns.state, Runner(runner.model, num_slots=1, max_length=48)
    assert not runner.cache.layer(0).any()
    assert torch.equal(state.counters[:, 3:], fresh._columns.state.counters[:, 3:])
    assert not state.position.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda logits: logits * 1.01,
        lambda logits: logits.index_fill(1, torch.tensor(0), torch.nan),
        lambda logits: logits.roll(1, -1),
    ],
    ids=["one per cent", "not a number", "another place"],
)
def test_what_disagrees_is_not_taken(
    change: Callable[[Tensor], Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says why, and steps are torch's."""
    _, choice = choose(lambda *parts: WrongStep(*parts, change=change))
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "fused kernels cannot be used" in record.message
    assert "differ by" in str(record.exc_info[1])
    assert type(choice.step_for(1)).__name__ == "TorchStep"


def fail(*_: object) -> FusedStep:
    """Fail as Triton does where there is no compiler."""
    raise RuntimeError("Failed to find C compiler. Please specify via CC environment variable.")


def test_what_cannot_be_compiled_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    """The worker starts all the same."""
    _, choice = choose(fail)
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert "C compiler" in str(record.exc_info[1])
    assert type(choice.step_for(1)).__name__ == "TorchStep"


def test_an_operator_who_wants_triton_is_told_why_not() -> None:
    """HIGGS_KERNELS=triton falls back to nothing."""
    with pytest.raises(InvalidSettings, match=r"HIGGS_KERNELS.*C compiler.*auto"):
        choose(fail, kernels="triton")


def test_without_triton_steps_are_torchs(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It need not be installed."""
    monkeypatch.setitem(sys.modules, "triton", None)
    for name in [each for each in sys.modules if each.startswith("higgs_worker.engine.kernels.")]:
        monkeypatch.delitem(sys.modules, name)
    runner = Runner(
        tiny_model(max_length=48),
        num_slots=1,
        max_length=48,
        capture=TwinCapture(),
        kernels="auto",
    )
    runner.prepare()
    assert type(runner._steps.step_for(1)).__name__ == "TorchStep"
    assert "fused kernels cannot be used" in caplog.text


def test_on_a_cpu_nothing_is_tried() -> None:
    """Where no step is captured, torch's is the only one."""
    runner = Runner(tiny_model(max_length=48), num_slots=1, max_length=48, kernels="auto")
    runner.prepare()
    assert type(runner._steps.step_for(1)).__name__ == "TorchStep"


def test_the_bound_lies_between_rounding_and_wrong() -> None:
    """At the published sizes: above what was measured between ways to compute, far below 1."""
    # Measured on an H100: 0.05 of a standard deviation of 3, from each to float32.
    assert 2 * 0.05 / 3 * 2**0.5 < rounding_bound(PUBLISHED, torch.bfloat16) < 0.25
    assert rounding_bound(TINY, torch.float32) < 1e-4


def test_the_error_is_relative() -> None:
    """Of the difference to the reference, in root mean squares."""
    reference = torch.tensor([3.0, -4.0])
    assert relative_error(1.5 * reference, reference) == pytest.approx(0.5)
