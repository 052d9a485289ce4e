"""Parts in processes of their own: none survives its time, and each leaves what it had measured.

A fault of CUDA makes a process useless, and a kernel that hangs cannot be stopped in any other way.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.plan import Part

Command = Callable[[Sequence[Part], Path], list[str]]
"""The command that runs some parts and appends its lines to a file, see `part.py`."""
NUM_LOG_LINES = 5
"""Quoted where a process died."""


@dataclass(frozen=True, slots=True)
class PartOutcome:
    """How one part went."""

    name: str
    status: str
    """`ok`, `failed`, `timed out` or `died`."""
    seconds: float
    problems: tuple[str, ...]
    lines: tuple[dict[str, Any], ...]
    """With its rows, see `part.py`."""


def run_together(
    parts: Sequence[Part], command: Command, directory: Path, max_s: float
) -> list[PartOutcome]:
    """Run parts one after another in one process; returns how each of them went.

    Args:
        parts: at least one.
        command: makes the command line.
        directory: for the lines and the log.
        max_s: after this long the process and those that it started are ended.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stem = directory / "-".join(part.name for part in parts)[:60]
    rows, log = stem.with_suffix(".jsonl"), stem.with_suffix(".log")
    rows.write_text("")
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        # A group of its own, so that what it started ends with it.
        process = subprocess.Popen(
            command(parts, rows), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        timed_out = False
        try:
            process.wait(max_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    seconds = time.monotonic() - started
    end = f"ended after {max_s:.0f} s" if timed_out else f"exit status {process.returncode}"
    lines, last_words = _read(rows), log.read_text(encoding="utf-8").splitlines()[-NUM_LOG_LINES:]
    outcomes = []
    for part in parts:
        own = tuple(line for line in lines if line["part"] == part.name)
        problems = [f"{line['table']}: {line['error']}" for line in own if "error" in line]
        ended = next((line for line in own if "ended" in line), None)
        status = "failed" if problems else "ok"
        if ended is None:
            status = "timed out" if timed_out else "died"
            problems.append(f"{end}; the log's last lines: {' / '.join(last_words)}")
        # Where the process is the part's own, its start counts.
        took = ended["seconds"] if ended is not None and len(parts) > 1 else seconds
        outcomes.append(PartOutcome(part.name, status, took, tuple(problems), own))
    return outcomes


def _read(path: Path) -> list[dict[str, Any]]:
    """Return the complete lines; the last one may have been cut off with its process."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(json.JSONDecodeError):
            lines.append(json.loads(line))
    return lines
