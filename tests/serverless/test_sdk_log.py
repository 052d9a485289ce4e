"""What RunPod's SDK prints: no job, no result and no address, whichever its level."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.control_plane import ControlPlane
from tests.fakes.delivery import PYTHONPATH, SCRIPTED, Worker
from tests.fakes.leaks import leaks
from tests.fakes.s3 import SECRETS, environment, server

pytestmark = pytest.mark.slow

WORDS = ("aardvark", "bandicoot", "capybara")
"""In a text, a key and an address."""
TOKEN = "hunter2-is-the-session-token"
FORBIDDEN = (*WORDS, *SECRETS.values(), TOKEN, "X-Amz-Signature", "UklGR")
"""The last is how a WAV begins as base64."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return where the storage listens."""
    with server(tmp_path_factory) as port:
        yield port


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({}, "INFO"),
        ({"RUNPOD_DEBUG_LEVEL": "TRACE", "HIGGS_STREAM": "on"}, "TRACE"),
    ],
)
def test_no_line_holds_what_was_sent_or_made(
    port: int, tmp_path: Path, settings: dict[str, str], level: str
) -> None:
    """Of an upload, of audio in the result, and of a job that is refused."""
    key = f"higgs/{WORDS[1]}/{level}.wav"
    address = f"http://127.0.0.1:9/{WORDS[2]}.wav?signature=1"
    jobs = [
        {"text": f"Say {WORDS[0]}.", "key": key, "output": "s3"},
        {"text": f"Say {WORDS[0]}.", "output": "base64"},
        {"text": "Hello.", "voice_url": address, "ref_text": WORDS[0], WORDS[0]: 1},
    ]
    with (
        ControlPlane() as plane,
        Worker(plane, tmp_path, SCRIPTED, **environment(port) | settings) as worker,
    ):
        ran = plane.run_all(jobs)
        for job in ran:
            plane.wait(job)
        assert [job.status for job in ran] == ["COMPLETED", "COMPLETED", "FAILED"]
        lines = worker.log.splitlines()
    printed = [json.loads(each) for each in lines if each.startswith('{"requestId"')]
    assert printed
    assert ("DEBUG" in {each["level"] for each in printed}) is (level != "INFO")
    assert leaks([json.dumps(each) for each in printed], FORBIDDEN) == []


def test_a_local_run_prints_neither_job_nor_result(port: int, tmp_path: Path) -> None:
    """Where no platform is, the SDK would print both."""
    (tmp_path / "test_input.json").write_text(json.dumps({"input": {"text": f"Say {WORDS[0]}."}}))
    settings = {"HIGGS_MODEL": "demo", "HIGGS_VOLUME": str(tmp_path), "RUNPOD_LOG_LEVEL": "DEBUG"}
    done = subprocess.run(
        [sys.executable, *SCRIPTED],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH, "HOME": str(tmp_path)}
        | environment(port)
        | settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Job result: not shown" in done.stdout
    assert leaks([done.stdout, done.stderr], FORBIDDEN) == []
