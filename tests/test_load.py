"""Loading: too little memory is told before the kernel kills the worker, and settings arrive."""

import os
from pathlib import Path

import pytest

from higgs_worker.codec.stages import ConvStage
from higgs_worker.load import load_model
from higgs_worker.settings import Settings
from tests.fakes.memory_group import memory_group

LOAD = """
import re
from pathlib import Path
from higgs_worker.errors import WorkerError
from higgs_worker.load import load_model
from higgs_worker.settings import Settings
try:
    model = load_model(Settings.from_env({variables!r}))
    print(model.engine.num_slots, "slots")
except WorkerError as error:
    print(error)
# Not from getrusage, which counts what the process was before it became this program.
peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())
print(int(peak[1]) // 1024, "MB at most")
"""
MIB = 1 << 20


def load_within(limit_bytes: int, **variables: str) -> list[str]:
    """Return the lines that a process prints, which loads the demo model within a limit."""
    root = str(Path(__file__).parents[1])
    code = LOAD.format(variables={"HIGGS_MODEL": "demo", "HIGGS_CODEC": "demo", **variables})
    with memory_group(f"higgs-worker-test-{os.getpid()}", limit_bytes) as group:
        done = group.run(code, {"PYTHONPATH": root, "PATH": os.environ["PATH"]})
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_container_that_is_too_small_is_told_so() -> None:
    """Many long slots in little memory: one sentence with the way out, and nothing is taken."""
    said, most = load_within(768 * MIB, HIGGS_MAX_SLOTS="64", HIGGS_MAX_LENGTH="8192")
    assert said.startswith("the model takes 3.")
    assert "with 64 slots of 8192 positions, 0.05 GB each, and 0." in said
    assert said.endswith("set HIGGS_DTYPE to int8, or give the worker more memory")
    assert int(most.split()[0]) < 600


@pytest.mark.slow
def test_a_container_that_is_large_enough_is_not_filled() -> None:
    """The model's few slots take memory as they are used."""
    said, most = load_within(1024 * MIB)
    assert said == "8 slots"
    assert int(most.split()[0]) < 700


@pytest.mark.slow
def test_the_codec_is_as_exact_as_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The setting reaches the decoder's convolutions; a CPU, which has no TF32, says so."""
    variables = {"HIGGS_MODEL": "demo", "HIGGS_CODEC_PRECISION": "tf32", "HIGGS_DEVICE": "cpu"}
    model = load_model(Settings.from_env(variables | {"HIGGS_VOLUME": str(tmp_path)}))
    model.engine.close()
    model.codec.close()
    first = model.codec._decoder._plans[0].stage
    assert isinstance(first, ConvStage)
    assert first._conv._allow_tf32
    assert "HIGGS_CODEC_PRECISION has no effect" in caplog.text
