"""Which way to compute decode steps, measured on the worker's own card and weights.

Kernels that are right and fast on one card may be neither on the next, so a worker tries both ways
before it is ready: the same made-up sequences, in its own slots, through torch and through the
fused kernels. The logits must agree within what rounding explains, the ids that are drawn from them
must be the same, and of two that agree the faster one is taken, for each number of slots.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from higgs_worker.engine.columns import Columns
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.kv_cache import CacheWindow, KVCache
from higgs_worker.engine.model import LanguageModel, to_device
from higgs_worker.engine.rows import PromptRows
from higgs_worker.engine.sampling import Mode
from higgs_worker.engine.sequence import Prompt, Sampling, TextSegment
from higgs_worker.engine.shapes import MIN_CAPTURED_LENGTH
from higgs_worker.engine.slot_state import NEVER, SlotState
from higgs_worker.engine.step import DecodeStep, TorchStep
from higgs_worker.errors import InvalidSettings

if TYPE_CHECKING:
    from higgs_worker.engine.kernels.fused_step import FusedStep

log = logging.getLogger(__name__)

Views = Callable[[int, int], tuple[SlotState, CacheWindow]]
"""(number of slots, positions) -> views of the first slots."""

MODE: Mode = "narrow"
"""Of the steps that are compared, as of nearly all requests."""
TRIAL_LENGTH = 768
"""Positions of a slot: a reference of ten seconds and as much sound."""
NUM_TIMED = 5
"""Steps that are timed together."""
MAX_TRIAL_STEPS = 2 * NUM_TIMED
"""More than follow each other before the state is set back."""
ROUNDINGS_PER_LAYER = 8
"""To the dtype: both norms; queries, keys and values; the rotated ones; what attention gives; what
SiLU gives; and both residual sums."""
MARGIN = 4
"""From what independent roundings explain to what is refused. Kernels that are wrong are off by as
much as the logits themselves, which is more by far (0.19 against 1 in bfloat16 at 28 layers)."""


class KernelsDisagree(Exception):
    """The fused kernels compute something else than torch."""


@dataclass(frozen=True, slots=True)
class StepComparison:
    """Both ways, for one number of slots."""

    num_rows: int
    torch_ms: float
    triton_ms: float
    error: float
    """See `relative_error`."""

    @property
    def faster(self) -> str:
        """Whose kernels took less time."""
        return "triton" if self.triton_ms < self.torch_ms else "torch"


class StepChoice:
    """The step for each number of slots: torch's, until another has been chosen."""

    def __init__(
        self, model: LanguageModel, cache: KVCache, columns: Columns, graphs: StepGraphs
    ) -> None:
        self._model, self._cache, self._columns, self._graphs = model, cache, columns, graphs
        self._torch_step = TorchStep(model, cache, columns)
        self._chosen: dict[int, DecodeStep] = {}

    def step_for(self, num_rows: int) -> DecodeStep:
        """Return the step for the first so many slots."""
        return self._chosen.get(num_rows, self._torch_step)

    def choose(self, kernels: str, row_counts: Sequence[int], views: Views) -> None:
        """Choose the steps, while all slots are idle.

        Args:
            kernels: `torch`; `triton`, which takes the fused kernels without comparing them, for up
                to 64 slots; or `auto`, which takes torch's where anything goes wrong.
            row_counts: the numbers of slots that steps will have.
            views: of state and cache.

        Raises:
            InvalidSettings: it has to be Triton's, and those cannot be used.
        """
        if kernels == "torch":
            return
        started = time.perf_counter()
        try:
            fused = self._fused_step()
            if kernels == "triton":
                fused.run(*views(1, MIN_CAPTURED_LENGTH), MODE)
                self._chosen = dict.fromkeys(range(1, fused.max_rows + 1), fused)
                return
            row_counts = [each for each in row_counts if each <= fused.max_rows]
            comparisons = self._compare_all(fused, row_counts, views)
        except Exception as error:
            if kernels == "triton":
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise InvalidSettings(
                    f"HIGGS_KERNELS is triton, and its kernels cannot be used here ({reason}); set "
                    "it to auto"
                ) from error
            # Nothing is lost, steps are only slower. What is wrong may be anything: no compiler, a
            # card that Triton does not know, a result that is not a number.
            log.warning(
                "the fused kernels cannot be used; steps are computed by torch's", exc_info=True
            )
            return
        for each in comparisons:
            self._chosen[each.num_rows] = fused if each.faster == "triton" else self._torch_step
        log.info(
            "kernels chosen",
            extra={
                "steps": [asdict(each) | {"chosen": each.faster} for each in comparisons],
                "took_s": round(time.perf_counter() - started, 3),
            },
        )

    def _fused_step(self) -> "FusedStep":
        # Where Triton is not installed, torch's kernels do.
        from higgs_worker.engine.kernels.fused_step import FusedStep

        return FusedStep(self._model, self._cache, self._columns)

    def _compare_all(
        self, fused: "FusedStep", row_counts: Sequence[int], views: Views
    ) -> list[StepComparison]:
        slots = range(max(row_counts))
        length = min(TRIAL_LENGTH, self._cache.max_length)
        try:
            self._make_up(slots, length)
            return [self._compare(fused, *views(each, length)) for each in row_counts]
        finally:
            for slot in slots:
                self._columns.release(slot)
                self._cache.clear(slot)

    def _make_up(self, slots: Sequence[int], length: int) -> None:
        """Fill slots with sequences that are under way, the same numbers every time."""
        config, columns = self._model.config, self._columns
        prompt = PromptRows.from_prompt(Prompt((TextSegment((0,)),)), config)
        for slot in slots:
            columns.begin(slot, prompt, Sampling(seed=slot), MAX_TRIAL_STEPS)
        state = columns.state.select(slice(0, len(slots)))
        shape = (len(slots), config.num_codebooks)
        ids = np.random.default_rng(0).integers(0, config.stream_bos_id, shape)
        state.column.copy_(to_device(ids, self._model.device))
        state.position.fill_(length - MAX_TRIAL_STEPS)
        state.step.fill_(2 * config.num_codebooks)  # behind the ramp
        state.overdue.fill_(-NEVER)
        self._cache.make_up(len(slots), length)

    def _compare(self, fused: "FusedStep", state: SlotState, window: CacheWindow) -> StepComparison:
        num_rows = len(state.column)
        rows = torch.arange(num_rows, device=self._model.device)
        before = state.select(rows)
        logits = self._model.decode(state.column, state.position, self._cache, window)
        error = relative_error(fused.decode(state), logits)
        bound = rounding_bound(self._model.config, self._model.dtype)
        if not error <= bound:
            raise KernelsDisagree(f"logits of {num_rows} slots differ by {error:.3g} of their size")
        columns = []
        for draw in (
            partial(self._columns.draw, state, logits.clone(), MODE),
            partial(fused.draw, state, logits),
        ):
            draw()
            columns.append(state.column.clone())
            state.store(rows, before)
        num_different = int((columns[0] != columns[1]).sum())
        # Where a draw falls on the border of two ids, the order of a sum decides between them.
        if num_different > 1 + columns[0].numel() // 100:
            raise KernelsDisagree(f"{num_different} of {columns[0].numel()} drawn ids differ")
        ways: dict[str, DecodeStep] = {"torch": self._torch_step, "triton": fused}
        times: dict[str, float] = {}
        for name, step in ways.items():
            run = partial(self._run, step, state, window)
            run()  # which captures it
            times[name] = 1e3 * self._seconds(run) / NUM_TIMED
            state.store(rows, before)
        comparison = StepComparison(num_rows, times["torch"], times["triton"], error)
        del ways[comparison.faster]
        for slower in ways.values():
            self._graphs.forget(slower.key(num_rows, window.length, MODE))
        return comparison

    def _run(self, step: DecodeStep, state: SlotState, window: CacheWindow) -> None:
        key = step.key(len(state.column), window.length, MODE)
        self._graphs.run(key, partial(step.run, state, window, MODE))

    def _seconds(self, run: Callable[[], None]) -> float:
        """Return the seconds of some steps, from an idle device to an idle device."""
        state = self._columns.state
        state.position[0].item()
        started = time.perf_counter()
        for _ in range(NUM_TIMED):
            run()
        state.position[0].item()
        return time.perf_counter() - started


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Return the root mean square of a difference, relative to that of the reference."""
    difference = (ours - reference).square().mean() / reference.square().mean()
    return difference.sqrt().item()


def rounding_bound(config: ModelConfig, dtype: torch.dtype) -> float:
    """Return how far two ways to the same logits may be apart, relative to the logits.

    Each rounding moves a number by up to half a unit of its last place, evenly spread; a sum of n
    float32 numbers loses some sqrt(n) such units. Errors of different places add up as squares, and
    both ways make their own.
    """
    of_numbers = torch.finfo(dtype).eps / 2 / math.sqrt(3)
    of_sums = math.sqrt(max(config.width, config.mlp_width)) * torch.finfo(torch.float32).eps / 2
    count = 2 * ROUNDINGS_PER_LAYER * config.num_layers
    return MARGIN * (of_numbers + of_sums) * math.sqrt(count)
