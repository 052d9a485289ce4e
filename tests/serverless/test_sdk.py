"""The SDK's faults and their mends: each mend is needed by this SDK, and works."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.fakes.delivery import PYTHONPATH, SCRIPTED

ROOT = Path(__file__).parents[2]
VERSION = ".".join(version("runpod").split(".")[:2])
"""Of the SDK: the locked one, or the next one in `make test-next-sdk`."""
BOTH = ("1.12", "2.0")
MENDS = {
    "skip_processor_name": ("1.12",),
    "set_variables: log": ("2.0",),
    "take_safely: no job": BOTH,
    "take_safely: deep": BOTH,
    "take_safely: many digits": BOTH,
    "resend_results: lost": BOTH,
    "resend_results: busy": BOTH,
    "cancel_stops_on_stop": BOTH,
}
"""Each mend, and the versions that need it."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, bool]]:
    """What the real SDK does before and after each mend."""
    command = [sys.executable, "-m", "tests.serverless.sdk_faults"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, bool]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("mend", MENDS)
def test_a_mend_is_needed_and_works(mend: str, seen: dict[str, dict[str, bool]]) -> None:
    """When no version needs it any more, delete the mend."""
    assert VERSION in BOTH, f"runpod {VERSION} was not looked at yet"
    is_needed = not seen[mend]["before"]
    assert is_needed is (VERSION in MENDS[mend]), f"runpod {VERSION} and {mend}"
    assert seen[mend]["after"]
    assert seen.keys() == MENDS.keys()


def test_the_processor_is_not_asked_for() -> None:
    """With the mend in place before the SDK is imported, nothing asks for the processor's name."""
    code = (
        "from higgs_worker.serverless import sdk; sdk.skip_processor_name();"
        "import runpod, cpuinfo; assert cpuinfo.get_cpu_info() == {}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


GENERATOR = """
import runpod

async def handler(job):
    print("the handler ran")
    yield {}

runpod.serverless.start({"handler": handler})
"""


def test_a_local_test_speaks_although_the_endpoint_streams(tmp_path: Path) -> None:
    """The SDK never runs a generator there, so the job runs whole, and is saved."""
    (tmp_path / "test_input.json").write_text('{"input": {"text": "Hello."}}')
    ran = subprocess.run(
        [sys.executable, "-c", GENERATOR], capture_output=True, text=True, cwd=tmp_path
    )
    assert "the handler ran" not in ran.stdout, "the SDK runs generators in its local test now"
    settings = {"HIGGS_MODEL": "demo", "HIGGS_STREAM": "true", "HIGGS_SAVE_DIR": "out"}
    done = subprocess.run(
        [sys.executable, *SCRIPTED],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH, "HOME": str(tmp_path)} | settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "local_test.wav").read_bytes()[:4] == b"RIFF"
