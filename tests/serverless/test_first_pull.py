"""An empty volume: who comes while weights are being pulled waits, and is told how far it is.

Nothing that is printed meanwhile holds a signed address.
"""

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.build import build
from higgs_worker.deadlines import Deadlines
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings
from higgs_worker.weights.checkpoint_files import FILES
from tests.fakes import toy_model
from tests.fakes.control_plane import RESET, ControlPlane
from tests.fakes.delivery import HANDLER, PYTHONPATH, Worker, leaked
from tests.fakes.hub import REPO, TOKEN, Answer, Request, StandIn, reset
from tests.fakes.leaks import leaks

WEIGHTS = "model.safetensors"
LOUDEST = {"HIGGS_LOG_LEVEL": "DEBUG", "RUNPOD_LOG_LEVEL": "TRACE", "PYTHONWARNINGS": "default"}
SIGNATURE = "signature=secret"
"""In the addresses that the hub redirects to."""
INPUT = {"text": "Hello.", "max_duration_s": 0.4}
TALKATIVE_HANDLER = """
from higgs_worker.serverless import progress
from higgs_worker.speech import service
progress.EVERY_S = service.TOLD_EVERY_S = 0.1
import handler
handler.main()
"""


class Hub(StandIn):
    """The hub with a toy model whose weights stop midway until they may go on."""

    def __init__(self, toy: dict[str, str], volume: Path) -> None:
        self.settings = toy | {
            "HIGGS_MODEL": REPO,
            "HF_TOKEN": TOKEN,
            "HIGGS_VOLUME": str(volume),
            "HIGGS_MAX_SLOTS": "2",
        }
        model = Path(toy["HIGGS_MODEL"])
        super().__init__({name: (model / name).read_bytes() for name in FILES["model"]})
        self.settings["HF_ENDPOINT"] = self.endpoint
        self.is_midway = threading.Event()
        self.may_go_on = threading.Event()
        self.spoil("store", self._wait_midway, name=WEIGHTS)

    def _wait_midway(self, _: Request, answer: Answer) -> Iterator[bytes]:
        *pieces, last = answer.pieces()
        yield from pieces
        self.is_midway.set()
        self.may_go_on.wait(8)  # less than the worker's patience
        yield last

    def num_pulls(self) -> dict[str, float]:
        """Return how often each file was sent."""
        sent = {name: self.num_body_bytes[f"{self.commit}/{name}"] for name in self.files}
        return {name: sent[name] / len(data) for name, data in self.files.items()}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Write the toy model; return the settings that name it."""
    return toy_model.write_to(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def standin(toy: dict[str, str], tmp_path: Path) -> Iterator[Hub]:
    """Serve the toy model."""
    with Hub(toy, tmp_path / "volume") as each:
        yield each


@pytest.mark.slow
def test_two_jobs_on_an_empty_volume_are_one_pull(standin: Hub, tmp_path: Path) -> None:
    """Through the SDK: both are told how far it is, and both are answered.

    The hub and the platform fail meanwhile, so that everybody has something to log.
    """
    command, settings = ("-c", TALKATIVE_HANDLER), standin.settings | LOUDEST
    standin.spoil("resolve", reset)
    with ControlPlane() as plane, Worker(plane, tmp_path, command, **settings) as worker:
        plane.fail("ping", RESET)
        plane.fail("take-batch", 500)
        jobs = plane.run_all([INPUT, INPUT])
        pulling = re.compile(rf"pulling {REPO}: \d+% of 0\.0 GB, about \d+ s left")
        plane.wait_until(
            lambda: all(
                any(pulling.fullmatch(report.get("doing", "")) for report in job.reports)
                for job in jobs
            )
        )
        assert not any(job.ended for job in jobs)
        standin.may_go_on.set()
        for job in jobs:
            assert plane.wait(job).status == "COMPLETED", job.error
            assert job.output["audio"]["duration_s"] == pytest.approx(0.4)
            assert job.output["timing"]["load_s"] > 0.1
        assert standin.num_pulls() == dict.fromkeys(FILES["model"], 1)
        assert leaked(plane, worker) == []
        assert '"logger": "urllib3' in worker.log, "no library warned of anything"
        assert leaks([worker.log], [TOKEN, SIGNATURE]) == []
        assert quiet(worker.log) == []


@pytest.mark.slow
def test_a_failed_load_fails_the_job_with_the_reason(standin: Hub, tmp_path: Path) -> None:
    """Whoever waits for it is told, in a sentence; nothing of the log is returned."""
    settings = standin.settings | {"HIGGS_MODEL": "nobody/nothing", "RUNPOD_LOG_CAPTURE": "all"}
    with ControlPlane() as plane, Worker(plane, tmp_path, HANDLER, **settings) as worker:
        job = plane.wait(plane.run(INPUT))
        assert job.error == (
            "weights_not_found: the hub knows no nobody/nothing, or HF_TOKEN may not see it; check "
            "the name and the token"
        )
        assert job.output == {"code": "weights_not_found", "details": {}}
        assert worker.process.poll() is None
        assert not any("status" in ping for ping in plane.pings)


@pytest.mark.slow
def test_fetch_prints_no_address(standin: Hub, tmp_path: Path) -> None:
    """Nor does the command line, whatever fails."""
    standin.may_go_on.set()
    standin.spoil("resolve", reset)
    done = subprocess.run(
        [sys.executable, "-m", "higgs_worker", "fetch"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH} | standin.settings | LOUDEST,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert standin.asked("store")
    assert leaks([done.stdout, done.stderr], [TOKEN, SIGNATURE]) == []
    assert quiet(done.stderr) == []


def quiet(log: str) -> list[str]:
    """Return the lines of libraries that are no warnings."""
    lines = [json.loads(each) for each in log.splitlines() if each.startswith('{"')]
    assert lines
    named = [each for each in lines if "logger" in each]
    return [each["message"] for each in named if each["level"] in ("DEBUG", "INFO")]


def test_a_deadline_ends_the_job_and_not_the_pull(standin: Hub) -> None:
    """The refusal tells what is being waited for; the next job finds the same pull going on."""
    worker = build(Settings.from_env(standin.settings))
    worker.responder.service.preload()
    assert standin.is_midway.wait(10)
    reports: list[dict[str, Any]] = []

    async def report(_: Any, told: dict[str, Any]) -> None:
        reports.append(told)
        standin.may_go_on.set()

    async def both() -> tuple[dict[str, Any], list[dict[str, Any]]]:
        job = {"id": "1", "input": INPUT}
        hasty = replace(worker, responder=replace(worker.responder, deadlines=Deadlines(0.05)))
        refused = await hasty.run(job)
        while f"pulling {REPO}" not in refused["error"]:  # nothing had arrived by then
            refused = await hasty.run(job)
        patient = replace(worker, report=report, report_every_s=0.0)
        return refused, await heard(patient, job)

    refused, pieces = asyncio.run(both())
    assert re.match(
        r"deadline_exceeded: the job took longer than the 0\.05 s that HIGGS_JOB_TIMEOUT_S allows, "
        rf"because the worker is still pulling {REPO}: \d+% .* left; send it again later",
        refused["error"],
    )
    assert reports[0]["doing"].startswith(f"pulling {REPO}: ")
    assert pieces[0]["audio"]["base64"]
    assert "error" not in pieces[-1]
    assert standin.num_pulls() == dict.fromkeys(FILES["model"], 1)


async def heard(worker: JobRunner, job: object) -> list[dict[str, Any]]:
    """Run a job that streams."""
    return [piece async for piece in worker.stream(job)]
