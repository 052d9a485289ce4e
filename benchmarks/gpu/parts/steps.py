"""The decode step: how long, and how much of the card's bandwidth that uses."""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.gpu.devices import (
    data_sheet_bandwidth,
    device_name,
    median_seconds,
    num_allocations,
    read_bandwidth,
    synchronize,
)
from benchmarks.gpu.models import clear, fill, new_runner, random_model
from benchmarks.gpu.scale import FRAME_RATE, Scale
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.graphs import StepGraphs
from higgs_worker.engine.runner import Runner


def steps(scale: Scale) -> Iterator[dict[str, Any]]:
    """Decode steps; shares of the bandwidth measured here and of the data sheet's"""
    measured = read_bandwidth(scale.device)
    sheet = data_sheet_bandwidth(device_name(scale.device))
    runner = new_runner(scale, random_model(scale))
    with runner.own_stream():
        for context in scale.contexts:
            for num_rows in scale.rows:
                row: dict[str, Any] = {"batch": num_rows, "context": context}
                if num_rows > runner.num_slots:
                    yield row | {"note": f"only {runner.num_slots} slots fit"}
                    continue
                # Halfway through the measurement the context is what is said.
                fill(runner, num_rows, context - 3 * scale.num_steps)
                row |= _measure(runner, num_rows, scale)
                clear(runner, num_rows)
                size = step_bytes(scale.model, num_rows, context, scale.dtype.itemsize)
                step_s = row["replay_ms"] / 1e3
                row["read_percent"] = 100 * size / measured / step_s
                row["sheet_percent"] = sheet and 100 * size / sheet / step_s
                row["audio_s_per_s"] = num_rows / FRAME_RATE / step_s
                yield row


def step_bytes(config: ModelConfig, num_rows: int, context: int, itemsize: int) -> int:
    """Return the bytes that a step must read: the audio path's weights, keys and values in use."""
    layer = sum(product_sizes(config)) + 2 * config.width
    kv = 2 * config.num_layers * config.num_kv_heads * config.head_dim
    once = config.width + head_size(config)
    return itemsize * (config.num_layers * layer + once + num_rows * context * kv)


def product_sizes(config: ModelConfig) -> tuple[int, int, int, int]:
    """Return the elements of a layer's matrices, in the order of use: qkv, out, gate_up, down."""
    query = config.num_heads * config.head_dim
    keys = 2 * config.num_kv_heads * config.head_dim
    feed_forward = config.mlp_width * config.width
    return (query + keys) * config.width, query * config.width, 2 * feed_forward, feed_forward


def head_size(config: ModelConfig) -> int:
    """Return the elements of the head."""
    return config.num_codebooks * config.codebook_size * config.width


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
