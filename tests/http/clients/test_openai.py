"""OpenAI's own package for Python, on the real server with the demo model."""

import asyncio
import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.fakes.http_worker import (
    RATE,
    ROOT,
    WORKER_PYTHON,
    HttpWorker,
    decoded,
    is_same,
    is_speech,
    pcm_of,
)
from tests.http.clients.recipes import recipes, run_python

pytestmark = pytest.mark.slow
TEXT = "Good morning to you."
SEED = 7
SPOKEN: dict[str, Any] = {
    "model": "tts-1",
    "voice": "clara",
    "input": TEXT,
    "extra_body": {"seed": SEED},
}


@pytest.fixture
def client(worker: HttpWorker, key: str) -> Iterator[OpenAI]:
    """As its users make one."""
    with OpenAI(base_url=f"{worker.url}/v1", api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected(worker: HttpWorker) -> np.ndarray:
    """What a job with the same seed says."""
    pcm = worker.job_pcm(TEXT, SEED, voice="clara")
    assert is_speech(pcm, 1.04), len(pcm)
    return pcm


def test_whole(client: OpenAI, expected: np.ndarray) -> None:
    """The default is MP3, as long as the job's audio."""
    reply = client.audio.speech.create(**SPOKEN)
    assert reply.response.headers["content-type"] == "audio/mpeg"
    assert is_speech(decoded(reply.content), len(expected) / RATE)
    assert reply.response.headers["x-higgs-seed"] == str(SEED)


def test_a_wav(client: OpenAI, expected: np.ndarray) -> None:
    """A seed gives the job's samples."""
    reply = client.audio.speech.create(**SPOKEN, response_format="wav")
    assert is_same(decoded(reply.content), expected)


def test_streamed(client: OpenAI, expected: np.ndarray) -> None:
    """The pieces come one by one, and are the job's audio together."""
    with client.audio.speech.with_streaming_response.create(
        **SPOKEN, response_format="pcm"
    ) as reply:
        pieces = list(reply.iter_bytes())
    assert len(pieces) > 1
    assert is_same(pcm_of(b"".join(pieces)), expected)


@pytest.mark.long
def test_the_command_line_says_the_same(expected: np.ndarray, tmp_path: Path) -> None:
    """`higgs-worker say` is another process, and has the same samples."""
    command = ["-m", "higgs_worker", "say", TEXT, "--seed", str(SEED), "--voice", "clara"]
    subprocess.run(
        [WORKER_PYTHON, *command, "-o", "said.flac"],
        cwd=tmp_path,
        env={**os.environ, "HIGGS_MODEL": "demo", "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    assert is_same(decoded((tmp_path / "said.flac").read_bytes()), expected)


def test_events(client: OpenAI, expected: np.ndarray) -> None:
    """`stream_format: "sse"` gives OpenAI's two events, and the usage with the last."""
    with client.audio.speech.with_streaming_response.create(
        **SPOKEN, response_format="pcm", stream_format="sse"
    ) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    *deltas, done = (json.loads(line.removeprefix("data: ")) for line in lines)
    assert {each["type"] for each in deltas} == {"speech.audio.delta"}
    audio = b"".join(base64.b64decode(each["audio"]) for each in deltas)
    assert is_same(pcm_of(audio), expected)
    assert done["type"] == "speech.audio.done"
    usage = done["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["output_tokens"] == pytest.approx(len(expected) / 960, abs=1)


def test_voices_of_openai(client: OpenAI, expected: np.ndarray) -> None:
    """They speak too, by another voice of the same kind; a voice may be an object."""
    for voice in ("alloy", {"id": "clara"}):
        reply = client.audio.speech.create(
            **SPOKEN | {"voice": voice, "model": "gpt-4o-mini-tts"}, response_format="pcm"
        )
        assert is_same(pcm_of(reply.content), expected)


def test_both_at_once(worker: HttpWorker, key: str, expected: np.ndarray) -> None:
    """The asynchronous client; neither request hears the other."""

    async def speak() -> list[bytes]:
        async with AsyncOpenAI(base_url=f"{worker.url}/v1", api_key=key) as client:
            replies = await asyncio.gather(
                *(client.audio.speech.create(**SPOKEN, response_format="pcm") for _ in range(2))
            )
            return [each.content for each in replies]

    for audio in asyncio.run(speak()):
        difference = pcm_of(audio).astype(int) - expected
        assert np.abs(difference).max() <= 33  # batched products round otherwise: -60 dB


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"voice": "nobody"}, "voice"),
        ({"input": ""}, "input"),
        ({"response_format": "midi"}, "response_format"),
        ({"extra_body": {"tempratur": 1}}, "tempratur"),
    ],
)
def test_refusals(client: OpenAI, changed: dict[str, Any], param: str) -> None:
    """A wrong request raises BadRequestError with the field, a code and a sentence."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.audio.speech.create(**SPOKEN | changed)
    assert caught.value.param == param
    assert caught.value.code in ("invalid_request", "unknown_voice")
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


def test_a_wrong_key(worker: HttpWorker) -> None:
    """Raises AuthenticationError."""
    with (
        OpenAI(base_url=f"{worker.url}/v1", api_key="wrong") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.audio.speech.create(**SPOKEN)


def test_leaving(client: OpenAI, worker: HttpWorker) -> None:
    """Who stops listening stops the speech."""
    told = worker.log.count('"cancelled"')
    long = SPOKEN | {"input": f"{TEXT} " * 50}
    with client.audio.speech.with_streaming_response.create(**long, response_format="pcm") as reply:
        next(reply.iter_bytes())
    deadline = time.monotonic() + 10
    while worker.log.count('"cancelled"') == told:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_models(client: OpenAI) -> None:
    """The list has one, and whatever a request names is this one."""
    (model,) = client.models.list().data
    assert model.id == "demo"
    assert isinstance(model.created, int)


def test_a_voice_of_one_s_own(client: OpenAI, worker: HttpWorker, expected: np.ndarray) -> None:
    """Can be made, heard and removed with the package's own methods."""
    if not hasattr(client.audio, "voices"):
        pytest.skip("this version has no voices")
    recording = client.audio.speech.create(
        **SPOKEN | {"input": f"{TEXT} And to you, and to all of us here."}, response_format="wav"
    )
    made = client.audio.voices.create(
        name="Anna",
        audio_sample=("anna.wav", recording.content, "audio/wav"),
        consent="her own recording",
        extra_body={"transcript": f"{TEXT} And to you, and to all of us here."},
    )
    assert (made.id, made.name, made.object) == ("Anna", "Anna", "audio.voice")
    reply = client.audio.speech.create(**SPOKEN | {"voice": "Anna"}, response_format="pcm")
    assert is_speech(pcm_of(reply.content), len(expected) / RATE, tolerance_s=0.3)
    gone = client.audio.voices.delete("Anna")
    assert (gone.id, gone.deleted, gone.object) == ("Anna", True, "audio.voice.deleted")
    with pytest.raises(openai.NotFoundError):
        client.audio.voices.delete("Anna")


def test_the_page_s_snippet(
    worker: HttpWorker, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes a file of speech."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HIGGS_API_KEY", key)
    (snippet,) = recipes("OpenAI, Python", worker.address)
    run_python(snippet)
    assert is_speech(decoded((tmp_path / "speech.mp3").read_bytes()), 1.04)
