"""The benchmarks run, with their shortest settings, as a user calls them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_engine_benchmark_ends_with_one_json_document(tmp_path: Path) -> None:
    """Stated ratios are positive, and our step leaves the device alone."""
    file = tmp_path / "result.json"
    smallest = {"models": "tiny", "batches": 1, "frames": 4, "repeats": 1, "requests": 2}
    options = [f"--{name}={value}" for name, value in smallest.items()]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.engine", "--quick", *options, f"--json={file}"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    last = run.stdout.splitlines()[-1]
    assert file.read_text() == last + "\n"
    report = json.loads(last)
    assert report["environment"]["threads"] == 1
    assert report["copy_bandwidth_gb_s"] > 0
    assert report["models"]["tiny"]["num_parameters"] > 0
    assert {row["mode"] for row in report["decode"]} == {"greedy", "sampled + RAS"}
    assert {row["base"] for row in report["requests"]} == {
        "generate, one by one",
        "generate, batches of 8",
    }
    for row in report["decode"] + report["requests"]:
        assert row["ratio_fastest"] > 0
        assert row["ratio_median"] > 0
    for row in report["host"]:
        assert 0 < row["ours_num_operators"] < row["generate_num_operators"]
        assert row["ours_num_can_sync"] == 0
