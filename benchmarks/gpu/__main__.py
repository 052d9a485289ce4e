"""Run the plan, or some of its parts, and report.

    python -m benchmarks.gpu [PART ...] [--out DIR] [--rehearse] [--plan]

Prints a line per part, then the Markdown tables. In DIR are `report.json` and `report.md`, which
are written anew after every part, and in `parts/` each part's rows and log. `--rehearse` runs the
same code at tiny sizes on a CPU. The exit status is 1 if any part failed.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import plan, report
from benchmarks.gpu.plan import Part
from benchmarks.gpu.processes import PartOutcome, run_together

REHEARSAL_MAX_S = 240


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

    def command(parts: Sequence[Part], rows: Path) -> list[str]:
        words = [sys.executable, "-m", "benchmarks.gpu.part", f"--rows={rows}"]
        words += ["--rehearse"] if options.rehearse else []
        return words + [part.module for part in parts]

    # To rehearse, one process is enough, and imports torch once.
    groups = [parts] if options.rehearse else [[part] for part in parts]
    outcomes: list[PartOutcome] = []
    for group in groups:
        max_s = REHEARSAL_MAX_S if options.rehearse else group[0].max_s
        outcomes += run_together(group, command, options.out / "parts", max_s)
        for outcome in outcomes[-len(group) :]:
            print(f"{outcome.name}: {outcome.status}, {outcome.seconds:.1f} s", flush=True)
        found = report.document(outcomes, is_rehearsal=options.rehearse)
        (options.out / "report.json").write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "report.md").write_text(report.markdown(found), encoding="utf-8")
    print()
    print(report.markdown(found), end="")
    return 0 if all(outcome.status == "ok" for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
