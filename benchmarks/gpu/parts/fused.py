"""The fused kernels are right: each against its twin, all together, beside NaN, again and again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.devices import free_memory
from benchmarks.gpu.models import random_model, random_weights
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.twins import expected, written
from benchmarks.gpu.variants import Variant, take, variants
from higgs_worker.cuda import cuda_capture
from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.slot_state import SlotState
from higgs_worker.engine.step_choice import MAX_TRIAL_STEPS, relative_error, rounding_bound

NUM_FORCED = 4
"""Columns that are given, one after another."""
NUM_BESIDE = 64
"""MB that another stream copies again and again, so that programs arrive in another order."""


@dataclass(frozen=True, slots=True)
class Trial:
    """Made-up sequences under way, of lengths that differ."""

    runner: Runner
    fused: FusedStep
    state: SlotState

    @classmethod
    def of(cls, model: LanguageModel, variant: Variant, num_rows: int, length: int) -> "Trial":
        """Fill as many slots of a new runner."""
        runner = Runner(model, num_slots=num_rows, max_length=length + MAX_TRIAL_STEPS)
        take(runner, replace(variant, kernels="fused"))
        runner._steps._make_up(range(num_rows), length)
        state = runner._columns.state
        number = torch.arange(1, num_rows + 1, device=model.device)
        state.position.copy_(state.position * number // num_rows)
        fused = runner._steps.step_for(num_rows)
        assert isinstance(fused, FusedStep)
        return cls(runner, fused, state)

    def keep(self) -> Callable[[], None]:
        """Return what sets the state back to what it is now."""
        rows = torch.arange(len(self.state.column), device=self.runner.device)
        before = self.state.select(rows)
        return lambda: self.state.store(rows, before)

    def logits(self, columns: Tensor, decode: Callable[[SlotState], Tensor]) -> Tensor:
        """Return the logits after given columns [N, B, K], [N, B, K, V]."""
        back, logits = self.keep(), []
        for column in columns:
            self.state.column.copy_(column)
            logits.append(decode(self.state).clone())
            self.state.position.add_(1)
        back()
        return torch.stack(logits)


@torch.inference_mode()
def launches(scale: Scale) -> Iterator[dict[str, Any]]:
    """Launches of a fused step against float32: relative errors, the largest of two layers"""
    scale = scale.for_kernels.few_layers
    bound = rounding_bound(replace(scale.model, num_layers=1), scale.dtype)
    wrong = []
    for has_int8_layers in (False, True):
        model = random_model(scale, has_int8_layers=has_int8_layers)
        for num_rows in scale.kernel_rows:
            trial = Trial.of(model, Variant("fused"), num_rows, 2 * scale.contexts[0])
            errors: dict[str, float] = {}
            steps = trial.fused.launches(trial.state)
            for launch in [*steps[:11], *steps[-3:-2]]:
                if launch.name in ("choose", "settle"):
                    continue
                twins = expected(launch, num_rows)
                launch.run()
                for name, twin in twins.items():
                    error = relative_error(written(launch, name, num_rows), twin)
                    errors[launch.name] = max(errors.get(launch.name, 0.0), error)
            errors["draw, ids"] = _different_ids(trial)
            name = "fused-int8" if has_int8_layers else "fused"
            yield {"step": name, "batch": num_rows} | errors
            wrong += [f"{name} {each}, {num_rows}" for each in errors if not errors[each] <= bound]
    if wrong:
        raise RuntimeError(f"off by more than {bound:.3g}: {'; '.join(wrong)}")


def _different_ids(trial: Trial) -> float:
    """Return the share of drawn ids that torch draws otherwise from the same logits.

    One is left out: where a draw falls on the border of two ids, the order of a sum decides.
    """
    state, config = trial.state, trial.runner.model.config
    shape = (*state.column.shape, config.codebook_size)
    logits = 3 * torch.randn(shape, device=trial.runner.device)
    back = trial.keep()
    trial.runner._columns.draw(state, logits.clone(), "narrow")
    theirs = state.column.clone()
    back()
    trial.fused.draw(state, logits)
    ours = state.column.clone()
    back()
    return max(0, int((ours != theirs).sum()) - 1) / ours.numel()


@torch.inference_mode()
def forced(scale: Scale) -> Iterator[dict[str, Any]]:
    """Logits of given columns, few layers: errors relative to float32's, and torch's own"""
    scale = scale.for_kernels.few_layers
    rng = np.random.default_rng(0)
    wrong = []
    for has_int8_layers in (False, True):
        model, exact = _models(scale, has_int8_layers=has_int8_layers)
        for num_rows in scale.kernel_rows:
            shape = (NUM_FORCED, num_rows, scale.model.num_codebooks)
            ids = rng.integers(0, scale.model.stream_bos_id, shape)
            columns = torch.from_numpy(ids).to(scale.device)
            length = 2 * scale.contexts[0]
            reference: Tensor | None = None
            weights = "int8" if has_int8_layers else scale.dtype_name
            row: dict[str, Any] = {"weights": weights, "batch": num_rows}
            for variant in variants(scale.device, has_int8_layers=has_int8_layers):
                trial = Trial.of(model, variant, num_rows, length)
                if reference is None:
                    reference = _torch_logits(exact, trial, columns)
                    row["bound"] = rounding_bound(scale.model, scale.dtype)
                ours = (
                    trial.logits(columns, trial.fused.decode)
                    if variant.kernels == "fused"
                    else _torch_logits(model, trial, columns)
                )
                row[variant.name.replace("-int8", "")] = relative_error(ours, reference)
            yield row
            if not all(row[name] <= row["bound"] for name in row if name.startswith("fused")):
                wrong.append(num_rows)
        del model, exact
        free_memory()
    if wrong:
        raise RuntimeError(f"logits are off at batch {wrong}")


def _torch_logits(model: LanguageModel, trial: Trial, columns: Tensor) -> Tensor:
    """Return torch's logits from the same cache, in a model's own format."""
    num_rows, length = columns.shape[1], trial.runner.max_length
    runner = Runner(model, num_slots=num_rows, max_length=length)
    runner.cache._data.copy_(trial.runner.cache._data)
    window = runner.cache.window(num_rows, length)
    return trial.logits(
        columns,
        lambda state: model.decode(state.column, state.position, runner.cache, window),
    )


def _models(scale: Scale, *, has_int8_layers: bool) -> tuple[LanguageModel, LanguageModel]:
    """Return a model, and the same one in float32."""
    config, device = scale.model, scale.device
    weights = random_weights(config, device, scale.dtype, has_int8_layers=has_int8_layers)
    exact = Weights.empty(config, device=device, number_format=NumberFormat(torch.float32))
    places = exact.by_name(config)
    for name, tensor in weights.by_name(config).items():
        if isinstance(tensor, Int8Matrix):
            tensor = tensor.dequantized(torch.float32)
        places[name].copy_(tensor)
    max_length = 2 * scale.contexts[0] + MAX_TRIAL_STEPS
    return LanguageModel(config, weights, max_length), LanguageModel(config, exact, max_length)


@torch.inference_mode()
def neighbours(scale: Scale) -> Iterator[dict[str, Any]]:
    """A slot whose cache holds NaN, and one that is finished: the others' logits keep their bits"""
    scale = scale.for_kernels.few_layers
    model = random_model(scale)
    wrong = []
    for num_rows in [each for each in scale.kernel_rows if each > 1]:
        trial = Trial.of(model, Variant("fused"), num_rows, 2 * scale.contexts[0])
        state, bad, back = trial.state, num_rows // 2, trial.keep()

        def step(trial: Trial = trial) -> tuple[Tensor, Tensor]:
            trial.fused.run(trial.state, trial.runner.cache.window(1, 1), "narrow")
            return trial.fused.decode(trial.state).clone(), trial.state.column.clone()

        others = torch.arange(num_rows, device=scale.device) != bad
        alone = step()
        back()
        state.overdue[bad] = 0
        counters = state.counters[bad].clone()
        finished = step()
        row: dict[str, Any] = {"batch": num_rows}
        row["a_finished_slot_stays"] = bool((state.counters[bad] == counters).all())
        back()
        trial.runner.cache._data[:, bad, :, 0] = torch.nan
        poisoned = step()
        row["NaN_is_told"] = not bool(torch.isfinite(state.health[bad]).any())
        row["others_told"] = not bool(torch.isfinite(state.health[others]).all())
        row["others_equal"] = all(
            torch.equal(ours[others], theirs[others])
            for outcome in (finished, poisoned)
            for ours, theirs in zip(outcome, alone, strict=True)
        )
        yield row
        if list(row.values())[1:] != [True, True, False, True]:
            wrong.append(num_rows)
    if wrong:
        raise RuntimeError(f"slots do not stay alone at batch {wrong}")


@torch.inference_mode()
def replays(scale: Scale) -> Iterator[dict[str, Any]]:
    """Replays of one captured step from one state: how many gave other bits than the first"""
    scale = scale.for_kernels.few_layers
    wrong = []
    for has_int8_layers in (False, True):
        model = random_model(scale, has_int8_layers=has_int8_layers)
        for variant in variants(scale.device, has_int8_layers=has_int8_layers)[1:]:
            for num_rows in scale.kernel_rows:
                trial = Trial.of(model, variant, num_rows, 2 * scale.contexts[0])
                different = _num_different(trial, scale)
                yield {
                    "step": variant.name,
                    "batch": num_rows,
                    "replays": scale.num_replays,
                    "different": different,
                }
                wrong += [f"{variant.name}, {num_rows}"] if different else []
    if wrong:
        raise RuntimeError(f"replays differ: {'; '.join(wrong)}")


def _num_different(trial: Trial, scale: Scale) -> int:
    """Return how many replays gave other logits or columns; beside half of them others work."""
    state, fused, device = trial.state, trial.fused, scale.device
    window = trial.runner.cache.window(1, 1)
    back = trial.keep()
    with trial.runner.own_stream():

        def step() -> tuple[Tensor, Tensor]:
            back()
            fused.run(state, window, "narrow")
            return fused._logits[: len(state.column)], state.column

        first = [each.clone() for each in step()]
        count = torch.zeros((), dtype=torch.int64, device=device)

        def counted() -> None:
            pairs = zip(step(), first, strict=True)
            count.add_(sum((ours != theirs).any() for ours, theirs in pairs) > 0)

        counted()
        count.zero_()
        capture = cuda_capture(device)
        replay = capture(counted).replay if capture else counted
        beside = torch.ones((NUM_BESIDE << 20) // 4, device=device) if capture else None
        other = torch.cuda.Stream(device) if capture else None  # type: ignore[no-untyped-call]
        for number in range(scale.num_replays):
            if other is not None and beside is not None and number % 2:
                with torch.cuda.stream(other):
                    beside.add_(1)
            replay()
        different = int(count)
    back()
    return different


MEASUREMENTS = (launches, forced, neighbours, replays)
