"""Jobs through the real SDK in its own process, on a stand-in of the platform."""

import base64
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.control_plane import (
    API_KEY,
    RESET,
    Beside,
    ControlPlane,
    Instead,
    Job,
    Raw,
    Slow,
)
from tests.fakes.delivery import SCRIPTED, SENT_SECRET, Worker, leaked
from tests.fakes.scripted_worker import REPORT_EVERY_S
from tests.fakes.speeches import text_in
from tests.serverless.test_takes import NO_JOBS

pytestmark = pytest.mark.slow

TIMEOUT_S = 2


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """The platform."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module", autouse=True)
def worker(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker for all of these tests; at the end no secret may have left it."""
    settings = {"HIGGS_CONCURRENCY": "40", "HIGGS_JOB_TIMEOUT_S": str(TIMEOUT_S)}
    with Worker(plane, tmp_path_factory.mktemp("worker"), SCRIPTED, **settings) as worker:
        yield worker
        assert worker.process.poll() is None, worker.log[-5000:]
        assert leaked(plane, worker) == []


def say(text: str) -> dict[str, Any]:
    """Return the input of a job."""
    return {"text": text}


def audio_of(output: dict[str, Any]) -> bytes:
    """Return the audio of a job's output."""
    return base64.b64decode(output["audio"]["base64"])


def text_of(output: dict[str, Any]) -> str:
    """Return the text that the audio of a job's output is."""
    return text_in(audio_of(output))


def test_run_and_status(plane: ControlPlane) -> None:
    """A job sent to `/run` is answered at once and found completed later, with its own audio."""
    sent = plane.call("run", {"input": say("Hello there.")})
    assert sent["status"] == "IN_QUEUE"
    plane.wait(plane.jobs[sent["id"]])
    status = plane.call(f"status/{sent['id']}")
    assert status["status"] == "COMPLETED"
    assert text_of(status["output"]) == "Hello there."


def test_runsync(plane: ControlPlane) -> None:
    """A job sent to `/runsync` brings its result."""
    answer = plane.call("runsync", {"input": say("At once.")})
    assert answer["status"] == "COMPLETED"
    assert text_of(answer["output"]) == "At once."


def test_a_batch_is_one_job(plane: ControlPlane) -> None:
    """Its texts are spoken side by side, and what fails says so beside what is heard."""
    sent = [say("sleep 0.5"), say("One."), {"text": 5}, say("sleep 0.5"), say("Two.")]
    (job,) = plane.run_all([{"batch": sent}])
    plane.wait(job)
    assert job.ended - job.taken < 1.0
    outputs = job.output["batch"]
    assert [text_of(outputs[at]) for at in (1, 4)] == ["One.", "Two."]
    assert outputs[2]["code"] == "invalid_request"
    assert job.output["num_failed"] == 1
    (job,) = plane.run_all([{"batch": [{"text": 5}]}])
    plane.wait(job)
    assert job.error.startswith("batch_failed: none of the 1 texts")


def test_requests_that_the_platform_forwards_for_openai(plane: ControlPlane) -> None:
    """They are jobs like any other, in OpenAI's words."""
    body = {"model": "tts-1", "input": "Hello.", "voice": "alloy", "response_format": "wav"}
    (job,) = plane.run_all([{"openai_route": "/v1/audio/speech", "openai_input": body}])
    plane.wait(job)
    assert text_of(job.output) == "Hello."
    (job,) = plane.run_all([{"openai_route": "/v1/audio/speech", "openai_input": {}}])
    plane.wait(job)
    assert job.error == "invalid_request: text is required; send what should be said"
    assert {key: job.output[key] for key in ("message", "type", "param", "code")} == {
        "message": "text is required; send what should be said",
        "type": "invalid_request_error",
        "param": "input",
        "code": "invalid_request",
    }


def test_jobs_run_together_and_end_in_any_order(plane: ControlPlane) -> None:
    """Several are taken with one poll, the short ones do not wait for the long one."""
    before = plane.num_requests("take-batch")
    jobs = plane.run_all([say("sleep 0.9"), say("sleep 0.2"), say("sleep 0.5")])
    for job in jobs:
        plane.wait(job)
    assert plane.num_requests("take-batch") > before
    assert max(job.taken for job in jobs) < min(job.ended for job in jobs)
    assert sorted(jobs, key=lambda job: job.ended) == [jobs[1], jobs[2], jobs[0]]


@pytest.mark.parametrize("how", ["cancel", "timeout", "cancel a batch"])
def test_a_stopped_job_stops(plane: ControlPlane, how: str) -> None:
    """The platform's stop reaches what speaks within a poll, and nothing is posted for it."""
    before = plane.wait(plane.run(say("cancelled"))).output["seed"]
    policy = {"policy": {"executionTimeout": 300}} if how == "timeout" else {}
    asked, num_texts = say("sleep 30"), 1
    if how == "cancel a batch":
        asked, num_texts = {"batch": [say("sleep 30")] * 3}, 3
    job = plane.jobs[plane.call("run", {"input": asked, **policy})["id"]]
    plane.wait_until(lambda: job.taken)
    if how == "cancel a batch":
        time.sleep(0.2)
    if how != "timeout":  # the first one at once, when the SDK has not begun it
        plane.call(f"cancel/{job.id}", {})
    plane.wait(job)
    assert job.status == ("TIMED_OUT" if how == "timeout" else "CANCELLED")
    for _ in range(20):
        if plane.wait(plane.run(say("cancelled"))).output["seed"] == before + num_texts:
            break
        time.sleep(0.1)
    else:
        raise AssertionError("the job was not stopped")
    assert job.num_results == 0


def test_a_long_job_reports_and_then_runs_out_of_time(plane: ControlPlane) -> None:
    """Its progress is seen while it runs, its end is final although a report was late."""
    job = plane.run(say("sleep 6"))
    plane.wait_until(lambda: job.reports)
    assert job.status == "IN_PROGRESS"
    assert job.output["fraction"] == pytest.approx(REPORT_EVERY_S / 6, abs=0.05)
    plane.wait(job)
    assert job.error.startswith("deadline_exceeded: the job took longer than the 2 s that HIGGS_")
    assert job.num_results == 1
    assert job.ended - job.taken == pytest.approx(TIMEOUT_S, abs=0.5)


def test_a_result_waits_for_a_late_report(plane: ControlPlane) -> None:
    """A finished job is never set back to running."""
    plane.fail("done", Slow(1))  # for the report
    job = plane.run(say("sleep 0.8"))
    plane.wait(job)
    assert job.reports
    assert job.ended - job.taken > REPORT_EVERY_S + 1
    time.sleep(0.2)
    assert job.status == "COMPLETED"
    assert "audio" in job.output


def test_a_result_is_sent_again(plane: ControlPlane) -> None:
    """What the platform did not take the first time it gets a second time, and has once."""
    plane.fail("done", 500, 429, RESET)
    jobs = plane.run_all([say("One."), say("Two."), say("Three.")])
    assert [text_of(plane.wait(job).output) for job in jobs] == ["One.", "Two.", "Three."]
    assert [job.num_results for job in jobs] == [1, 1, 1]
    assert min(job.ended - job.taken for job in jobs) > 1  # none of them the first time


def test_a_refused_result_does_not_hurt_the_worker(plane: ControlPlane) -> None:
    """The SDK does not send again what was refused with 400; the next job is served."""
    plane.fail("done", 400)
    num_posts = plane.num_requests("done")
    lost = plane.run(say("Lost."))
    plane.wait_until(lambda: plane.num_requests("done") > num_posts)
    assert audio_of(plane.wait(plane.run(say("Next."))).output)
    time.sleep(0.2)
    plane.cancel(lost, "TIMED_OUT")
    assert lost.num_results == 0


@pytest.mark.parametrize(
    ("sync", "num_bytes", "fits"),
    [(False, 7_490_000, True), (False, 7_510_000, False), (True, 14_990_000, True)],
)
def test_what_fits_arrives(plane: ControlPlane, sync: bool, num_bytes: int, fits: bool) -> None:
    """Results up to the limit of their route arrive whole; larger ones fail with the way out."""
    job = plane.wait(plane.run(say(f"bytes {num_bytes}"), sync=sync))
    if fits:
        assert len(audio_of(job.output)) == num_bytes + 44
    else:
        assert job.status == "FAILED"
        assert job.error.startswith("result_too_large: the result has 10.0 MB and the platform")
        assert job.output["code"] == "result_too_large"


def test_everything_posted_is_plain_json(plane: ControlPlane) -> None:
    """Halves of characters and NaN in a result do not keep it from arriving."""
    job = plane.wait(plane.run(say("odd")))
    assert job.status == "COMPLETED"
    assert job.output["warnings"] == ["half \\ud83d"]
    assert job.output["audio"]["duration_s"] is None


def test_a_defect_is_a_failure_without_its_inside(plane: ControlPlane) -> None:
    """The caller gets a sentence and the id to look for, never a traceback."""
    job = plane.wait(plane.run(say("defect in line 3")))
    assert job.status == "FAILED"
    assert job.id in job.error
    assert "line 3" not in json.dumps(job.public())
    assert "Traceback" not in json.dumps(job.public())


def nested(depth: int) -> Raw:
    """Return lists in lists."""
    return Raw('{"text":' + "[" * depth + "]" * depth + "}")


def nested_list(depth: int) -> list[Any]:
    """Return the same for an input that is written as JSON later."""
    outer: list[Any] = []
    for _ in range(depth):
        outer = [outer]
    return outer


def credentials() -> Iterator[Any]:
    """Give inputs that hold credentials, in every place."""
    for key in ("aws_secret_access_key", "apiKey", "token", "s3Config", "password"):
        yield {"text": "Hi.", key: SENT_SECRET}
        yield {"text": "Hi.", "voice": {"audio": {key: SENT_SECRET}, "text": "x"}}
        yield {"text": {key: SENT_SECRET}}
        yield {key: {"a": [SENT_SECRET]}}
        yield {"batch": [{"text": "Hi."}, {"text": "Hi.", key: SENT_SECRET}]}
        forwarded = {"input": "Hi.", key: SENT_SECRET}
        yield {"openai_route": "/v1/audio/speech", "openai_input": forwarded}


HOSTILE: list[Any] = [
    None,
    "text",
    3,
    True,
    [],
    [{}],
    {},
    {"text": None},
    {"text": ""},
    {"text": "a" * 20_000_000},
    {"text": "\ud800"},
    nested(900),
    {"voice": {"audio": "A" * 5_000_000, "text": "x"}, "text": "Hi.", "more": {}},
    {"text": "Hi.", "seed": 10**4000},
    Raw('{"text": "Hi.", "seed": ' + "9" * 1_000_000 + "}"),
    Raw('{"text": -' + "9" * 5000 + "}"),
    {"batch": [{"text": 5}] * 64},
    {"batch": [{"batch": [{"text": "Hi."}]}]},
    {"batch": {"text": "Hi."}},
    {"batch": [None, [], "Hi.", 3, nested_list(900)]},
    {"batch": [{f"key{number}" * 9: number for number in range(200)}] * 64},
    {"batch": [{"text": "Hi."}] * 100_000},
    {"batch": [{"text": "Hi."}], "action": "info"},
    {"batch": [{"text": "Hi."}], "openai_route": "/v1/audio/speech"},
    {"openai_route": None, "openai_input": {"input": "Hi."}},
    {"openai_route": "/v1/audio/speech", "openai_input": [{"input": "Hi."}]},
    {"openai_route": "/v1/audio/speech", "openai_input": {"input": "Hi.", "voice": ["alloy"]}},
    {"text": "Hi.", "temperature": 1e400},
    {"text": "Hi.", "seed": -1},
    {"text": "Hi.", "top_k": "50"},
    {"text": "Hi.", "format": ["wav"]},
    {f"key{number}": number for number in range(20_000)},
    *credentials(),
]


def test_hostile_jobs(plane: ControlPlane) -> None:
    """Each fails with a clear sentence of ours, and none takes the worker with it."""
    jobs = plane.run_all(HOSTILE)
    for job in jobs:
        plane.wait(job)
        assert job.status == "FAILED", job.text[:200]
        code, _, sentence = job.error.partition(": ")
        assert code in ("invalid_request", "credentials_refused", "batch_failed")
        assert sentence
        assert len(json.dumps(job.public())) < 80_000
    assert {job.error.partition(":")[0] for job in jobs[-30:]} == {"credentials_refused"}
    beside = plane.run(say("Hi."), s3Config={"accessSecret": SENT_SECRET})
    assert plane.wait(beside).error.startswith("credentials_refused")


def test_a_deeply_nested_job_takes_no_other_with_it(plane: ControlPlane) -> None:
    """The SDK drops a batch that it cannot parse; it can parse whatever the platform can."""
    deep, good = plane.run_all([nested(9_900), say("Good.")])
    assert plane.wait(deep).error.startswith("invalid_request")
    assert text_of(plane.wait(good).output) == "Good."


def test_answers_that_hold_what_is_no_job(plane: ControlPlane) -> None:
    """What is no job is dropped, what has an id is answered, and everything else goes on."""
    running = plane.run(say("sleep 1.5"))
    plane.wait_until(lambda: running.taken)
    plane.fail(
        "take-batch",
        Instead(b"<html>no JSON</html>"),
        Instead(b""),
        Instead(b"[[0", "text/plain"),
        Beside(b", ".join(NO_JOBS)),
    )
    no_input = Job("no-input", '{"id": "no-input"}')
    large = Job("large", '{"id": "large", "input": {"x": [%s0]}}' % ("0," * 10**6))
    good = plane.run(say("Good."))
    plane.hand_out(no_input, large)
    assert text_of(plane.wait(good).output) == "Good."
    assert plane.wait(no_input).error.startswith("invalid_request: the job has no input")
    assert plane.wait(large).error.startswith("invalid_request: the input has more than 20000")
    assert plane.wait(running).status == "COMPLETED"


def test_a_job_that_is_handed_out_twice_is_answered_once(plane: ControlPlane) -> None:
    """In one answer, and again while it runs; when it has ended, it is a new job."""
    job = Job("again", json.dumps({"id": "again", "input": say("sleep 1.2")}))
    plane.hand_out(job, job)
    plane.wait_until(lambda: job.taken)
    plane.hand_out(job)
    plane.wait(job)
    time.sleep(0.3)
    assert job.num_results == 1
    job.ended = 0.0
    job.status = "IN_QUEUE"
    plane.hand_out(job)
    plane.wait(job)
    assert job.num_results == 2


def test_pings_name_what_runs(plane: ControlPlane) -> None:
    """The platform hears that the worker lives and what it works on."""
    job = plane.run(say("sleep 1.5"))
    plane.wait(job)
    assert any(job.id in ping.get("job_id", "") for ping in plane.pings)
    assert plane.auth == {API_KEY}


def test_a_platform_that_is_down_is_not_hammered(plane: ControlPlane) -> None:
    """Polls that fail, or bring nothing at once, are repeated twice a second."""
    for route in ("take", "take-batch"):
        plane.fail(route, *itertools.repeat(500, 4))
    before = plane.num_requests("take-batch")
    time.sleep(1.5)
    assert plane.num_requests("take-batch") - before <= 4
    for route in ("take", "take-batch"):
        plane._faults[route].clear()
    assert text_of(plane.wait(plane.run(say("Up again."))).output) == "Up again."


def test_slow_polls(plane: ControlPlane) -> None:
    """An answer that comes late, to a take or to a stop, is heard all the same."""
    plane.fail("take-batch", Slow(1))
    plane.fail("stop", Slow(1))
    assert text_of(plane.wait(plane.run(say("Late."))).output) == "Late."
