"""OpenAI's requests as RunPod forwards them, on a worker with the embedded model."""

import asyncio
import base64
from typing import Any

import pytest

from higgs_worker.api.openai import (
    SPEECH,
    STAND_INS,
    error_object,
    has_stand_in,
    parse_speech,
    with_stand_in,
)
from higgs_worker.api.request import SpeechRequest
from higgs_worker.build import build
from higgs_worker.errors import EngineFailed, InvalidRequest, NoSound, PromptTooLong, QueueFull
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings
from higgs_worker.voices.library import PRESETS, VoiceLibrary


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> JobRunner:
    """A worker with an empty volume."""
    volume = str(tmp_path_factory.mktemp("volume"))
    settings = {"HIGGS_MODEL": "demo", "HIGGS_MAX_SLOTS": "1", "HIGGS_VOLUME": volume}
    return build(Settings.from_env(settings))


def forward(runner: JobRunner, route: object, body: object = None, **beside: Any) -> dict[str, Any]:
    """Run what RunPod makes of a request to an endpoint's /openai."""
    asked = {"openai_route": route, "openai_input": body} | beside
    return asyncio.run(runner.run({"id": "1", "input": asked}))


def test_speech(runner: JobRunner) -> None:
    """The audio is inside the answer, in OpenAI's usual format."""
    body = {"model": "tts-1", "input": "Hi.", "voice": "alloy", "max_duration_s": 0.4, "seed": 1}
    output = forward(runner, SPEECH, body)
    assert output["audio"]["format"] == "mp3"
    assert base64.b64decode(output["audio"]["base64"])


def test_failures_are_told_as_openai_tells_them(runner: JobRunner) -> None:
    """Beside what every failed job says; whose fault it is decides the type."""
    output = forward(runner, SPEECH, {"model": "tts-1", "input": "a", "response_format": "ogg"})
    assert output["error"].startswith("invalid_request: response_format must be 'wav'")
    assert output["details"]["errors"]
    assert output["message"] == output["error"].removeprefix("invalid_request: ")
    assert (output["type"], output["param"]) == ("invalid_request_error", "response_format")
    assert output["code"] == "invalid_request"
    assert forward(runner, "/v1/nothing")["param"] is None
    kinds = {QueueFull: "rate_limit_error", EngineFailed: "server_error", NoSound: "server_error"}
    kinds[PromptTooLong] = kinds[InvalidRequest] = "invalid_request_error"
    for error, kind in kinds.items():
        assert error_object(error("no"))["type"] == kind


def test_lists(runner: JobRunner) -> None:
    """A GET has no body."""
    models = forward(runner, "/v1/models")
    assert models == {
        "object": "list",
        "data": [{"id": "demo", "object": "model", "created": 0, "owned_by": "demo"}],
    }
    assert {"id": "clara", "name": "clara"} in forward(runner, "/v1/audio/voices", {})["voices"]


def test_a_streaming_worker_answers_too(runner: JobRunner) -> None:
    """A list is one piece; speech is streamed like any other."""

    async def pieces(route: object, body: object) -> list[dict[str, Any]]:
        asked = {"openai_route": route, "openai_input": body}
        return [each async for each in runner.stream({"id": "1", "input": asked})]

    (only,) = asyncio.run(pieces("/v1/models", None))
    assert only["object"] == "list"
    (refused,) = asyncio.run(pieces("/v1/nothing", None))
    assert refused["code"] == "invalid_request"
    *_, last = asyncio.run(pieces(SPEECH, {"input": "Hi.", "max_duration_s": 0.4}))
    assert last["finish_reason"] == "length"


def test_every_field_of_openai_has_a_meaning() -> None:
    """And those of ours stand beside them."""
    body = {
        "model": "gpt-4o-mini-tts",
        "input": "Hello.",
        "voice": {"id": "clara"},
        "instructions": "In a church.",
        "response_format": "opus",
        "speed": 1.5,
        "stream_format": "audio",
        "seed": 3,
    }
    request = parse_speech(body, max_text_chars=100).request
    assert request.voice is not None
    assert (request.text, request.voice.name, request.scene) == ("Hello.", "clara", "In a church.")
    assert (request.format, request.speed, request.seed) == ("opus", 1.5, 3)


BRACKETS = ("Dear [Your Name], hi.", "[Chorus] La.", "See [text][1].", "[lauhg] Ha.")


@pytest.mark.parametrize("text", BRACKETS)
def test_brackets_are_text(runner: JobRunner, text: str) -> None:
    """OpenAI's clients know no tags; who sends `strict_tags` beside OpenAI's fields is heard."""
    body = {"input": text, "max_duration_s": 0.4, "seed": 1}
    output = forward(runner, SPEECH, body)
    assert output["audio"]["base64"]
    doubts = [each for each in output["warnings"] if "was read as text; did you mean" in each]
    assert len(doubts) == ("[lauhg]" in text)
    strict = forward(runner, SPEECH, body | {"strict_tags": True})
    assert ("strict_tags to false" in strict.get("error", "")) == ("[1]" not in text)

    async def stream() -> list[dict[str, Any]]:
        asked = {"openai_route": SPEECH, "openai_input": body}
        return [each async for each in runner.stream({"id": "1", "input": asked})]

    assert asyncio.run(stream())[-1]["segments"][0]["text"].startswith(text.split(".")[0])


def test_openai_s_voices_have_stand_ins_unless_there_is_one_of_that_name() -> None:
    """Every stand-in is built in."""
    built_in = {each.name for each in VoiceLibrary(PRESETS).list()}
    assert set(STAND_INS.values()) <= built_in
    for voice, voices, expected in (
        ("Alloy", [], "clara"),
        ("alloy", ["Alloy"], "alloy"),
        ("nobody", [], "nobody"),
    ):
        request = SpeechRequest.parse({"text": "a", "voice": voice}, max_text_chars=100)
        spoken = with_stand_in(request, voices)
        assert has_stand_in(request) == (voice.lower() in STAND_INS)
        assert spoken.voice is not None
        assert spoken.voice.name == expected
    nobody = SpeechRequest.parse({"text": "a"}, max_text_chars=100)
    assert with_stand_in(nobody, []) is nobody
    assert not has_stand_in(nobody)


@pytest.mark.parametrize(
    ("route", "body", "beside", "message"),
    [
        ("/v1/images", {}, {}, "openai_route must be one of"),
        (["x"], {}, {}, "openai_route must be one of"),
        (SPEECH, None, {}, "the body must be an object"),
        (SPEECH, {"input": "a"}, {"text": "b"}, "'text' cannot stand beside openai_route"),
        (SPEECH, {"input": "a", "stream_format": "sse"}, {}, "stream_format must be 'audio'"),
        (SPEECH, {"input": "a", "stream_format": ["x"]}, {}, "stream_format must be 'audio'"),
        (SPEECH, {"input": "a", "voice": "nobody"}, {}, "nobody"),
        (SPEECH, {"input": "a", "voice": 5}, {}, "voice"),
        (SPEECH, {"input": "a", "inptu": "b"}, {}, "did you mean 'input'"),
        (SPEECH, {"input": "a", "api_key": "hunter2"}, {}, "credentials"),
    ],
)
def test_wrong_requests_are_refused(
    runner: JobRunner, route: object, body: object, beside: dict[str, Any], message: str
) -> None:
    """With what to do."""
    output = forward(runner, route, body, **beside)
    assert message in output["error"]
    assert "hunter2" not in output["error"]
