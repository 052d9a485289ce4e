"""`higgs-worker deploy` against a stand-in of RunPod: created, updated, left alone, or an error."""

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.cli.main import main
from higgs_worker.deploy import api, first_audio
from tests.fakes.runpod_api import KEY, RunPod, problem

ROOT = Path(__file__).parents[2]
IMAGE = "ghcr.io/somebody/higgs-worker:v0.1.0"


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPod]:
    """An account, and the key to it."""
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setattr(first_audio, "POLL_S", 0.001)
    monkeypatch.setattr(api, "MAX_WAIT_S", 0.001)
    with RunPod() as runpod:
        yield runpod


def run(runpod: RunPod, capsys: Any, *options: str, image: str | None = IMAGE) -> tuple[int, str]:
    """Run the command; return its exit code and its output, which never contains the key."""
    argv = ["--json", "deploy", "--config", str(ROOT / "runpod-serverless-config.json")]
    argv += [f"--management-url={runpod.url}", f"--jobs-url={runpod.url}"]
    argv += [f"--workers-url={runpod.workers_url}", *options]
    code = main([*argv, *(["--image", image] if image else [])])
    told = capsys.readouterr()
    assert KEY not in told.out + told.err
    return code, told.out + told.err


def changes(runpod: RunPod) -> list[tuple[str, str, Any]]:
    """Return the requests that change something in the account."""
    tries = ("/run", "/speech")
    return [each for each in runpod.requests if each[0] != "GET" and not each[1].endswith(tries)]


def test_an_endpoint_is_created_and_runs_a_job(runpod: RunPod, capsys: Any) -> None:
    """The request has the file's body, and the output shows how to call the endpoint."""
    code, told = run(runpod, capsys)
    assert code == 0
    ((method, path, body),) = changes(runpod)
    assert (method, path, body["image"]) == ("POST", "/serverless", IMAGE)
    outcome = json.loads(told)
    assert outcome["state"] == "created"
    assert outcome["first_audio"] == "2.50 s"
    assert outcome["url"] == f"{runpod.url}/serverless-0/runsync"
    assert "$RUNPOD_API_KEY" in outcome["example"]


def test_deploying_twice_changes_nothing(runpod: RunPod, capsys: Any) -> None:
    """The endpoint is found by its name, and fields that RunPod adds do not count."""
    run(runpod, capsys, "--no-job")
    _, told = run(runpod, capsys, "--no-job")
    assert len(changes(runpod)) == 1
    assert json.loads(told)["state"] == "already as the file says"


def test_only_what_differs_is_changed(runpod: RunPod, capsys: Any) -> None:
    """A new image and a new variable are sent; other fields stay."""
    run(runpod, capsys, "--no-job")
    newer = IMAGE.replace("0.1.0", "0.2.0")
    options = ("--no-job", "--env", "HIGGS_STREAM=true")
    _, told = run(runpod, capsys, *options, image=newer)
    method, path, body = changes(runpod)[-1]
    assert (method, path) == ("PATCH", "/serverless/serverless-0")
    assert body.keys() == {"image", "env"}
    assert body["env"]["HIGGS_MODEL"] == "bosonai/higgs-audio-v2-generation-3B-base"
    assert json.loads(told)["state"] == "updated: env, image"


def test_a_volume_is_found_or_created(runpod: RunPod, capsys: Any) -> None:
    """It is created only if a data center is named, and only once."""
    code, told = run(runpod, capsys, "--no-job", "--volume", "voices")
    assert code == 1
    assert "--data-center" in told
    for _ in range(2):
        code, _ = run(runpod, capsys, "--no-job", "--volume", "voices", "--data-center", "EU-RO-1")
        assert code == 0
    (volume,) = runpod.resources["network-volumes"]
    assert (volume["name"], volume["dataCenter"]) == ("voices", "EU-RO-1")
    (made,) = runpod.resources["serverless"]
    assert made["networkVolumes"] == [volume["id"]]


def test_a_dry_run_sends_nothing(runpod: RunPod, capsys: Any, monkeypatch: Any) -> None:
    """It prints the whole request with secrets masked, and needs no key."""
    monkeypatch.delenv("RUNPOD_API_KEY")
    secret = ("--env", "HF_TOKEN=hf_hunter2", "--env", "A_KEY={{ RUNPOD_SECRET_a }}")
    code, told = run(runpod, capsys, "--dry-run", "--volume", "voices", *secret)
    assert code == 0
    assert not runpod.requests
    assert "hunter2" not in told
    request = json.loads(told)["request"]
    head, _, body = request.partition("\n")
    assert head == f"POST {runpod.url}/serverless"
    shown = json.loads(body)
    assert shown["env"]["HF_TOKEN"] == "***"
    assert shown["env"]["A_KEY"] == "{{ RUNPOD_SECRET_a }}"
    assert shown["networkVolumes"] == ["<the id of voices>"]


def test_8_bits_fit_into_16_gb(runpod: RunPod, capsys: Any) -> None:
    """A pool that is too small for the model is large enough for its weights in 8 bits."""
    small = ("--gpu", "AMPERE_16", "--env", "HIGGS_DTYPE=int8")
    code, told = run(runpod, capsys, "--dry-run", *small)
    assert code == 0
    assert "AMPERE_16" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--gpu", "ADA_25"), "there is no pool of GPUs 'ADA_25'; choose from AMPERE_16"),
        (("--gpu", "AMPERE_16"), "have 16 GB and the model needs 20; choose"),
        (("--gpu", "AMPERE_16", "--env", "HIGGS_DTYPE=float32"), "or set HIGGS_DTYPE to int8"),
        (("--env", "HIGGS_STREAM"), "--env takes NAME=VALUE"),
        (("--config", "none.json"), "none.json cannot be read"),
        (("--config", __file__), "is not JSON"),
    ],
)
def test_what_cannot_be_an_endpoint_is_refused(
    runpod: RunPod, capsys: Any, options: tuple[str, ...], message: str
) -> None:
    """Wrong options fail before any request is sent."""
    code, told = run(runpod, capsys, *options)
    assert code == 1
    assert message in told
    assert not runpod.requests


def test_a_file_whose_owner_is_not_filled_in(runpod: RunPod, capsys: Any) -> None:
    """The placeholder in the image is an error that says what to write instead."""
    code, told = run(runpod, capsys, image=None)
    assert code == 1
    assert "name yours with --image, such as ghcr.io/your-name" in told


def test_without_a_key(runpod: RunPod, capsys: Any, monkeypatch: Any) -> None:
    """The error says where to create one."""
    monkeypatch.delenv("RUNPOD_API_KEY")
    code, told = run(runpod, capsys)
    assert code == 1
    assert "RUNPOD_API_KEY is not set; make a key" in told


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (problem(401, "Unauthorized"), "the key in RUNPOD_API_KEY is not accepted"),
        (problem(402, "Payment required"), "does not have enough credit"),
        (problem(403, "Forbidden"), "give it write access"),
        (problem(404, "Not Found"), "no such thing in this account"),
        (problem(409, "Conflict", detail="quota of workers"), "quota of workers"),
        (problem(422, "Unprocessable", errors=["workers.max"]), 'Unprocessable ["workers.max"]'),
        (problem(500, "Oops"), "RunPod may be down"),
        ((200, {}, b"<html>"), "RunPod may be down"),
        ((200, {}, b'"text"'), "something that is not an object"),
    ],
)
def test_every_error_of_runpod_becomes_a_sentence(
    runpod: RunPod, capsys: Any, answer: Any, message: str
) -> None:
    """A request that changes something is never repeated after a failure."""
    runpod.faults.extend([None, answer])
    code, told = run(runpod, capsys)
    assert code == 1
    assert message in told
    assert len(changes(runpod)) == 1


def test_a_request_is_repeated_when_runpod_is_busy(runpod: RunPod, capsys: Any) -> None:
    """After a 429 every request is repeated, and after a 5xx those that only read."""
    busy = (429, {"Retry-After": "30"}, b"{}")
    runpod.faults.extend([busy, problem(503, "Later"), None, busy, None])
    code, _ = run(runpod, capsys, "--no-job")
    assert code == 0
    assert len(runpod.resources["serverless"]) == 1
    runpod.faults.extend([busy] * 4)
    code, told = run(runpod, capsys, "--no-job")
    assert code == 1
    assert "too many requests" in told


def test_runpod_out_of_reach(capsys: Any, monkeypatch: Any) -> None:
    """The error names what failed to connect."""
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    monkeypatch.setattr(api, "NUM_TRIES", 1)
    with RunPod() as gone:
        pass
    code, told = run(gone, capsys)
    assert code == 1
    assert "was not answered (ConnectError)" in told


def test_a_first_job_that_fails(runpod: RunPod, capsys: Any) -> None:
    """The job's error is printed, and the endpoint stays."""
    runpod.statuses = deque([{"status": "FAILED", "error": "weights_refused: set HF_TOKEN"}])
    code, told = run(runpod, capsys)
    assert code == 1
    assert "ended as FAILED: weights_refused: set HF_TOKEN" in told
    assert len(runpod.resources["serverless"]) == 1


def test_unhealthy_workers_end_the_wait(runpod: RunPod, capsys: Any) -> None:
    """The command fails at once instead of waiting for the timeout."""
    runpod.statuses = deque([{"status": "IN_QUEUE"}])
    runpod.workers = {"unhealthy": 2}
    code, told = run(runpod, capsys)
    assert code == 1
    assert "2 of the endpoint's workers are unhealthy" in told


def test_a_first_job_that_never_ends(runpod: RunPod, capsys: Any) -> None:
    """The timeout's error says what may be wrong."""
    runpod.statuses = deque([{"status": "IN_QUEUE"}])
    code, told = run(runpod, capsys, "--timeout-s", "0.05")
    assert code == 1
    assert "name more pools with --gpu" in told


def test_a_first_job_without_audio(runpod: RunPod, capsys: Any) -> None:
    """COMPLETED alone is no success."""
    runpod.statuses = deque([{"status": "COMPLETED", "output": {"greeting": "hello"}}])
    code, told = run(runpod, capsys)
    assert code == 1
    assert "came back without audio" in told


def test_two_endpoints_of_one_name(runpod: RunPod, capsys: Any) -> None:
    """An ambiguous name is an error, so that no endpoint is changed by mistake."""
    runpod.resources["serverless"] = [{"id": str(n), "name": "higgs-audio-v2"} for n in range(2)]
    code, told = run(runpod, capsys)
    assert code == 1
    assert "there are 2 endpoints called 'higgs-audio-v2'" in told
