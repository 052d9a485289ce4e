"""Run the plan, or some of its parts, and report.

    python -m benchmarks.gpu [PART ...] [--out DIR] [--rehearse] [--plan]

Prints a line per part, then the Markdown tables. In DIR are `report.json` and `report.md`, which
are written anew after every part, and in `parts/` each part's rows and log. `--rehearse` runs the
same code at tiny sizes on a CPU. The exit status is 1 if any part failed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import plan
from benchmarks.gpu.run import run


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description="Measure everything on a GPU."
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="only these; --plan lists them")
    parser.add_argument("--out", type=Path, default=Path("gpu-report"), metavar="DIR")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, on a CPU")
    parser.add_argument("--plan", action="store_true", help="print the parts and their seconds")
    options = parser.parse_args(arguments)
    try:
        parts = plan.chosen(options.parts, plan.PARTS)
    except ValueError as error:
        parser.error(str(error))
    if options.plan:
        print(plan.table(parts))
        return 0
    return run(
        parts,
        "benchmarks.gpu.part",
        [],
        options.out,
        benchmark="gpu",
        is_rehearsal=options.rehearse,
    )


if __name__ == "__main__":
    sys.exit(main())
