"""The kernels of a decode step, by the time that they take."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.devices import GB, synchronize
from benchmarks.gpu.models import clear, fill, new_runner, random_model
from benchmarks.gpu.parts.steps import kv_bytes, matrix_bytes
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.variants import take, variants
from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.runner import Runner

NUM_KERNELS = 20
NUM_STEPS = 5
MAX_NAME = 56
PRODUCT = re.compile(
    r"nvjet|gemm|gemv|cutlass.*(wmma|tensorop)|^aten::(mm|addmm_)$|^(qkv|out|gate_up|down|head)$",
    re.IGNORECASE,
)
NO_PRODUCT = re.compile("fmha|flash|reduce", re.IGNORECASE)
ATTENTION = re.compile("fmha|flash|attention|^attend$", re.IGNORECASE)
FUNCTOR = re.compile(r"\w+Functor\w*|\w+(?=\(at::TensorIterator)")
"""What an elementwise kernel was made for: a functor, or a function that holds a lambda."""


@dataclass(frozen=True, slots=True)
class KernelCall:
    """One launch."""

    name: str
    start_us: float
    us: float


def kernels_alone(scale: Scale) -> Iterator[dict[str, Any]]:
    """Kernels of a step at batch 1 and the short context, per step"""
    yield from _ways(scale, 1)


def kernels_of_32(scale: Scale) -> Iterator[dict[str, Any]]:
    """Kernels of a step at batch 32 and the short context, per step"""
    yield from _ways(scale, 32)


def _ways(scale: Scale, num_rows: int) -> Iterator[dict[str, Any]]:
    scale = scale.for_kernels
    runner = new_runner(scale, random_model(scale))
    for variant in variants(scale.device):
        take(runner, variant)
        for row in _kernels(runner, min(num_rows, runner.num_slots), scale):
            yield {"step": variant.name} | row


def _kernels(runner: Runner, num_rows: int, scale: Scale) -> Iterator[dict[str, Any]]:
    context = scale.contexts[0]
    with runner.own_stream():
        fill(runner, num_rows, context)
        for _ in range(2):
            runner.step()
        calls = _profile(runner.step, scale)
        state, _ = runner._views(num_rows, runner.max_length)
        step = runner._steps.step_for(num_rows)
        if isinstance(step, FusedStep):
            calls = named(calls, [each.name for each in step.launches(state)])
        clear(runner, num_rows)
    if not calls:
        raise RuntimeError("the profiler saw no kernel")
    yield from table(calls, bytes_of(calls, scale, num_rows, context), NUM_STEPS)


def _profile(step: Callable[[], None], scale: Scale) -> list[KernelCall]:
    is_cuda = scale.device.type == "cuda"
    activity = ProfilerActivity.CUDA if is_cuda else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiler:
        for _ in range(NUM_STEPS):
            step()
        synchronize(scale.device)
    wanted = DeviceType.CUDA if is_cuda else DeviceType.CPU
    return [
        KernelCall(
            event.name,
            event.time_range.start,
            event.time_range.elapsed_us() if is_cuda else event.self_cpu_time_total,
        )
        for event in profiler.events() or []
        if event.device_type == wanted
    ]


def named(calls: Sequence[KernelCall], names: Sequence[str]) -> list[KernelCall]:
    """Return a fused step's calls by their launches' names, if there is one for each."""
    if len(calls) != NUM_STEPS * len(names):
        return list(calls)
    in_order = sorted(calls, key=lambda call: call.start_us)
    return [
        KernelCall(name, call.start_us, call.us)
        for name, call in zip([*names] * NUM_STEPS, in_order, strict=True)
    ]


def bytes_of(
    calls: Sequence[KernelCall], scale: Scale, num_rows: int, context: int
) -> dict[KernelCall, int]:
    """Return the bytes of weights, keys and values that calls must read, where that is known.

    A product's weight follows from its place in the step: four products a layer, then the head. If
    there are more or fewer, nothing is known.
    """
    layer, head = matrix_bytes(scale)
    in_order = sorted(calls, key=lambda call: call.start_us)
    products = [c for c in in_order if PRODUCT.search(c.name) and not NO_PRODUCT.search(c.name)]
    sizes = [*layer * scale.model.num_layers, head] * NUM_STEPS
    found = {}
    if len(products) == len(sizes):
        found = dict(zip(products, sizes, strict=True))
    attention = [call for call in in_order if ATTENTION.search(call.name)]
    if len(attention) == NUM_STEPS * scale.model.num_layers:
        found |= dict.fromkeys(attention, num_rows * kv_bytes(scale, context))
    return found


def table(
    calls: Sequence[KernelCall], sizes: dict[KernelCall, int], num_steps: int
) -> Iterator[dict[str, Any]]:
    """Yield the kernels that take most, then all together; per step."""
    by_name: dict[str, list[KernelCall]] = {}
    for call in calls:
        by_name.setdefault(short_name(call.name), []).append(call)
    total = sum(call.us for call in calls)
    in_order = sorted(by_name.items(), key=lambda item: -sum(call.us for call in item[1]))
    for name, own in in_order[:NUM_KERNELS]:
        us = sum(call.us for call in own)
        size = sum(sizes.get(call, 0) for call in own)
        yield {
            "kernel": name,
            "calls": len(own) / num_steps,
            "us": us / num_steps,
            "percent": 100 * us / total,
            "GB_per_s": size / us * 1e6 / GB if size else None,
        }
    count = f"all {len(by_name)} kernels"
    yield {"kernel": count, "calls": len(calls) / num_steps, "us": total / num_steps}


def short_name(name: str) -> str:
    """Return a kernel's own name and what it was made for, without C++'s templates."""
    name = re.sub(r"\(anonymous namespace\)::", "", name.removeprefix("void "))
    base, _, rest = name.partition("<")
    words = [base.partition("(")[0].rpartition("::")[2], *FUNCTOR.findall(rest)]
    return " ".join(dict.fromkeys(words))[:MAX_NAME]


MEASUREMENTS = (kernels_alone, kernels_of_32)
