"""How the fused kernels are best divided on this card: tiles of products, splits of attention."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.devices import GB, median_seconds
from benchmarks.gpu.models import random_model
from benchmarks.gpu.parts.fused import Trial
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.variants import Variant, variants
from higgs_worker.cuda import HIGH, cuda_capture, own_stream
from higgs_worker.engine.kernels.compilation import compile_launch
from higgs_worker.engine.kernels.launch import Launch
from higgs_worker.engine.kernels.tiles import Tile, padded

NUM_BEST = 3
NUM_COMPILING = 16
SPLITS = (1, 2, 4, 8, 16, 32)
LENGTHS = (300, 600, 1500, 3000)
FEW = [
    Tile(rows, depth, splits, warps, stages)
    for (rows, depth, warps, stages), splits in product(
        ((16, 128, 2, 4), (16, 256, 1, 4), (16, 256, 2, 4), (32, 128, 2, 4)),
        (1, 2, 4),
    )
]
"""For up to eight slots."""
MANY = [
    Tile(rows, 64, splits, warps, stages)
    for (rows, warps, stages), splits in product(((64, 4, 4), (128, 4, 3), (128, 8, 4)), (1, 3, 6))
]
"""For more."""


@torch.inference_mode()
def gaps(scale: Scale) -> Iterator[dict[str, Any]]:
    """A replayed step of a model with next to nothing to compute: us, and us for each launch"""
    scale = scale.for_kernels
    if not scale.is_rehearsal:
        sizes = {"width": 256, "mlp_width": 256, "num_heads": 6, "num_kv_heads": 2, "head_dim": 64}
        scale = replace(scale, model=replace(scale.model, vocab_size=512, **sizes))
    model = random_model(scale)
    for variant in variants(scale.device)[1:]:
        trial = Trial.of(model, variant, 1, 2 * scale.contexts[0])
        launches = trial.fused.launches(trial.state)
        us = _microseconds([each.run for each in launches], scale)
        yield {
            "step": variant.name,
            "launches": len(launches),
            "us": len(launches) * us,
            "us_per_launch": us,
        }


@torch.inference_mode()
def products(scale: Scale) -> Iterator[dict[str, Any]]:
    """Products by tile: the best three of each, the one in use, and cuBLAS; us and GB per second"""
    scale = scale.for_kernels.few_layers
    for has_int8_layers in (False, True):
        model = random_model(scale, has_int8_layers=has_int8_layers)
        for num_rows in sorted({1, 32} | set(scale.kernel_rows)) if not scale.is_rehearsal else [1]:
            trial = Trial.of(model, Variant("fused"), num_rows, 2 * scale.contexts[0])
            by_name: dict[str, list[Launch]] = {}
            for launch in trial.fused.launches(trial.state):
                if "weight" in launch.arguments:
                    by_name.setdefault(launch.name, []).append(launch)
            for name, launches in by_name.items():
                if has_int8_layers and name == "head":
                    continue  # it is not in int8
                row = {"weights": "int8" if has_int8_layers else scale.dtype_name, "product": name}
                for timed in _timed(launches, num_rows, scale):
                    yield row | {"batch": num_rows} | timed


def _timed(launches: Sequence[Launch], num_rows: int, scale: Scale) -> Iterator[dict[str, Any]]:
    """Yield the best tiles of one product, over the weights of all layers."""
    weight = launches[0].arguments["weight"]
    assert isinstance(weight, Tensor)

    def row(tile: str, works: Sequence[Callable[[], object]]) -> dict[str, Any]:
        us = _microseconds(works, scale)
        return {"tile": tile, "us": us, "GB_per_s": weight.nbytes / us * 1e6 / GB}

    candidates = [
        [_divided(each, tile) for each in launches]
        for tile in (FEW if padded(num_rows) == padded(1) else MANY)
    ]
    if scale.is_rehearsal:
        candidates = candidates[:2]
    else:
        _compile([each[0] for each in candidates])
    found, failed = [], 0
    for divided in candidates:
        try:
            divided[0].run()
        except Exception:
            failed += 1  # too much shared memory for this card
            continue
        found.append(row(_describe(divided[0]), [each.run for each in divided]))
    yield from sorted(found, key=lambda each: float(each["us"]))[:NUM_BEST]
    in_use = f"in use: {_describe(launches[0])}; {failed} did not fit"
    yield row(in_use, [each.run for each in launches])
    if not launches[0].constants["IS_INT8"]:
        yield row("cuBLAS", [_by_library(each, num_rows) for each in launches])


def _divided(launch: Launch, tile: Tile) -> Launch:
    """Return a product in other tiles, with memory of its own for what programs exchange."""
    sizes = launch.constants
    num_tiles = -(-sizes["NUM_OUTPUTS"] // tile.rows)
    halves = 2 if sizes["IS_GATED"] else 1
    num_parts = num_tiles * tile.rows * halves * tile.splits * sizes["ROWS"]
    device = launch.arguments["weight"].device  # type: ignore[union-attr]
    own = {
        "parts": torch.empty(num_parts, device=device),
        "counters": torch.zeros(num_tiles, device=device, dtype=torch.int32),
    }
    division = {
        "TILE": tile.rows,
        "DEPTH": tile.depth,
        "SPLITS": tile.splits,
        "STAGES": tile.num_stages,
    }
    return replace(
        launch,
        grid=(num_tiles, tile.splits),
        arguments={**launch.arguments, **own},
        constants={**sizes, **division},
        num_warps=tile.num_warps,
    )


def _compile(launches: Sequence[Launch]) -> None:
    """Compile many kernels at the same time; what cannot be compiled fails when it is run."""
    import triton

    try:
        with (
            ThreadPoolExecutor(NUM_COMPILING) as pool,
            triton.AsyncCompileMode(pool, ignore_errors=True),
        ):
            for each in launches:
                compile_launch(each)
    except Exception:
        # Nothing is lost but time: each is compiled at its first launch.
        traceback.print_exc()


def _by_library(launch: Launch, num_rows: int) -> Callable[[], object]:
    weight, rows = launch.arguments["weight"], launch.arguments["rows"]
    assert isinstance(weight, Tensor)
    assert isinstance(rows, Tensor)
    own = rows[:num_rows]
    return lambda: torch.mm(own, weight.T)


def _describe(launch: Launch) -> str:
    sizes = launch.constants
    return (
        f"{sizes['TILE']} x {sizes['DEPTH']}, {sizes['SPLITS']} splits, {launch.num_warps} warps, "
        f"{sizes['STAGES']} stages"
    )


@torch.inference_mode()
def attention(scale: Scale) -> Iterator[dict[str, Any]]:
    """Attention by splits and positions, us of one layer"""
    scale = scale.for_kernels.few_layers
    model = random_model(scale)
    for num_rows in scale.kernel_rows:
        lengths = (20,) if scale.is_rehearsal else LENGTHS
        trial = Trial.of(model, Variant("fused"), num_rows, max(lengths))
        launches = [each for each in trial.fused.launches(trial.state) if each.name == "attend"]
        for length in lengths:
            trial.state.position.fill_(length)
            row: dict[str, Any] = {"batch": num_rows, "positions": length}
            row["in_use"] = launches[0].grid[-1]
            for splits in SPLITS[:1] if scale.is_rehearsal else SPLITS:
                works = [_split(each, splits).run for each in launches]
                row[f"{splits}_splits"] = _microseconds(works, scale)
            yield row


def _split(launch: Launch, splits: int) -> Launch:
    """Return attention whose positions are divided otherwise."""
    sizes, (num_rows, num_heads, _) = launch.constants, launch.grid
    num_pairs = num_rows * num_heads
    num_parts = num_pairs * splits * sizes["ROWS"] * (sizes["HEAD_DIM"] + 2)
    device = launch.arguments["cache"].device  # type: ignore[union-attr]
    own = {
        "parts": torch.empty(num_parts, device=device),
        "counters": torch.zeros(num_pairs, device=device, dtype=torch.int32),
    }
    return replace(
        launch,
        grid=(num_rows, num_heads, splits),
        arguments={**launch.arguments, **own},
    )


def _microseconds(works: Sequence[Callable[[], object]], scale: Scale) -> float:
    """Return the time of each of some works that follow each other, captured where that can be."""

    def run() -> None:
        for work in works:
            work()

    device = scale.device
    capture = cuda_capture(device)
    if capture is None:
        return 1e6 * median_seconds(device, run, 1) / len(works)
    with own_stream(device, HIGH):
        run()
        replay = capture(run).replay
        replay()
        return 1e6 * median_seconds(device, replay, scale.repeats) / len(works)


MEASUREMENTS = (gaps, attention, products)
