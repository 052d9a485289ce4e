"""`higgs-worker deploy --type load-balancer`: the body made from the file, and a first request."""

import json
import os
import re
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.deploy import first_audio
from higgs_worker.settings import Settings
from tests.deploy.test_deploy import ROOT, changes, run
from tests.fakes.runpod_api import KEY, NO_WORKER, RunPod
from tests.test_deployment_files import problems_of

READY, STARTING = (200, {}, b""), (204, {}, b"")
JSON = {"Content-Type": "application/json"}
TYPE = "--type=load-balancer"


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPod]:
    """An account, and the key to it."""
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setattr(first_audio, "POLL_S", 0.001)
    with RunPod() as runpod:
        yield runpod


def dry(runpod: RunPod, capsys: Any, *options: str) -> dict[str, Any]:
    """Return the body that would be sent."""
    code, told = run(runpod, capsys, "--dry-run", *options)
    assert code == 0, told
    body: dict[str, Any] = json.loads(json.loads(told)["request"].partition("\n")[2])
    return body


def config(directory: Path, **changed: Any) -> str:
    """Write a file that describes an endpoint, and return the option that names it."""
    body = {
        "name": "mine",
        "type": "QUEUE",
        "image": "ghcr.io/somebody/higgs-worker:v0.1.0",
        "gpu": {"pools": ["ADA_24"]},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    }
    path = directory / "config.json"
    path.write_text(json.dumps(body | changed))
    return f"--config={path}"


def test_the_body_is_the_file_s_with_http_in_place_of_jobs(runpod: RunPod, capsys: Any) -> None:
    """RunPod accepts it, the worker understands it, and all else is as with a queue."""
    queue, balanced = dry(runpod, capsys), dry(runpod, capsys, TYPE)
    assert problems_of(balanced) == []
    changed = {key for key in balanced if balanced[key] != queue.get(key)}
    assert changed == {"name", "type", "env", "ports", "scaling"}
    assert (queue["type"], balanced["type"]) == ("QUEUE", "LOAD_BALANCER")
    assert balanced["name"] == "higgs-audio-v2-http"
    assert balanced["scaling"] == {"type": "REQUEST_COUNT", "requestCount": 8}
    assert balanced["ports"] == ["8000/http"]
    added = {"HIGGS_SERVE": "http", "PORT": "8000", "PORT_HEALTH": "8000"}
    assert balanced["env"] == queue["env"] | added
    Settings.from_env(balanced["env"])


def test_what_the_caller_and_the_file_say_counts(
    runpod: RunPod, capsys: Any, tmp_path: Path
) -> None:
    """A port of theirs is exposed and checked, and their scaling is left alone."""
    body = dry(runpod, capsys, TYPE, "--env=PORT=9000", "--name=voice")
    assert (body["env"]["PORT_HEALTH"], body["ports"]) == ("9000", ["9000/http"])
    assert body["name"] == "voice"
    body = dry(runpod, capsys, TYPE, "--env=PORT_HEALTH=9001")
    assert body["ports"] == ["8000/http", "9001/http"]
    scaling = {"type": "REQUEST_COUNT", "requestCount": 20}
    ours = config(tmp_path, type="LOAD_BALANCER", scaling=scaling, ports=["22/tcp"])
    body = dry(runpod, capsys, ours)
    assert (body["name"], body["scaling"]) == ("mine", scaling)
    assert body["ports"] == ["22/tcp", "8000/http"]


def test_a_file_without_variables(runpod: RunPod, capsys: Any, tmp_path: Path) -> None:
    """The worker's defaults are enough, with a queue as behind a load balancer."""
    assert dry(runpod, capsys, config(tmp_path))["env"] == {}
    assert dry(runpod, capsys, config(tmp_path), TYPE)["env"].keys() == {
        "HIGGS_SERVE",
        "PORT",
        "PORT_HEALTH",
    }


@pytest.mark.parametrize(
    ("file", "options", "message"),
    [
        ({}, (TYPE, "--env=HIGGS_API_KEY=hunter2"), "HIGGS_API_KEY would lock everybody out"),
        ({}, (TYPE, "--env=HIGGS_SERVE=jobs"), "leave it out and choose with --type"),
        ({}, ("--env=HIGGS_SERVE=http",), "leave it out and choose with --type"),
        ({"type": "LOAD_BALANCER"}, ("--type=queue",), "name a file with a queue"),
        ({"type": "queue"}, (), "has the type 'queue'; it is QUEUE or LOAD_BALANCER"),
        ({"env": ["PORT=80"]}, (), "as must its env"),
    ],
)
def test_what_would_never_answer_is_refused(
    runpod: RunPod,
    capsys: Any,
    tmp_path: Path,
    file: dict[str, Any],
    options: tuple[str, ...],
    message: str,
) -> None:
    """Before any request is sent."""
    code, told = run(runpod, capsys, config(tmp_path, **file), *options)
    assert code == 1
    assert message in told
    assert not runpod.requests


def test_it_is_created_and_speaks(runpod: RunPod, capsys: Any) -> None:
    """A worker is waited for, speaks once, and its audio is measured; the address is OpenAI's."""
    code, told = run(runpod, capsys, TYPE)
    assert code == 0, told
    ((method, path, _),) = changes(runpod)
    assert (method, path) == ("POST", "/serverless")
    outcome = json.loads(told)
    assert (outcome["state"], outcome["first_audio"]) == ("created", "1.50 s")
    base = f"{runpod.url}/serverless-0"
    assert outcome["url"] == f"{base}/v1"
    assert outcome["example"].startswith(f"curl {base}/v1/audio/speech -H")
    asked = [path for _, path, _ in runpod.requests]
    assert asked.count("/serverless-0/ping") == 3
    assert asked.count("/serverless-0/v1/audio/speech") == 1


def test_it_stands_beside_the_one_with_a_queue(runpod: RunPod, capsys: Any) -> None:
    """Both come from one file; each is found again, and neither becomes the other."""
    for options in ((), (TYPE,), (), (TYPE,)):
        assert run(runpod, capsys, "--no-job", *options)[0] == 0
    assert len(changes(runpod)) == 2
    code, told = run(runpod, capsys, TYPE, "--name=higgs-audio-v2")
    assert code == 1
    assert "of type QUEUE, which RunPod cannot change into a LOAD_BALANCER; name another" in told
    code, _ = run(runpod, capsys, TYPE, "--no-job", "--env=HIGGS_MAX_SLOTS=8")
    assert code == 0
    method, path, body = changes(runpod)[-1]
    assert (method, path, body.keys()) == ("PATCH", "/serverless/serverless-1", {"env"})


@pytest.mark.parametrize(
    ("speech", "message"),
    [
        (
            (503, JSON, b'{"error": {"message": "broken"}}'),
            "answered with 503 and application/json",
        ),
        ((200, JSON, b'{"audio": ""}'), "answered with 200 and application/json"),
        ((200, {"Content-Type": "audio/pcm"}, b""), "answered without audio"),
    ],
)
def test_a_first_request_that_fails(runpod: RunPod, capsys: Any, speech: Any, message: str) -> None:
    """Its status and its words are printed, and the endpoint stays."""
    runpod.speech = speech
    code, told = run(runpod, capsys, TYPE)
    assert code == 1
    assert message in told
    assert len(runpod.resources["serverless"]) == 1


@pytest.mark.parametrize(
    ("ping", "note"),
    [
        (NO_WORKER, "no worker is ready (400); 1 initializing"),
        ((502, {}, b""), "no worker is ready (502); 1 initializing"),
        (STARTING, "a worker is starting; 1 initializing"),
    ],
)
def test_no_worker_becomes_ready(runpod: RunPod, capsys: Any, ping: Any, note: str) -> None:
    """The timeout's error says what was seen last, and what may be wrong."""
    runpod.pings, runpod.workers = deque([ping]), {"initializing": 1}
    code, told = run(runpod, capsys, TYPE, "--timeout-s=0.05")
    assert code == 1
    assert f"no worker has become ready after 0 s ({note})" in told
    assert "name more pools with --gpu" in told


def test_an_address_that_is_not_there_yet(runpod: RunPod, capsys: Any) -> None:
    """A new endpoint's name may be unknown for a while: that is waited for."""
    code, told = run(runpod, capsys, TYPE, "--workers-url=http://{}.invalid", "--timeout-s=0.05")
    assert code == 1
    assert "(no answer yet; 1 ready)" in told


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_does_not_open_it(runpod: RunPod, capsys: Any, status: int) -> None:
    """Nobody waits for half an hour for what will not come."""
    runpod.pings = deque([(status, JSON, b"{}")])
    code, told = run(runpod, capsys, TYPE)
    assert code == 1
    assert "the key in RUNPOD_API_KEY" in told


def test_unhealthy_workers(runpod: RunPod, capsys: Any) -> None:
    """All of them end the wait; while another one is starting, it goes on."""
    runpod.pings, runpod.workers = deque([NO_WORKER]), {"unhealthy": 2}
    code, told = run(runpod, capsys, TYPE)
    assert code == 1
    assert "all of the endpoint's workers are unhealthy" in told
    runpod.pings = deque([NO_WORKER, READY])
    runpod.workers = {"unhealthy": 1, "initializing": 1}
    assert run(runpod, capsys, TYPE)[0] == 0


def test_the_guide_s_commands(runpod: RunPod, capsys: Any, tmp_path: Path) -> None:
    """Waiting for a worker and letting it speak work as they stand, but for the address."""
    run(runpod, capsys, TYPE, "--no-job")
    guide = (ROOT / "docs" / "runpod-serverless-guide.md").read_text(encoding="utf-8")
    section = guide.partition("## Behind a load balancer\n")[2].partition("\n## ")[0]
    [script] = [each for each in re.findall(r"```bash\n(.*?)```", section, re.S) if "curl" in each]
    script = script.replace("https://$ENDPOINT.api.runpod.ai", f"{runpod.url}/$ENDPOINT")
    script = script.replace("sleep 5", "sleep 0.01")
    variables = {"ENDPOINT": "serverless-0", "RUNPOD_API_KEY": KEY, "PATH": os.environ["PATH"]}
    subprocess.run(["bash", "-e", "-c", script], env=variables, cwd=tmp_path, check=True)
    assert len((tmp_path / "hello.pcm").read_bytes()) == 72_000
