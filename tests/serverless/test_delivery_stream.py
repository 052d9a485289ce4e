"""Streaming deployments: pieces through the real SDK in its own process."""

import base64
import hashlib
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.fakes.control_plane import MAX_PIECE_BYTES, ControlPlane, Job, Slow
from tests.fakes.delivery import SCRIPTED, Worker, leaked

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """The platform."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module", autouse=True)
def worker(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One streaming worker for all of these tests."""
    directory = tmp_path_factory.mktemp("streaming")
    settings = {"HIGGS_STREAM": "true", "HIGGS_JOB_TIMEOUT_S": "2"}
    with Worker(plane, directory, SCRIPTED, **settings) as worker:
        yield worker
        assert worker.process.poll() is None, worker.log[-5000:]
        assert leaked(plane, worker) == []


def speak(plane: ControlPlane, text: str, **fields: Any) -> Job:
    """Run one job to its end."""
    return plane.wait(plane.run({"text": text, "format": "pcm"} | fields))


def audio_of(pieces: list[Any]) -> bytes:
    """Join the audio of the pieces."""
    return b"".join(base64.b64decode(piece["audio"]["base64"]) for piece in pieces)


def test_a_job_is_heard_while_it_is_spoken(plane: ControlPlane) -> None:
    """A client that polls `/stream` has the first sound long before the last."""
    sent = plane.call("run", {"input": {"text": "pieces 14 0.3 0.1"}})
    heard, moments = [], []
    while True:
        answer = plane.call(f"stream/{sent['id']}")
        heard += [each["output"] for each in answer["stream"]]
        moments.append(time.monotonic())
        if answer["status"] == "COMPLETED":
            break
    *pieces, last = heard
    assert len(pieces) >= 4
    assert moments[-1] - moments[0] > 0.8
    assert [piece["index"] for piece in heard] == list(range(len(heard)))
    audio = audio_of(pieces)
    assert audio[:4] == b"RIFF"
    assert pieces[0]["audio"] | {"base64": ""} == {
        "format": "wav",
        "mime_type": "audio/wav",
        "sample_rate": 24000,
        "base64": "",
    }
    assert last["audio"]["num_bytes"] == len(audio)
    assert last["audio"]["sha256"] == hashlib.sha256(audio).hexdigest()
    assert "base64" not in last["audio"]
    assert last["finish_reason"] == "stop"
    assert plane.call(f"status/{sent['id']}")["output"] == heard


def test_every_sample_arrives_in_order(plane: ControlPlane) -> None:
    """The pieces, joined, are the sound, whatever lengths it came in."""
    *pieces, _ = speak(plane, "pieces 9 0.11 0").pieces
    samples = np.frombuffer(audio_of(pieces), "<i2")
    ramp = np.arange(9 * 2640) / 32768 * 32767
    assert len(samples) == len(ramp)
    assert np.abs(samples - ramp).max() < 1


def test_large_pieces_are_divided(plane: ControlPlane) -> None:
    """No piece is larger than the platform takes."""
    before = len(plane.bodies)
    job = speak(plane, "pieces 1 40 0")
    assert len(job.pieces) == 4
    assert len(audio_of(job.pieces[:-1])) == 40 * 24000 * 2
    posted = [len(body) for body in plane.bodies[before:-1]]
    assert max(posted) <= MAX_PIECE_BYTES
    assert max(posted) > 0.99 * MAX_PIECE_BYTES


def test_a_slow_platform_does_not_hold_up_generation(plane: ControlPlane) -> None:
    """What is spoken while a piece is on its way gathers in the next one."""
    plane.fail("stream", Slow(1))
    job = speak(plane, "pieces 10 0.3 0.05")
    *pieces, last = job.pieces
    assert last["timing"]["total_s"] < 0.9
    assert len(pieces) == 2
    assert len(audio_of(pieces)) == 10 * 7200 * 2


def test_a_stream_larger_than_any_result(plane: ControlPlane) -> None:
    """All of it is streamed, and the job's output, which cannot hold it, says so."""
    job = speak(plane, "pieces 30 10 0")
    assert job.status == "COMPLETED"
    *pieces, last = job.pieces
    assert len(audio_of(pieces)) == 30 * 10 * 24000 * 2
    assert "only streamed" in last["warnings"][0]
    assert len(job.output) == len(job.pieces)
    assert job.output[-1] == last
    assert "audio" not in job.output[0]


def test_a_failure_ends_the_stream(plane: ControlPlane) -> None:
    """A job that fails before or in the middle is FAILED, with our sentence."""
    wrong = speak(plane, "pieces 1 1 0", loudness_lufs=-20)
    assert wrong.status == "FAILED"
    assert wrong.error.startswith("invalid_request: loudness_lufs needs the whole sound")
    assert not wrong.pieces
    unknown = speak(plane, "pieces 1 1 0", sped=2)
    assert unknown.error.startswith("invalid_request: unknown field 'sped'")
    defect = speak(plane, "pieces one 1 0")
    assert defect.error.startswith(f"internal_error: the worker failed on job '{defect.id}'")
    late = speak(plane, "pieces 40 0.3 0.3")
    assert late.error.startswith("deadline_exceeded")
    assert late.pieces


@pytest.mark.parametrize("moment", ["between", "while posting"])
def test_a_cancelled_stream_stops_the_speech(plane: ControlPlane, moment: str) -> None:
    """Wherever the SDK is when the stop comes, what speaks is told."""

    def num_left() -> int:
        return int(speak(plane, "pieces 1 0.1 0").pieces[-1]["seed"])

    before = num_left()
    if moment == "while posting":
        plane.fail("stream", Slow(4))
    job = plane.run({"text": "pieces 1000 0.6 0.05", "format": "opus"})
    if moment == "between":
        plane.wait_until(lambda: len(job.pieces) > 2)
    else:
        plane.wait_until(lambda: job.taken)
        time.sleep(0.7)
    plane.cancel(job)
    deadline = time.monotonic() + 3
    while num_left() != before + 1:
        assert time.monotonic() < deadline
    assert job.num_results == 0
