"""Runs parts in their order, and writes the report anew after every one."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import report
from benchmarks.gpu.plan import Part
from benchmarks.gpu.processes import PartOutcome, run_together

REHEARSAL_MAX_S = 480


def run(
    parts: Sequence[Part],
    module: str,
    options: Sequence[str],
    out: Path,
    *,
    benchmark: str,
    is_rehearsal: bool,
) -> int:
    """Measure, print a line per part and then the tables; return the exit status.

    Args:
        parts: what to measure.
        module: runs parts in a process of its own.
        options: of that module.
        out: where reports, rows and logs are written.
        benchmark: the name that the report has.
        is_rehearsal: whether the sizes are tiny.
    """

    def command(parts: Sequence[Part], rows: Path) -> list[str]:
        words = [sys.executable, "-m", module, f"--rows={rows}", *options]
        return words + ["--rehearse"] * is_rehearsal + [part.module for part in parts]

    # To rehearse, one process is enough, and imports torch once.
    groups = [parts] if is_rehearsal else [[part] for part in parts]
    outcomes: list[PartOutcome] = []
    for group in groups:
        max_s = REHEARSAL_MAX_S if is_rehearsal else group[0].max_s
        outcomes += run_together(group, command, out / "parts", max_s)
        for outcome in outcomes[-len(group) :]:
            print(f"{outcome.name}: {outcome.status}, {outcome.seconds:.1f} s", flush=True)
        found = report.document(outcomes, is_rehearsal=is_rehearsal, benchmark=benchmark)
        (out / "report.json").write_text(json.dumps(found, indent=1) + "\n")
        (out / "report.md").write_text(report.markdown(found), encoding="utf-8")
    print()
    print(report.markdown(found), end="")
    return 0 if all(outcome.status == "ok" for outcome in outcomes) else 1
