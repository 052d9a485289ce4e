"""How workers end: told to stop, unable to go on, or not fit to begin."""

import json
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fakes.control_plane import ControlPlane
from tests.fakes.delivery import HANDLER, SCRIPTED, Worker, leaked

pytestmark = pytest.mark.slow


def test_sigterm(tmp_path: Path) -> None:
    """What can be finished is, what cannot fails, nothing more is taken, and nobody waits.

    The last line of the log has the worker's figures.
    """
    with (
        ControlPlane(hold_s=60) as plane,
        Worker(plane, tmp_path, SCRIPTED, HIGGS_GRACE_S="2") as worker,
    ):
        short, long = plane.run_all([{"text": "sleep 0.8"}, {"text": "sleep 60"}])
        plane.wait_until(lambda: short.reports)  # the next poll is under way by then
        worker.terminate()
        worker.wait_for("no more jobs are taken")
        time.sleep(0.2)  # until the platform has noticed that the poll was given up
        late = plane.run({"text": "Hello."})
        assert worker.ended_after() < 5
        assert worker.process.returncode == 0
        assert short.status == "COMPLETED"
        assert long.error == (
            "worker_stopping: the worker was stopped before it finished this; send it again"
        )
        assert (short.num_results, long.num_results, late.status) == (1, 1, "IN_QUEUE")
        assert not long.stop_pod
        assert leaked(plane, worker) == []
        (figures,) = (each for each in worker.log.splitlines() if '"figures"' in each)
        ended = json.loads(figures)["higgs_requests_total"]
        assert ended == {"job/ok": 1, "job/worker_stopping": 1}


def test_a_job_handed_out_at_the_last_moment_is_run(tmp_path: Path) -> None:
    """A poll that was answered when the signal came has brought a job, and it is not lost."""
    with (
        ControlPlane(hold_s=60) as plane,
        Worker(plane, tmp_path, SCRIPTED) as worker,
    ):
        plane.wait(plane.run({"text": "Hello."}))
        time.sleep(0.3)
        job = plane.run({"text": "sleep 0.2"})
        worker.terminate()
        assert worker.ended_after() < 4
        assert job.status == ("COMPLETED" if job.taken else "IN_QUEUE")


@pytest.mark.parametrize("text", ["broken", "pieces 3 0.6 0.1 broken"])
def test_a_broken_worker_asks_to_be_replaced(tmp_path: Path, text: str) -> None:
    """Its job fails clearly, the platform is asked for another worker, and no job is taken."""
    is_stream = "true" if text.startswith("pieces") else "false"
    with (
        ControlPlane(hold_s=60) as plane,
        Worker(plane, tmp_path, SCRIPTED, HIGGS_STREAM=is_stream) as worker,
    ):
        job = plane.wait(plane.run({"text": text}))
        time.sleep(0.2)  # until the platform has noticed that the poll was given up
        late = plane.run({"text": "Hello."})
        assert job.error == "engine_broken: the device is gone; this worker must be replaced"
        assert job.stop_pod
        assert worker.ended_after() < 4
        assert worker.process.returncode == 0
        assert late.status == "IN_QUEUE"


def test_sigterm_before_the_start(tmp_path: Path) -> None:
    """A worker that is still getting ready ends at once, wherever it is."""
    delays = (0.2, 0.5, 0.9)
    with ControlPlane(hold_s=60) as plane, ExitStack() as stack:
        started = time.monotonic()
        directories = [tmp_path / str(delay) for delay in delays]
        for directory in directories:
            directory.mkdir()
        workers = [stack.enter_context(Worker(plane, each, HANDLER)) for each in directories]
        for delay, worker in zip(delays, workers, strict=True):
            time.sleep(max(0.0, started + delay - time.monotonic()))
            assert worker.process.poll() is None, worker.log
            worker.terminate()
            assert worker.ended_after() < 3.0
            # Before its first line, before the SDK's loop, or in it.
            assert worker.process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM, 0)


def test_an_unfit_worker_says_why_and_leaves(tmp_path: Path) -> None:
    """A worker whose volume cannot be written takes no job and tells the platform.

    Its own checks come before those of the SDK, which say less: of memory, in this case.
    """
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    settings = {
        "HIGGS_VOLUME": str(blocked),
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "false",
        "RUNPOD_MIN_MEMORY_GB": "1000000",
    }
    with ControlPlane() as plane, Worker(plane, tmp_path, SCRIPTED, **settings) as w:
        assert w.ended_after() < 20
        assert w.process.returncode == 1
        (ping,) = plane.pings
        assert (ping["status"], ping["check"]) == ("unhealthy", "volume_is_writable")
        assert "cannot be written (" in ping["reason"]
        assert not plane.num_requests("take-batch")
