"""Run the plan, or some of its parts, and report.

    python -m benchmarks.real_size [PART ...] [--checkout DIR] [--work DIR] [--out DIR] [--plan]
                                   [--rehearse]

Needs 30 GB of disk and 14 GB of free memory, and half an hour on two cores. Prints a line per part,
then the Markdown tables; in OUT are `report.json`, `report.md`, and each part's rows and log. The
exit status is 1 if any part failed. `--checkout` measures the worker of another tree by the same
code. `--work` keeps the built checkpoints for the next run. `--rehearse` takes tiny sizes.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.gpu import plan
from benchmarks.gpu.run import run
from benchmarks.real_size.plan import PARTS

ROOT = Path(__file__).parents[2]
DISK_GB = 30
MEMORY_GB = 14
"""Weights of 10.8 GB, the encoder with a long recording, and what is beside them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.real_size", description="Measure the worker at its real size."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="only these; --plan lists them")
    parser.add_argument("--checkout", type=Path, default=ROOT, metavar="DIR")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps the checkpoints here")
    parser.add_argument("--out", type=Path, default=Path("real-size-report"), metavar="DIR")
    parser.add_argument("--plan", action="store_true", help="print the parts and their seconds")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes")
    options = parser.parse_args(arguments)
    try:
        parts = plan.chosen(options.parts, PARTS)
    except ValueError as error:
        parser.error(str(error))
    if options.plan:
        print(plan.table(parts))
        return 0
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as at_end:
        work = options.work and options.work.resolve()
        if work is None:
            work = Path(at_end.enter_context(tempfile.TemporaryDirectory(dir=out)))
        work.mkdir(parents=True, exist_ok=True)
        if not options.rehearse and (problem := _problem(work)):
            parser.error(problem)
        at_end.callback(shutil.rmtree, work / "volume", ignore_errors=True)
        return run(
            parts,
            "benchmarks.real_size.part",
            [f"--work={work}", f"--checkout={options.checkout.resolve()}"],
            out,
            benchmark="real size",
            is_rehearsal=options.rehearse,
        )


def _problem(work: Path) -> str | None:
    """Return what this machine lacks."""
    built = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    free_gb = (shutil.disk_usage(work).free + built) / 1e9
    if free_gb < DISK_GB:
        return f"{work} has {free_gb:.0f} GB free, and {DISK_GB} are needed; see --work"
    meminfo = Path("/proc/meminfo").read_text()
    available = re.search(r"MemAvailable: +(\d+) kB", meminfo)
    memory_gb = int(available[1]) / 1e6 if available else 0.0
    if memory_gb < MEMORY_GB:
        return f"{memory_gb:.0f} GB of memory are free, and {MEMORY_GB} are needed"
    return None


if __name__ == "__main__":
    sys.exit(main())
