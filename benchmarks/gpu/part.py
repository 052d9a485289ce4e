"""One process: runs the measurements of some parts, and writes each row as soon as it is there.

    python -m benchmarks.gpu.part --rows FILE [--rehearse] MODULE...

A line of the file is one JSON object. It names the part, and holds a row of a table, or the error
of a measurement (the next one goes on), or says that the part has ended.
"""

import argparse
import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from benchmarks.gpu.scale import REAL, TINY

Measurement = Callable[[Any], Iterator[dict[str, Any]]]
"""Gets the scale, and yields the rows of one table, which has the function's name, and its
docstring as a title.

What it raises is a failure; the rows before it are kept."""
MAX_ERROR = 400
"""Characters."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description="Run some parts in this process.")
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--rows", type=Path, required=True, help="the file for the rows")
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args(arguments)
    if options.rehearse:
        # Tiny models lose more to a second thread than they gain. Before torch is imported.
        os.environ["OMP_NUM_THREADS"] = "1"
        # Triton's kernels, program by program. Before any of them is imported.
        os.environ["TRITON_INTERPRET"] = "1"
    with options.rows.open("a", encoding="utf-8") as file:
        for module in options.modules:
            run_part(module, TINY if options.rehearse else REAL, file)


def run_part(module: str, scale: object, file: TextIO) -> None:
    """Run the measurements of one part, each with the scale, and write their rows to a file."""

    def write(**line: object) -> None:
        # numpy's numbers are no JSON.
        line = {"part": module.rpartition(".")[2], **line}
        file.write(json.dumps(line, default=float) + "\n")
        file.flush()

    def write_error(name: str, error: Exception) -> None:
        traceback.print_exception(error)
        write(table=name, error=f"{type(error).__name__}: {error}"[:MAX_ERROR])

    started = time.perf_counter()
    measurements: Sequence[Measurement] = ()
    try:
        measurements = importlib.import_module(module).MEASUREMENTS
    except Exception as error:
        write_error("import", error)
    for measure in measurements:
        print(f"{module}: {measure.__name__}", flush=True)
        name, title = measure.__name__, (measure.__doc__ or "").split("\n")[0]
        try:
            _without_tf32()
            for row in measure(scale):
                write(table=name, title=title, row=row)
        except Exception as error:
            # What is left of the part may still be measured.
            write_error(name, error)
        _free_memory()
    write(ended=True, seconds=time.perf_counter() - started)


def _without_tf32() -> None:
    """Compute in float32 where float32 is asked for, as the worker does."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
