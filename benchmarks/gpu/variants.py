"""The ways to compute a decode step that are compared: whose kernels, and which number format."""

from dataclasses import dataclass

import torch

from higgs_worker.cuda import Capture, cuda_capture
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.step_choice import StepChoice

FIRST_DEPENDENT = (9, 0)
"""The compute capability from which launches can be dependent."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way."""

    kernels: str
    """`torch` or `fused`."""
    is_dependent: bool = False
    """See `kernels/dependent.py`."""
    has_int8_layers: bool = False

    @property
    def name(self) -> str:
        """As the roofline has it."""
        pdl, int8 = "-pdl" * self.is_dependent, "-int8" * self.has_int8_layers
        return f"{self.kernels}{int8}{pdl}"


def variants(device: torch.device, *, has_int8_layers: bool = False) -> list[Variant]:
    """Return the ways that a device can go, with weights of one format."""
    known = [Variant("torch"), Variant("fused")]
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= FIRST_DEPENDENT:
        known.append(Variant("fused", is_dependent=True))
    return [Variant(each.kernels, each.is_dependent, has_int8_layers) for each in known]


def take(runner: Runner, variant: Variant, capture: Capture | None = None) -> None:
    """Let a runner compute all its steps in one way; they are captured anew.

    Args:
        runner: without sequences.
        variant: the way.
        capture: as of `Runner`.
    """
    runner._graphs = StepGraphs(capture or cuda_capture(runner.device))
    runner._steps = StepChoice(runner.model, runner.cache, runner._columns, runner._graphs)
    if variant.kernels == "fused":
        # Where Triton is not installed, torch's steps can still be measured.
        from higgs_worker.engine.kernels.fused_step import FusedStep

        fused = FusedStep(
            runner.model, runner.cache, runner._columns, is_dependent=variant.is_dependent
        )
        runner._steps._chosen = dict.fromkeys(range(1, fused.max_rows + 1), fused)


def chosen(runner: Runner) -> str:
    """Return which numbers of slots have fused steps in a runner that has chosen."""
    fused = [str(each) for each in sorted(runner._steps._chosen) if is_fused(runner, each)]
    return f"fused for {', '.join(fused)}" if fused else "torch"


def is_fused(runner: Runner, num_rows: int) -> bool:
    """Whether the steps of some slots are fused."""
    return runner._steps.step_for(num_rows) is not runner._steps._torch_step
