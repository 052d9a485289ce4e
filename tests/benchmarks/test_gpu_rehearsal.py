"""The GPU benchmark runs as on a bare GPU machine, so that no typing error costs time on a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.plan import PARTS

ROOT = Path(__file__).parents[2]
NOT_THERE = ("av", "boto3", "botocore", "pydantic", "runpod", "soxr")
"""What a bare GPU machine lacks and a part might import by mistake."""
TABLES = """
    machine bandwidth device_tests graphs greedy logits steps prompts prepared shapes kernels_alone
    kernels_of_32 codec codec_error codec_ends throughput first_audio encoder loading memory
"""


@pytest.mark.slow
def test_every_part_runs(tmp_path: Path) -> None:
    """At tiny sizes on a CPU, without the packages that are not there: every table has its rows."""
    hide = "import sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in NOT_THERE)
    (tmp_path / "sitecustomize.py").write_text(hide)
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--rehearse", f"--out={out}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,  # the rehearsal ends itself before
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    report = json.loads((out / "report.json").read_text())
    assert report["is_rehearsal"]
    assert [part["name"] for part in report["parts"]] == [part.name for part in PARTS]
    assert list(report["tables"]) == TABLES.split()
    assert all(table["rows"] for table in report["tables"].values())
    assert all(row["equal"] for row in report["tables"]["codec_error"]["rows"])  # on a CPU
    for name in ("graphs", "greedy"):
        for row in report["tables"][name]["rows"]:
            assert row["equal"] == row["columns"] > 0
    assert max(row["error_max"] for row in report["tables"]["logits"]["rows"]) < 1e-3
