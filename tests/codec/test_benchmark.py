"""The codec's benchmark runs, with its shortest settings, as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_the_benchmark_ends_with_one_json_document(tmp_path: Path) -> None:
    """Stated ratios are positive, and the first sound takes 16 steps, the least there can be."""
    file = tmp_path / "result.json"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.codec", "--quick", "--codecs=demo", f"--json={file}"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    last = run.stdout.splitlines()[-1]
    assert file.read_text() == last + "\n"
    report = json.loads(last)
    assert report["environment"]["threads"] == 1
    assert [row["piece_frames"] for row in report["pieces"]] == [1, 2, 4, 8, 16, 24]
    assert all(row["ratio_fastest"] > 0 for row in report["pieces"] + report["rows"])
    assert [row["batch"] for row in report["share"]] == [1, 8, 32]
    assert all(0 < row["codec_share"] < 1 for row in report["share"])
    first = report["first_audio"]
    assert first["num_steps"] == 16
    assert 0 < first["first_frames_ms"] < first["first_audio_ms"] < first["whole_ms"]
