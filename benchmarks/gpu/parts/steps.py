"""The decode step: how long, and how much of the card's bandwidth that uses."""

import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.devices import (
    data_sheet_bandwidth,
    device_name,
    free_memory,
    median_seconds,
    num_allocations,
    read_bandwidth,
    synchronize,
)
from benchmarks.gpu.models import clear, fill, new_runner, random_model
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.variants import Variant, take, variants
from benchmarks.roofline import FRAME_RATE
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner


def steps(scale: Scale) -> Iterator[dict[str, Any]]:
    """Decode steps; shares of the bandwidth measured here and of the data sheet's"""
    scale = scale.for_kernels
    measured = read_bandwidth(scale.device)
    for has_int8_layers in (False, True):
        model = random_model(scale, has_int8_layers=has_int8_layers)
        runner = new_runner(scale, model)
        for context in dict.fromkeys(scale.contexts):
            for variant in variants(scale.device, has_int8_layers=has_int8_layers):
                # A stream of its own, on which its steps are captured.
                with runner.own_stream():
                    take(runner, variant)
                    yield from _steps(runner, variant, context, measured, scale)
        del model, runner
        free_memory()


def _steps(
    runner: Runner, variant: Variant, context: int, measured: float, scale: Scale
) -> Iterator[dict[str, Any]]:
    """Yield a row for each batch, all at one context and in one way."""
    sheet = data_sheet_bandwidth(device_name(scale.device))
    for num_rows in scale.rows:
        row: dict[str, Any] = {"step": variant.name, "batch": num_rows, "context": context}
        if num_rows > runner.num_slots:
            yield row | {"note": f"only {runner.num_slots} slots fit"}
            continue
        # Halfway through its steps the context is what is said. They are few, so that all of them
        # have one shape.
        fill(runner, num_rows, context - scale.repeats * scale.num_steps // 2)
        row |= _measure(runner, num_rows, scale)
        clear(runner, num_rows)
        size = step_bytes(scale, num_rows, context, has_int8_layers=variant.has_int8_layers)
        step_s = row["replay_ms"] / 1e3
        row["read_percent"] = 100 * size / measured / step_s
        row["sheet_percent"] = sheet and 100 * size / sheet / step_s
        row["audio_s_per_s"] = num_rows / FRAME_RATE / step_s
        yield row


def step_bytes(scale: Scale, num_rows: int, context: int, *, has_int8_layers: bool = False) -> int:
    """Return the bytes that a step must read: the audio path's matrices, keys and values in use."""
    layer, head = matrix_bytes(scale, has_int8_layers=has_int8_layers)
    return scale.model.num_layers * (sum(layer) + num_rows * kv_bytes(scale, context)) + head


def matrix_bytes(scale: Scale, *, has_int8_layers: bool = False) -> tuple[list[int], int]:
    """Return the bytes of a layer's matrices in the order of use, and of the head."""
    number_format = NumberFormat(scale.dtype, has_int8_layers)
    weights = Weights.empty(scale.model, device=torch.device("meta"), number_format=number_format)
    layer = weights.layers[0]
    used = (layer.qkv, layer.out, layer.audio.gate_up, layer.audio.down)
    return [matrix.nbytes for matrix in used], weights.head.nbytes


def kv_bytes(scale: Scale, context: int) -> int:
    """Return the bytes of a slot's keys and values in one layer."""
    return 2 * scale.model.num_kv_heads * scale.model.head_dim * scale.dtype.itemsize * context


def _measure(runner: Runner, num_rows: int, scale: Scale) -> dict[str, Any]:
    """Time steps by replay, then eagerly; the first one of a shape is eager and is captured."""
    device, num_steps, repeats = scale.device, scale.num_steps, scale.repeats - 1
    launch_s = 0.0

    def run() -> None:
        nonlocal launch_s
        started = time.perf_counter()
        for _ in range(num_steps):
            runner.step()
        launch_s = time.perf_counter() - started

    runner.step()
    runner.step()
    synchronize(device)
    allocated = num_allocations(device)
    replay_s = median_seconds(device, run, repeats)
    allocated = num_allocations(device) - allocated
    graphs, runner._graphs = runner._graphs, StepGraphs(None)
    host_s = launch_s
    try:
        eager_s = median_seconds(device, run, 1)
    finally:
        runner._graphs = graphs
    return {
        "replay_ms": 1e3 * replay_s / num_steps,
        "eager_ms": 1e3 * eager_s / num_steps,
        "host_ms": 1e3 * host_s / num_steps,
        "allocations": allocated / (num_steps * repeats),
    }


MEASUREMENTS = (steps,)
