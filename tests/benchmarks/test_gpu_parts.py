"""The GPU benchmark's processes: what one part meets costs no other its results."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import plan
from benchmarks.gpu.plan import MAX_TOTAL_S, PARTS, Part

ROOT = Path(__file__).parents[2]
FAKES = {
    "good": """
def table(scale):
    "Good rows"
    yield {"rows": 2, "ms": 1.25}
def other(scale):
    "Others"
    yield {"device": scale.device_name}
MEASUREMENTS = (table, other)
""",
    "raises": """
def first(scale):
    "First"
    yield {"rows": 3}
    raise RuntimeError("no kernel image")
def second(scale):
    "Second"
    yield {"rows": 4}
MEASUREMENTS = (first, second)
""",
    "hangs": """
import subprocess, sys, time
def slow(scale):
    "Slow"
    yield {"rows": 5}
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield {"child": child.pid}
    time.sleep(60)
MEASUREMENTS = (slow,)
""",
    "dies": """
import os, sys
def short(scale):
    "Short"
    yield {"rows": 6}
    print("device-side assert", flush=True)
    os._exit(7)
MEASUREMENTS = (short,)
""",
    "does_not_import": """
import a_module_that_is_nowhere
""",
    "last": """
def table_of_last(scale):
    "Last"
    yield {"rows": 7}
MEASUREMENTS = (table_of_last,)
""",
}


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the plan by fake parts; returns a folder for the report."""
    for name, source in FAKES.items():
        (tmp_path / f"{name}.py").write_text(source)
    parts = [Part(name, "fake", 1, 2 if name == "hangs" else 30) for name in FAKES]
    monkeypatch.setattr(plan, "PARTS", parts)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(ROOT)
    return tmp_path / "out"


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_part_costs_no_other_its_results(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One raises, one hangs, one dies: all rows until then are there, and the status is 1."""
    assert command.main([f"--out={out}"]) == 1
    report = json.loads((out / "report.json").read_text())
    assert {part["name"]: part["status"] for part in report["parts"]} == {
        "good": "ok",
        "raises": "failed",
        "hangs": "timed out",
        "dies": "died",
        "does_not_import": "failed",
        "last": "ok",
    }
    rows = {name: table["rows"] for name, table in report["tables"].items()}
    (child,) = (row["child"] for row in rows["slow"] if "child" in row)
    assert rows == {
        "table": [{"rows": 2, "ms": 1.25}],
        "other": [{"device": "cuda"}],
        "first": [{"rows": 3}],
        "second": [{"rows": 4}],
        "slow": [{"rows": 5}, {"child": child}],
        "short": [{"rows": 6}],
        "table_of_last": [{"rows": 7}],
    }
    assert not is_running(child)
    problems = {part["name"]: part["problems"] for part in report["parts"] if part["problems"]}
    assert problems["raises"] == ["first: RuntimeError: no kernel image"]
    assert "a_module_that_is_nowhere" in problems["does_not_import"][0]
    assert "2 s" in problems["hangs"][0]
    assert "7" in problems["dies"][0]
    assert "device-side assert" in problems["dies"][0]
    printed = capsys.readouterr().out
    assert printed.endswith((out / "report.md").read_text())
    assert "| rows | ms |\n| --: | --: |\n| 2 | 1.25 |" in printed
    assert "- raises (failed): first: RuntimeError: no kernel image" in printed


def test_parts_can_be_named(out: Path) -> None:
    """Only these run, in the plan's order; the status is 0 if all of them did."""
    assert command.main(["last", "good", f"--out={out}"]) == 0
    report = json.loads((out / "report.json").read_text())
    assert [part["name"] for part in report["parts"]] == ["good", "last"]


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that there are."""
    with pytest.raises(SystemExit) as end:
        command.main(["stepps"])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert "stepps" in message
    assert "steps" in message


def test_the_plan_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """If every part takes all its time, all of them together take eight minutes."""
    assert sum(part.max_s for part in PARTS) <= MAX_TOTAL_S == 480
    assert sum(part.expected_s for part in PARTS) <= 300
    assert all(part.expected_s < part.max_s for part in PARTS)
    assert [part.name for part in PARTS if find_spec(part.module) is None] == []
    assert command.main(["--plan"]) == 0
    assert all(part.name in capsys.readouterr().out for part in PARTS[:1])


def test_the_command_imports_no_torch() -> None:
    """The process that waits for the others needs no memory of the device."""
    source = (
        "import sys, benchmarks.gpu.__main__, benchmarks.gpu.part; print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == "False\n", run.stderr
