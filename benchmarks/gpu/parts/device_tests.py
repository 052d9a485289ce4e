"""The tests that need a GPU, as pytest counts them."""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu.scale import Scale

TESTS = ("tests/engine", "tests/codec")
REHEARSED = "def test_that_passes():\n    pass\n"


def device_tests(scale: Scale) -> Iterator[dict[str, Any]]:
    """Tests that need a GPU"""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tests = ["-m", "gpu", *TESTS]
        if scale.is_rehearsal:  # the real ones take long to be collected, and would be skipped
            (directory / "test_rehearsed.py").write_text(REHEARSED)
            tests = ["--rootdir", name, name]
        xml = directory / "junit.xml"
        command = [sys.executable, "-m", "pytest", *tests, f"--junit-xml={xml}"]
        # They need no plugin, and a machine may have any.
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        subprocess.run([*command, "-p", "no:cacheprovider"], env=environment, check=False)
        if not xml.exists():
            raise RuntimeError("pytest did not run; the part's log says why")
        cases = list(ET.parse(xml).iter("testcase"))
    outcomes = [_outcome(case) for case in cases]
    yield {
        "tests": len(cases),
        "passed": outcomes.count("passed"),
        "failed": outcomes.count("failed"),
        "skipped": outcomes.count("skipped"),
        "slowest": max((_seconds(case) for case in cases), default=0.0),
    }
    failed = [_name(case) for case, how in zip(cases, outcomes, strict=True) if how == "failed"]
    if failed or "passed" not in outcomes:
        raise RuntimeError(f"of {len(cases)} tests failed {len(failed)}: {', '.join(failed)}")


def _outcome(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def _name(case: ET.Element) -> str:
    return f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"


def _seconds(case: ET.Element) -> float:
    return float(case.get("time", 0))


MEASUREMENTS = (device_tests,)
