"""The whole way: `handler.py` through the real RunPod SDK in its own process, on the demo model."""

import base64
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "handler.py")]
INPUT = {"text": "Hello.", "max_duration_s": 0.4}


def environment(**settings: str) -> dict[str, str]:
    """Return a worker's environment: of our variables only those that the test needs."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    own = {"HIGGS_MODEL": "demo", "HIGGS_MAX_SLOTS": "1", "OMP_NUM_THREADS": "1"}
    return keep | own | settings


class Api:
    """The SDK's local API server, running our handler."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def runsync(self, job_input: dict[str, Any]) -> dict[str, Any]:
        """Run one job to its end."""
        request = urllib.request.Request(
            f"{self.url}/runsync",
            data=json.dumps({"input": job_input}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A worker behind the SDK's local API."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen(
        [*COMMAND, "--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)],
        env=environment(),
        cwd=tmp_path_factory.mktemp("api"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        server = Api(port)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{server.url}/docs", timeout=5).close()
                break
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                assert process.poll() is None, "the worker has ended"
                assert time.monotonic() < deadline, "the worker does not answer"
                time.sleep(0.1)
        yield server
        process.terminate()


@pytest.mark.slow
def test_a_job_becomes_speech(api: Api) -> None:
    """A job through the SDK returns a valid 24 kHz mono WAV, in the shape that README.md shows."""
    reply = api.runsync({"text": "The sun rises.", "seed": 7})
    assert reply["status"] == "COMPLETED"
    result = reply["output"]
    audio = result["audio"]
    data = base64.b64decode(audio["base64"])
    assert hashlib.sha256(data).hexdigest() == audio["sha256"]
    assert len(data) == audio["num_bytes"]
    pcm, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    assert (rate, pcm.ndim, audio["sample_rate"], audio["channels"]) == (24000, 1, 24000, 1)
    assert (audio["format"], audio["mime_type"]) == ("wav", "audio/wav")
    assert len(pcm) == 960 * result["usage"]["audio_frames"]
    assert audio["duration_s"] == pytest.approx(len(pcm) / rate, abs=1e-3)
    assert 0.01 < float(np.abs(pcm).max()) < 1.0
    assert result["segments"] == [
        {"text": "The sun rises.", "speaker": None, "start_s": 0.0, "end_s": audio["duration_s"]}
    ]
    assert result["seed"] == 7
    assert result["finish_reason"] in ("stop", "length")
    assert "demo model" in result["warnings"][0]
    assert result["usage"]["characters"] == len("The sun rises.")
    assert result["usage"]["text_tokens"] > len("The sun rises.")
    assert result["model"] == {"id": "demo", "revision": None}
    assert set(result["timing"]) == {"queue_s", "load_s", "first_audio_s", "total_s", "rtf"}


@pytest.mark.slow
def test_the_seed_in_the_result_repeats_the_audio(api: Api) -> None:
    """Same seed, same audio; a different seed, different audio."""
    first = api.runsync({"text": "Hello.", "max_duration_s": 0.4})["output"]
    again = api.runsync({"text": "Hello.", "max_duration_s": 0.4, "seed": first["seed"]})["output"]
    other = api.runsync({"text": "Hello.", "max_duration_s": 0.4})["output"]
    assert first["audio"]["sha256"] == again["audio"]["sha256"] != other["audio"]["sha256"]
    assert other["seed"] != first["seed"]


@pytest.mark.slow
def test_a_wrong_job_fails_and_the_worker_lives(api: Api) -> None:
    """The SDK reports FAILED with our sentence, and the next job is served."""
    reply = api.runsync({"txt": "Hello."})
    assert reply["status"] == "FAILED"
    assert (
        reply["error"] == "invalid_request: unknown field 'txt'; did you mean 'text'? (and 1 more)"
    )
    assert api.runsync({"text": "Hello.", "max_duration_s": 0.2})["status"] == "COMPLETED"


@dataclass(frozen=True)
class LocalRun:
    """One job, run to its end as `make demo` does."""

    directory: Path
    """Where the audio is saved."""
    code: int
    stderr: str
    lines: list[str]
    """Of both outputs."""

    @classmethod
    def of(cls, directory: Path, **settings: str) -> "LocalRun":
        """Run one."""
        done = subprocess.run(
            [*COMMAND, "--test_input", json.dumps({"input": INPUT}), "--rp_log_level", "ERROR"],
            env=environment(HIGGS_SAVE_DIR=str(directory / "out"), **settings),
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=120,
        )
        lines = done.stderr.splitlines() + done.stdout.splitlines()
        return cls(directory / "out", done.returncode, done.stderr, lines)


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory) -> LocalRun:
    """A run that succeeds, in a container that began 100 s ago, with one misspelled setting."""
    directory = tmp_path_factory.mktemp("local")
    began = str(int(time.time()) - 100)
    return LocalRun.of(directory, HIGGS_STARTED_AT=began, HIGGS_MAX_SLOT="4")


@pytest.mark.slow
def test_a_local_run_saves_the_audio_and_says_where(local_run: LocalRun) -> None:
    """`python handler.py` leaves a WAV that a player opens, and prints its path and times."""
    assert local_run.code == 0, local_run.stderr
    path = local_run.directory / "local_test.wav"
    assert soundfile.info(path).duration == pytest.approx(0.4)
    assert f"saved {path}: 0.40 s of audio in " in local_run.stderr


@pytest.mark.slow
def test_a_misspelled_setting_is_reported(local_run: LocalRun) -> None:
    """A variable of ours that nothing reads is named at start, with the nearest that exists."""
    assert "nothing reads HIGGS_MAX_SLOT; did you mean HIGGS_MAX_SLOTS?" in local_run.stderr


@pytest.mark.slow
def test_the_first_job_ends_the_start(local_run: LocalRun) -> None:
    """One line tells where the time went, from the container's start on."""
    (line,) = (each for each in local_run.lines if '"cold start"' in each)
    told = json.loads(line)
    laps = ("python_s", "weights_s", "imports_s", "device_s", "read_s", "slots_s", "graphs_s")
    laps += ("ready_s", "idle_s", "first_job_s")
    assert all(told[name] >= 0 for name in laps)
    assert 99 < told["bootstrap_s"] < told["total_s"] < 160


@pytest.mark.slow
def test_the_figures_of_a_local_run_are_logged(local_run: LocalRun) -> None:
    """One line, at its end, also where the SDK ends the process."""
    (line,) = (each for each in local_run.lines if '"figures"' in each)
    told = json.loads(line)
    assert told["higgs_requests_total"] == {"job/ok": 1}
    assert told["higgs_audio_seconds_total"] == 0.4
    assert told["higgs_frames_total"] == 10
    assert told["higgs_cold_start_seconds"]["total"] > 99
    assert told["higgs_first_audio_seconds"]["whole"]["count"] == 1


@pytest.mark.slow
def test_a_wrong_setting_stops_the_start(tmp_path: Path) -> None:
    """A worker with an impossible setting says so and takes no jobs."""
    run = LocalRun.of(tmp_path, HIGGS_MAX_SLOTS="many")
    assert run.code != 0
    assert "HIGGS_MAX_SLOTS is 'many'; it must be a whole number from 1 to 256" in run.stderr
