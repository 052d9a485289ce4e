"""Jobs: one reply for every job, always of the platform's shape and size."""

import asyncio
import base64
import hashlib
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import ModelInfo, Segment, SpeechResult, Timing, Usage
from higgs_worker.audio.encode import encode
from higgs_worker.delivery.sink import SpeechSource
from higgs_worker.errors import NoSound
from tests.fakes.speeches import RATE, TONE, FixedService, runner

AUDIO = encode(TONE, RATE, "wav")
RESULT = SpeechResult(
    duration_s=1.23456,
    segments=(),
    seed=7,
    finish_reason="stop",
    warnings=("a warning",),
    usage=Usage(text_tokens=3, audio_frames=31, characters=6),
    timing=Timing(queue_s=0.00049, load_s=0.0, first_audio_s=0.1, total_s=0.5, rtf=0.40504),
    model=ModelInfo(id="demo", revision=None),
)


class EchoService(FixedService):
    """Says a second of sound, with the text as the result's only segment."""

    def __init__(self, pcm: np.ndarray = TONE) -> None:
        super().__init__(pcm)

    async def start(self, request: SpeechRequest, *args: Any, **how: Any) -> SpeechSource:
        """Prepare to say it."""
        self.result = replace(RESULT, segments=(Segment(request.text, None, 0.0, 1.23456),))
        return await super().start(request, *args, **how)


class BrokenService:
    """Fails with what it was given."""

    def __init__(self, failure: BaseException) -> None:
        self.failure = failure

    async def start(self, request: SpeechRequest, *args: Any, **how: Any) -> SpeechSource:
        """Raise."""
        raise self.failure


def run(job: object, service: Any = None, save_dir: Path | None = None) -> dict[str, Any]:
    """Run one job and check that its output can be posted."""
    output = asyncio.run(runner(service or EchoService(), save_dir=save_dir).run(job))
    json.dumps(output, allow_nan=False, ensure_ascii=False).encode("utf-8")
    return output


def job(text: str = "Hello.", job_id: str = "job-1") -> dict[str, Any]:
    """Return a job as RunPod hands it over."""
    return {"id": job_id, "input": {"text": text}, "webhook": None}


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what was logged, also after something configured the worker's logger."""
    monkeypatch.setattr(logging.getLogger("higgs_worker"), "propagate", True)
    with caplog.at_level(logging.INFO, "higgs_worker"):
        yield caplog


def test_the_shape_of_a_success() -> None:
    """A result is spelled out completely (docs/requests.md), seconds to the millisecond."""
    assert run(job()) == {
        "audio": {
            "format": "wav",
            "mime_type": "audio/wav",
            "sample_rate": 24000,
            "channels": 1,
            "duration_s": 1.235,
            "num_bytes": len(AUDIO),
            "sha256": hashlib.sha256(AUDIO).hexdigest(),
            "base64": base64.b64encode(AUDIO).decode(),
        },
        "segments": [{"text": "Hello.", "speaker": None, "start_s": 0.0, "end_s": 1.235}],
        "seed": 7,
        "finish_reason": "stop",
        "warnings": ["a warning"],
        "usage": {"text_tokens": 3, "audio_frames": 31, "characters": 6},
        "timing": {
            "queue_s": 0.0,
            "load_s": 0.0,
            "first_audio_s": 0.1,
            "total_s": 0.5,
            "rtf": 0.405,
        },
        "model": {"id": "demo", "revision": None},
    }


@pytest.mark.parametrize("wrong", [None, "job", [], 3])
def test_a_job_that_is_no_object(wrong: object) -> None:
    """Whatever the platform hands over is answered."""
    assert run(wrong)["code"] == "invalid_request"


def test_a_job_without_input() -> None:
    """The reply shows what a job looks like."""
    assert run({"id": "1"})["error"].startswith("invalid_request: the job has no input; send {")
    assert "must be an object" in run({"id": "1", "input": None})["error"]


def test_all_problems_reach_the_caller() -> None:
    """The output of a refused job holds the code and every problem."""
    output = run({"id": "1", "input": {"txt": "a"}})
    assert output == {
        "error": "invalid_request: unknown field 'txt'; did you mean 'text'? (and 1 more)",
        "code": "invalid_request",
        "details": {
            "errors": [
                {"field": "txt", "message": "unknown field 'txt'; did you mean 'text'?"},
                {"field": "text", "message": "text is required; send what should be said"},
            ]
        },
    }


def test_credentials_beside_the_input_are_refused() -> None:
    """The platform's own place for bucket credentials is refused, but not its being empty."""
    secret = {"s3Config": {"accessSecret": "hunter2hunter2"}}
    output = run(job() | secret)
    assert output["code"] == "credentials_refused"
    assert "hunter2" not in json.dumps(output)
    assert "error" not in run(job() | {"s3Config": None})


def test_a_worker_error_keeps_its_code() -> None:
    """Known failures say what they are; nothing has to be guessed from prose."""
    failure = NoSound("nothing was heard", details={"frames": 0, "odd": float("nan")})
    assert run(job(), BrokenService(failure)) == {
        "error": "no_sound: nothing was heard",
        "code": "no_sound",
        "details": {"frames": 0, "odd": None},
    }


def test_a_defect_is_logged_and_not_shown(log: pytest.LogCaptureFixture) -> None:
    """Class and frames go to the log; the caller gets the id to look for."""
    output = run(job(job_id="job-\ud800"), BrokenService(RuntimeError("inner detail")))
    assert output["code"] == "internal_error"
    assert "job-\\ud800" in output["error"]
    assert "inner detail" not in json.dumps(output)
    (record,) = log.records
    assert record.exception.endswith("builtins.RuntimeError")  # type: ignore[attr-defined]
    assert "in start\n" in record.exception  # type: ignore[attr-defined]


def test_a_wrong_result_is_a_defect() -> None:
    """A service that returns nonsense does not break the reply."""

    class SilentService:
        async def start(self, request: SpeechRequest, *args: object, **how: object) -> None:
            return None

    assert run(job(), SilentService())["code"] == "internal_error"


def test_cancelling_is_not_a_failure() -> None:
    """The platform's cancel passes through."""
    with pytest.raises(asyncio.CancelledError):
        run(job(), BrokenService(asyncio.CancelledError()))


@pytest.mark.parametrize(("job_id", "limit"), [("job-1", 10_000_000), ("sync-1", 20_000_000)])
def test_the_platform_s_limit_is_exact(job_id: str, limit: int) -> None:
    """The largest result that fits is returned; three bytes more are refused with a way out."""
    empty = run(job(job_id=job_id), EchoService(np.zeros(1, np.float32)))
    overhead = len(json.dumps({"output": empty}, ensure_ascii=False).encode())
    # Ten: num_bytes has more digits than in `empty`. A sample has two bytes.
    num_samples = ((limit - overhead - 10) // 4 * 3) // 2
    fits = run(job(job_id=job_id), EchoService(np.zeros(num_samples, np.float32)))
    posted = len(json.dumps({"output": fits}, ensure_ascii=False).encode())
    assert limit - 20 < posted <= limit
    refused = run(job(job_id=job_id), EchoService(np.zeros(num_samples + 8, np.float32)))
    assert refused["code"] == "result_too_large"
    assert "max_duration_s" in refused["error"]
    assert ("/runsync" in refused["error"]) == (job_id == "job-1")
    assert refused["details"]["max_bytes"] == limit


@pytest.mark.parametrize(
    ("job_id", "name"),
    [
        ("local_test", "local_test.wav"),
        ("../../etc/x", "_.._etc_x.wav"),
        ("sync-é", "sync-_.wav"),
        ("...", "job.wav"),
        ("a" * 300, "a" * 100 + ".wav"),
    ],
)
def test_audio_is_saved_under_a_safe_name(tmp_path: Path, job_id: str, name: str) -> None:
    """A job's id never leads out of the directory."""
    run(job(job_id=job_id), save_dir=tmp_path / "new")
    assert [each.name for each in tmp_path.rglob("*.wav")] == [name]
    assert (tmp_path / "new" / name).read_bytes() == AUDIO


def test_a_failed_save_is_a_warning(tmp_path: Path) -> None:
    """The result is returned although the disk refused it."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    output = run(job(), save_dir=blocked)
    assert output["audio"]["base64"]
    assert "could not be saved" in output["warnings"][1]


def test_one_line_per_job_without_its_text(log: pytest.LogCaptureFixture) -> None:
    """The log has the figures of a job and not what was said."""
    run(job("My private words."))
    (record,) = log.records
    assert vars(record)["characters"] == 6
    assert vars(record)["total_s"] == 0.5
    assert vars(record)["job_s"] >= 0
    assert "private" not in str(vars(record))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
)
KEYS = st.sampled_from(["id", "input", "text", "prompt", "scene", "seed", "top_k", "format"]) | (
    st.text(st.characters(exclude_categories=()), max_size=20)
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(anything=JSON)
def test_any_job_gets_one_reply(anything: object) -> None:
    """Whatever JSON arrives as a job, the reply is a result or a failure, and can be posted."""
    output = run(anything)
    assert ("audio" in output) != ("error" in output)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    job_id=SCALARS,
    given_input=JSON | st.dictionaries(KEYS, JSON, max_size=5),
    text=st.text(st.characters(exclude_categories=()), min_size=1, max_size=20),
)
def test_any_input_gets_one_reply(job_id: object, given_input: object, text: str) -> None:
    """The same for `input`, with and without a text beside whatever else it holds."""
    for content in (given_input, {"text": text}):
        output = run({"id": job_id, "input": content})
        assert ("audio" in output) != ("error" in output)
        if "error" in output:
            assert output["error"].startswith(f"{output['code']}: ")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(anything=JSON)
def test_any_job_of_a_streaming_worker_gets_one_reply(anything: object) -> None:
    """What is wrong is one piece with the error, which the SDK makes the job's failure."""

    async def pieces() -> list[dict[str, Any]]:
        return [piece async for piece in runner(EchoService()).stream(anything)]

    *_, last = asyncio.run(pieces())
    assert ("audio" in last) != ("error" in last)
    if "error" in last:
        assert last["error"].startswith(f"{last['code']}: ")
