"""Measure the HTTP server; see the package's docstring."""

import argparse
import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.http.cost import measure_cost
from benchmarks.http.crowd import measure_crowd
from benchmarks.http.rates import measure_rates
from benchmarks.http.talk import measure_talks
from higgs_worker.build import build_responder
from higgs_worker.settings import Settings
from tests.fakes.http_worker import HttpWorker

PARTS = ("cost", "talks", "rates", "crowd")


async def measure(worker: HttpWorker, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the chosen parts and print each as soon as it is there."""
    report: dict[str, Any] = {"benchmark": "http", "model": options.model, "slots": options.slots}
    for part in options.parts:
        if part == "cost":
            settings = {"HIGGS_MODEL": options.model, "HIGGS_MAX_SLOTS": str(options.slots)}
            service = build_responder(Settings.from_env(settings)).service
            found = await measure_cost(worker, service, options.repeats, options.others)
        elif part == "talks":
            found = await measure_talks(worker, options.others, options.repeats)
        elif part == "rates":
            found = await measure_rates(worker, options.others, options.seconds)
        else:
            found = await measure_crowd(worker, options.clients, options.rounds)
        report[part] = found
        for name, value in found.items():
            print(f"{part:<8}{name:<28}{_rounded(value)}", flush=True)
    return report


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--model", default="demo", help="an id or a folder, as HIGGS_MODEL")
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--clients", type=int, default=64, help="of the crowd")
    parser.add_argument("--rounds", type=int, default=4, help="in which the crowd comes")
    parser.add_argument("--others", type=int, default=8, help="speeches beside what is measured")
    parser.add_argument("--repeats", type=int, default=16, help="of one speech")
    parser.add_argument("--seconds", type=float, default=4.0, help="of asking for health")
    options = parser.parse_args()
    options.parts = options.parts or PARTS
    os.environ["OMP_NUM_THREADS"] = "1"  # as the server's; torch is not imported yet
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    settings = {"HIGGS_MODEL": options.model, "HIGGS_MAX_SLOTS": str(options.slots)}
    with (
        tempfile.TemporaryDirectory() as directory,
        HttpWorker(Path(directory), **settings) as worker,
    ):
        report = asyncio.run(measure(worker, options))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
