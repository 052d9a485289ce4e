"""Measure how fast weights are loaded, against safetensors and the plain bytes.

    python -m benchmarks.load [--gigabytes 2] [--directory DIR]

Writes a checkpoint of random bfloat16 weights of the real width, with as many layers as fill the
size. Then it reads the checkpoint in turn by our loader, by safetensors' `load_file`, and as bytes
alone, with the page cache warm and emptied. Ratios are of the fastest runs; the last line is JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmarks.models import SIZES
from benchmarks.page_cache import drop, read
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.loader import load
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights

REPEATS = 3


def write(directory: Path, num_bytes: float) -> None:
    """Write a checkpoint of at least `num_bytes`."""
    raw = SIZES["full"].config().to_dict()
    raw["num_hidden_layers"] = 1
    while True:
        config = ModelConfig.from_dict(raw)
        plan = Weights.empty(
            config, device=torch.device("meta"), number_format=NumberFormat(torch.bfloat16)
        )
        planned = plan.by_name(config)
        if sum(each.nbytes for each in planned.values()) >= num_bytes:
            break
        raw["num_hidden_layers"] += 1
    tensors = {
        name: torch.randint(-(2**14), 2**14, each.shape, dtype=torch.int16).view(torch.bfloat16)
        for name, each in planned.items()
    }
    (directory / "config.json").write_text(json.dumps(raw))
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--directory", type=Path, help="where to write; a temporary one if absent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        directory = Path(name)
        write(directory, options.gigabytes * 1e9)
        path = directory / "model.safetensors"
        size = path.stat().st_size
        cpu = torch.device("cpu")
        ways: dict[str, Callable[[], object]] = {
            "ours": lambda: load(directory, device=cpu, number_format=NumberFormat(torch.bfloat16)),
            # Memory-mapped pages are read only on access.
            "load_file": lambda: {n: t.clone() for n, t in load_file(path).items()},
            "raw": lambda: read(path),
        }
        report: dict[str, object] = {"benchmark": "load", "num_bytes": size}
        for state in ("warm", "cold"):
            best = dict.fromkeys(ways, float("inf"))
            for _ in range(REPEATS):
                for way, run in ways.items():
                    if state == "cold":
                        drop(path)
                    else:
                        read(path)
                    started = time.perf_counter()
                    run()
                    best[way] = min(best[way], time.perf_counter() - started)
            rates = {way: size / seconds / 1e9 for way, seconds in best.items()}
            text = ", ".join(f"{way} {rate:.2f} GB/s" for way, rate in rates.items())
            against = [f"{rates['ours'] / rates[way]:.2f} of {way}" for way in ("load_file", "raw")]
            print(f"{state}: {text}; ours is {' and '.join(against)}")
            report[state] = rates
    print(json.dumps(report))


if __name__ == "__main__":
    main()
