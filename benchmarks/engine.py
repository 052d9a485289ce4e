"""Measure our engine against transformers' `generate` on the same weights, in one process.

    python -m benchmarks.engine [--quick] [--models tiny,deep,mid] [--json FILE]

Prints tables while it runs; the last line is one JSON document with all results. What they mean:
docs/performance.md. `full` is the real configuration, our engine alone (11 GB of memory).
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks import ours, theirs
from benchmarks.measure import (
    Comparison,
    OperatorCounter,
    copy_bandwidth,
    environment,
    interleave,
    mean_step,
)
from benchmarks.measure import timed as seconds
from benchmarks.models import (
    GREEDY,
    MODES,
    NUM_PROMPT_IDS,
    SIZES,
    random_prompts,
    random_reference,
)

SLOTS = 8
"""Slots of our engine and sequences of a static batch, for whole requests."""


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How much to measure of one model."""

    batches: tuple[int, ...]
    """Batch sizes of the decode runs."""
    num_frames: int
    repeats: int
    num_requests: int = 0
    mean_length: int = 0
    """Mean frames of a request."""

    def quick(self) -> "EnginePlan":
        """Return a shorter version."""
        return replace(
            self,
            batches=self.batches[:2],
            num_frames=max(8, self.num_frames // 4),
            repeats=2,
            num_requests=self.num_requests // 2,
            mean_length=self.mean_length // 2,
        )


PLANS = {
    "tiny": EnginePlan((1, 8, 32), num_frames=160, repeats=5, num_requests=48, mean_length=150),
    "deep": EnginePlan((1, 8, 32), num_frames=80, repeats=5),
    "mid": EnginePlan((1, 8, 32), num_frames=24, repeats=3, num_requests=24, mean_length=42),
    "full": EnginePlan((1, 8), num_frames=8, repeats=3),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurements that the command line selects."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    bandwidth = copy_bandwidth()
    report: dict[str, Any] = {
        "benchmark": "engine",
        "environment": {**environment(), "transformers": transformers.__version__},
        "quick": options.quick,
        "copy_bandwidth_gb_s": bandwidth / 1e9,
        "models": {},
        "decode": [],
        "requests": [],
        "host": [],
    }
    print(f"{options.threads} thread(s); a large copy moves {bandwidth / 1e9:.1f} GB/s")
    for name in options.models:
        plan = PLANS[name].quick() if options.quick else PLANS[name]
        plan = replace(
            plan,
            batches=options.batches or plan.batches,
            num_frames=options.frames or plan.num_frames,
            repeats=options.repeats or plan.repeats,
            num_requests=plan.num_requests if options.requests is None else options.requests,
        )
        report["models"][name] = asdict(SIZES[name])
        if name == "full":
            report["full"] = _measure_full(plan, bandwidth)
            continue
        model = _Model(name, plan)
        report["models"][name]["num_parameters"] = model.reference.num_parameters()
        report["decode"] += _measure_decode(model)
        report["host"] += _measure_host(model)
        report["requests"] += _measure_requests(model)
    document = json.dumps(report)
    if options.json:
        options.json.write_text(document + "\n")
    print(document)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    def model_names(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(SIZES):
            raise argparse.ArgumentTypeError(f"no such model: {', '.join(sorted(unknown))}")
        return names

    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.split(","))

    parser = argparse.ArgumentParser(description="Measure our engine against generate.")
    parser.add_argument("--models", type=model_names, default=["tiny", "deep", "mid"])
    parser.add_argument("--quick", action="store_true", help="fewer frames, repeats and batches")
    parser.add_argument("--batches", type=numbers, help="batch sizes, such as 1,8,32")
    parser.add_argument("--frames", type=int, help="frames of each decode run")
    parser.add_argument("--repeats", type=int, help="runs of each case")
    parser.add_argument("--requests", type=int, help="whole requests; 0 leaves them out")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the JSON document here")
    return parser.parse_args(arguments)


class _Model:
    """One set of weights in transformers' model and in ours."""

    def __init__(self, name: str, plan: EnginePlan) -> None:
        self.name = name
        self.plan = plan
        self.reference = random_reference(SIZES[name])
        self.lengths = _lengths(plan.num_requests, plan.mean_length)
        self.max_length = _max_length(max([plan.num_frames, *self.lengths]))
        self.model = ours.copy_of(self.reference, self.max_length)


def _max_length(num_frames: int) -> int:
    """Return the positions that a slot needs, the delay pattern and a spare one included."""
    return NUM_PROMPT_IDS + num_frames + 16


def _lengths(count: int, mean: int) -> list[int]:
    """Draw log-normal lengths in frames, at most four times the mean."""
    spread = 0.7
    drawn = np.random.default_rng(0).lognormal(np.log(max(mean, 1)) - spread**2 / 2, spread, count)
    return [int(length) for length in drawn.clip(4, 4 * max(mean, 1))]


def _measure_decode(model: _Model) -> list[dict[str, Any]]:
    """Time decode steps: no prefill, no tail, the whole batch of one length."""
    print(f"\n{model.name}: ms per frame of the whole batch, prefill excluded")
    print(f"{'case':<22}{'generate':>10}{'ours':>9}{'fastest':>9}{'pairs':>8}{'range':>16}")
    rows = []
    for mode, sampling in MODES.items():
        for batch in model.plan.batches:
            prompts = random_prompts(batch)
            runner = ours.runner(model.model, batch, model.max_length)
            work = (prompts, sampling, model.plan.num_frames, time.perf_counter)
            runs = interleave(
                {
                    "generate": lambda work=work: mean_step(theirs.decode(model.reference, *work)),
                    "ours": lambda work=work, to=runner: mean_step(ours.decode(to, *work)),
                },
                model.plan.repeats,
            )
            result = Comparison.of(*runs.values())
            low, high = result.ratio_range
            print(
                f"{f'{mode}, B = {batch}':<22}{result.base * 1e3:>10.2f}{result.ours * 1e3:>9.2f}"
                f"{result.ratio_fastest:>9.2f}{result.ratio_median:>8.2f}"
                f"{f'{low:.2f} to {high:.2f}':>16}",
                flush=True,
            )
            rows.append(
                {
                    "model": model.name,
                    "mode": mode,
                    "batch": batch,
                    "generate_ms": result.base * 1e3,
                    "ours_ms": result.ours * 1e3,
                    "ratio_fastest": result.ratio_fastest,
                    "ratio_median": result.ratio_median,
                    "ratio_range": result.ratio_range,
                }
            )
    return rows


def _measure_host(model: _Model) -> list[dict[str, Any]]:
    """Count the operators of a step at batch 1, and those of them that can sync."""
    print(f"\n{model.name}: operators of a step at B = 1, and those of them that can sync")
    prompts = random_prompts(1)
    runner = ours.runner(model.model, 1, model.max_length)
    rows = []
    for mode, sampling in MODES.items():
        row: dict[str, Any] = {"model": model.name, "mode": mode}
        for name, decode in (
            ("generate", partial(theirs.decode, model.reference)),
            ("ours", partial(ours.decode, runner)),
        ):
            for meter in ("num_operators", "num_can_sync"):
                with OperatorCounter() as counter:
                    # A whole number of polls, the same on both sides.
                    readings = decode(prompts, sampling, 10, partial(getattr, counter, meter))
                row[f"{name}_{meter}"] = mean_step(readings)
        print(
            f"{mode:<22}generate {row['generate_num_operators']:.0f} and "
            f"{row['generate_num_can_sync']:.1f}, ours {row['ours_num_operators']:.0f} and "
            f"{row['ours_num_can_sync']:.1f}",
            flush=True,
        )
        rows.append(row)
    return rows


def _measure_requests(model: _Model) -> list[dict[str, Any]]:
    """Time whole greedy requests, prefill included, that all wait at time 0."""
    if not model.lengths:
        return []
    count, num_frames = len(model.lengths), sum(model.lengths)
    print(f"\n{model.name}: {count} requests, {num_frames} frames, seconds until the last is done")
    work = (random_prompts(count), GREEDY, model.lengths)
    runner = ours.runner(model.model, SLOTS, model.max_length)
    serve = partial(theirs.serve, model.reference, *work)
    runs = interleave(
        {
            "one by one": lambda: seconds(partial(serve, 1)),
            f"batches of {SLOTS}": lambda: seconds(partial(serve, SLOTS)),
            "ours": lambda: seconds(partial(ours.serve, runner, *work)),
        },
        min(model.plan.repeats, 3),
        warm_up=False,  # the decode runs before were one
    )
    ours_s = runs.pop("ours")
    rows = []
    for name, base in runs.items():
        result = Comparison.of(base, ours_s)
        low, high = result.ratio_range
        print(
            f"{name:<22}{result.base:>10.2f}{result.ours:>9.2f}{result.ratio_fastest:>9.2f}"
            f"{result.ratio_median:>8.2f}{f'{low:.2f} to {high:.2f}':>16}",
            flush=True,
        )
        rows.append(
            {
                "model": model.name,
                "base": f"generate, {name}",
                "num_requests": count,
                "num_frames": num_frames,
                "generate_s": result.base,
                "ours_s": result.ours,
                "ratio_fastest": result.ratio_fastest,
                "ratio_median": result.ratio_median,
                "ratio_range": result.ratio_range,
            }
        )
    return rows


def _measure_full(plan: EnginePlan, bandwidth: float) -> list[dict[str, Any]]:
    """Time our engine alone in the real configuration, bf16."""
    max_length = _max_length(plan.num_frames)
    model = ours.random_model(SIZES["full"].config(), max_length, torch.bfloat16)
    num_bytes = ours.num_bytes_per_step(model.config, model.dtype)
    print(f"\nfull, bf16: a step reads {num_bytes / 1e9:.2f} GB of weights")
    rows = []
    for batch in plan.batches:
        runner = ours.runner(model, batch, max_length)
        work = (random_prompts(batch), GREEDY, plan.num_frames, time.perf_counter)
        step = min(mean_step(ours.decode(runner, *work)) for _ in range(plan.repeats))
        share = num_bytes / step / bandwidth
        print(
            f"B = {batch:<18}{step * 1e3:>10.1f} ms{num_bytes / step / 1e9:>9.1f} GB/s, "
            f"{share:.0%} of a large copy",
            flush=True,
        )
        rows.append({"batch": batch, "step_ms": step * 1e3, "share_of_copy_bandwidth": share})
    return rows


if __name__ == "__main__":
    main()
