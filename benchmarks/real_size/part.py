"""One process: runs the measurements of some parts on one setup, and writes their rows.

    python -m benchmarks.real_size.part --rows FILE --work DIR [--checkout DIR] [--rehearse] MODULE

The lines of the file are those of `benchmarks.gpu.part`.
"""

import argparse
import os
import sys
from pathlib import Path

import tests  # noqa: F401  before the checkout's own are in reach

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description="Run some parts in this process.")
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--rows", type=Path, required=True, help="the file for the rows")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    if options.rehearse:
        os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
    # `benchmarks` and `tests` are imported already and stay ours; the worker's package is not.
    sys.path.insert(0, str(options.checkout))
    from benchmarks.gpu.part import run_part
    from benchmarks.real_size.setup import real, tiny

    setup = (tiny if options.rehearse else real)(options.work, options.checkout)
    with options.rows.open("a", encoding="utf-8") as file:
        for module in options.modules:
            run_part(module, setup, file)


if __name__ == "__main__":
    main()
