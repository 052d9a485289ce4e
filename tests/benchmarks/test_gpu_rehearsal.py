"""The GPU benchmark runs as on a bare GPU machine, so that no typing error costs time on a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.plan import PARTS

ROOT = Path(__file__).parents[2]
NOT_THERE = ("av", "boto3", "botocore", "pydantic", "runpod", "soxr")
"""What a bare GPU machine lacks and a part might import by mistake."""
INTERPRETED = {
    "fused": ("launches", "forced", "neighbours", "replays"),
    "steps": ("steps",),
    "choice": ("choice",),
    "kernels": ("kernels_alone", "kernels_of_32"),
    "tiles": ("gaps", "attention", "products"),
}
"""Parts that launch fused kernels, which are slow without a GPU, and their tables."""
OTHER_TABLES = """
    machine bandwidth device_tests throughput first_audio graphs greedy logits prompts prepared
    shapes codec codec_error codec_ends encoder loading memory
"""


@pytest.mark.slow
def test_every_part_of_the_whole_runs(tmp_path: Path) -> None:
    """At tiny sizes on a CPU: every table has its rows, and what is compared is equal."""
    tables = rehearsed([part.name for part in PARTS if part.name not in INTERPRETED], tmp_path)
    assert list(tables) == OTHER_TABLES.split()
    assert all(row["equal"] for row in tables["codec_error"])  # on a CPU
    for name in ("graphs", "greedy"):
        for row in tables[name]:
            assert row["equal"] == row["columns"] > 0
    assert max(row["error_max"] for row in tables["logits"]) < 1e-3


@pytest.mark.long
def test_every_part_with_fused_kernels_runs(tmp_path: Path) -> None:
    """The same, each program of a launch interpreted: the kernels compute what torch does."""
    tables = rehearsed(list(INTERPRETED), tmp_path)
    assert list(tables) == [table for own in INTERPRETED.values() for table in own]
    ways = ["torch", "fused", "torch-int8", "fused-int8"]
    assert [row["step"] for row in tables["steps"]] == ways
    assert all(row["NaN_is_told"] and row["others_equal"] for row in tables["neighbours"])
    assert [row["different"] for row in tables["replays"]] == [0, 0]
    assert max(row["fused"] / row["bound"] for row in tables["forced"]) < 1
    for row in tables["launches"]:
        assert all(error < 1e-5 for error in row.values() if isinstance(error, float))


def rehearsed(names: list[str], tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """Rehearse some parts without the packages that are not there; returns rows by table."""
    hide = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in NOT_THERE)
    (tmp_path / "sitecustomize.py").write_text(hide)
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *names, "--rehearse", f"--out={out}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=500,  # the rehearsal ends itself before
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["is_rehearsal"]
    assert [part["name"] for part in report["parts"]] == names
    assert all(table["rows"] for table in report["tables"].values())
    return {name: table["rows"] for name, table in report["tables"].items()}
