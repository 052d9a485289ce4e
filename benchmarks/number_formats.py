"""What 8-bit weights cost and gain on a CPU: errors of logits, and the time of a step.

    python -m benchmarks.number_formats [--layers 4] [--threads 1] [--json FILE]

The published sizes with fewer layers, and random weights that are bfloat16, as the checkpoint's
are. The logits of given columns behind a prompt with a reference are compared with float32's. Then
one step is timed in each format, in turn. The last line is JSON. 4 layers take 6 GB. Where
others are at work, one thread is the fair measure: several wait for the one that is held up.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.agreement import error_of
from benchmarks.gpu.models import random_weights
from benchmarks.gpu.reference import own_logits
from benchmarks.measure import environment, interleave, timed
from benchmarks.roofline import PUBLISHED
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from tests.oracles.language_model import random_prompt

CPU = torch.device("cpu")
FORMATS = ("float32", "bfloat16", "int8")
ROWS = (1, 8)
NUM_COLUMNS, CONTEXT, MAX_LENGTH = 50, 400, 512
REPEATS = 7


def models(config: ModelConfig) -> dict[str, LanguageModel]:
    """Return the same model in each format."""
    exact = random_weights(config, CPU, torch.bfloat16)
    made = {}
    for name in FORMATS:
        weights = Weights.empty(config, device=CPU, number_format=NumberFormat.named(name, CPU))
        places = weights.by_name(config)
        for tensor_name, tensor in exact.by_name(config).items():
            places[tensor_name].copy_(tensor)
        made[name] = LanguageModel(config, weights, MAX_LENGTH)
    return made


def errors(by_format: dict[str, LanguageModel]) -> Iterator[dict[str, Any]]:
    """Yield how far the logits of each format are from float32's, teacher-forced."""
    config = by_format["float32"].config
    rng = np.random.default_rng(0)
    prompt = random_prompt(rng, 50, 50)
    columns = rng.integers(0, config.stream_bos_id, (NUM_COLUMNS, config.num_codebooks))
    columns[0] = config.stream_bos_id
    exact = own_logits(by_format["float32"], prompt, columns)
    for name in FORMATS[1:]:
        error = error_of(own_logits(by_format[name], prompt, columns), exact)
        yield {"format": name, "spread": round(float(exact.std()), 2)} | error


@torch.inference_mode()
def steps(by_format: dict[str, LanguageModel]) -> Iterator[dict[str, Any]]:
    """Yield the time of a step of each format, and its ratio to the others'."""
    for num_rows in ROWS:
        cases = {name: _step(model, num_rows) for name, model in by_format.items()}
        fastest = {name: min(runs) for name, runs in interleave(cases, REPEATS).items()}
        yield {"rows": num_rows} | {
            f"{name} / int8": round(fastest[name] / fastest["int8"], 2) for name in FORMATS[:2]
        }


def _step(model: LanguageModel, num_rows: int) -> Callable[[], float]:
    """Return a decode step of some slots, which says how many seconds it took."""
    config = model.config
    cache = KVCache(config, num_rows, MAX_LENGTH, device=CPU, dtype=model.dtype)
    for slot in range(num_rows):
        cache.clear(slot)
    columns = torch.randint(0, config.stream_bos_id, (num_rows, config.num_codebooks))
    positions, window = torch.full((num_rows,), CONTEXT), cache.window(num_rows, MAX_LENGTH)
    return partial(timed, partial(model.decode, columns, positions, cache, window))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, help="torch's own choice if absent")
    parser.add_argument("--json", type=Path, help="also write the last line there")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    by_format = models(replace(PUBLISHED, num_layers=options.layers, vocab_size=512))
    report: dict[str, Any] = {"benchmark": "number_formats", "layers": options.layers}
    report["environment"] = environment()
    for name, measure in (("errors", errors), ("steps", steps)):
        report[name] = []
        for row in measure(by_format):
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
            report[name].append(row)
    print(json.dumps(report))
    if options.json:
        options.json.write_text(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
