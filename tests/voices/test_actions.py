"""Jobs that keep voices, on the embedded model."""

import asyncio
import base64
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.api.action import ReadText
from higgs_worker.api.request import SpeechRequest
from higgs_worker.build import build
from higgs_worker.delivery.budget import SizeBudget
from higgs_worker.errors import ResultTooLarge
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings
from higgs_worker.voices.library import VoiceLibrary
from tests.fakes.library import make_wav
from tests.voices.test_references import babble


@pytest.fixture
def runner(tmp_path: Path) -> JobRunner:
    """A worker with an empty volume."""
    return build(Settings.from_env({"HIGGS_MODEL": "demo", "HIGGS_VOLUME": str(tmp_path)}))


def run(runner: JobRunner, **asked: Any) -> dict[str, Any]:
    """Run one job."""
    return asyncio.run(runner.run({"id": "1", "input": asked}))


def test_a_voice_is_saved_listed_and_deleted(runner: JobRunner) -> None:
    """What a job saves every worker of the volume has, until a job deletes it."""
    audio = base64.b64encode(babble(1)).decode()
    saved = run(runner, action="save_voice", name="Anna", audio=audio, text="What I said.")
    assert saved["voice"]["name"] == "Anna"
    assert saved["warnings"] == []
    listed = run(runner, action="list_voices")["voices"]
    assert "Anna" in [each["name"] for each in listed]
    assert run(runner, action="delete_voice", name="Anna") == {"deleted": "Anna"}
    assert run(runner, action="delete_voice", name="Anna")["code"] == "unknown_voice"


def test_a_voice_is_changed(runner: JobRunner, tmp_path: Path) -> None:
    """Only what is sent; null takes a note away; what is not sent stays."""
    saved = asdict(VoiceLibrary(tmp_path / "voices").add("Anna", make_wav(24_000), "One word."))
    noted = run(runner, action="update_voice", name="anna", description="calm", licence="CC0")
    assert noted["voice"] == saved | {"description": "calm", "licence": "CC0"}
    changes = {"new_name": "Hannah", "text": "Two words.", "licence": None}
    told = run(runner, action="update_voice", name="Anna", **changes)
    assert told["warnings"] == []
    assert told["voice"] == saved | {
        "name": "Hannah",
        "text": "Two words.",
        "description": "calm",
    }
    assert told["voice"] in run(runner, action="list_voices")["voices"]
    assert run(runner, action="update_voice", name="Anna", text="x")["code"] == "unknown_voice"


def test_a_text_is_read(runner: JobRunner) -> None:
    """No model is there, and none is loaded; voices are not looked for."""
    told = run(runner, action="read", text="It costs $5. Fine.", voice="nobody", format="mp3")
    assert [each["text"] for each in told["sentences"]] == ["It costs $5.", "Fine."]
    assert told["sentences"][0]["spoken"] == "It costs five dollars."
    assert "spoken" not in told["sentences"][1]
    assert told.keys() == {
        "language",
        "sentences",
        "num_characters",
        "num_words",
        "num_chunks",
        "expected_s",
        "warnings",
    }


def test_what_cannot_be_spoken_cannot_be_read(runner: JobRunner) -> None:
    """The same fields are checked in the same way, and all problems are told together."""
    both = {"text": "Hi. [sihg]", "speed": 9, "temprature": 1, "key": 7}
    asked = run(runner, action="read", **both)
    assert asked["details"]["errors"] == run(runner, **both)["details"]["errors"]
    assert len(asked["details"]["errors"]) == 3
    unknown_tag = {"text": "Hi. [sihg]"}
    assert run(runner, action="read", **unknown_tag) == run(runner, **unknown_tag)
    too_long = run(runner, action="read", text="a" * 20_001)
    assert "20001 characters and at most 20000" in too_long["error"]
    batch = run(runner, batch=[{"text": "Hi.", "action": "read"}])
    assert "unknown field 'action'" in batch["details"]["batch"][0]["error"]


def test_a_reading_that_does_not_fit_is_refused(runner: JobRunner) -> None:
    """What the platform would drop without a word is told as an error."""
    reading = ReadText(SpeechRequest.parse({"text": "One. " * 100}, max_text_chars=1000))
    with pytest.raises(ResultTooLarge) as caught:
        asyncio.run(runner.responder.act(reading, SizeBudget(1000)))
    assert caught.value.details["num_bytes"] > caught.value.details["max_bytes"] == 1000


def test_info_says_what_this_is(runner: JobRunner) -> None:
    """Version and model, without loading anything."""
    assert run(runner, action="info")["model"] == {"id": "demo"}


def test_a_streaming_worker_acts_too(runner: JobRunner) -> None:
    """There the one answer is the one piece."""

    async def pieces() -> list[dict[str, Any]]:
        return [each async for each in runner.stream({"id": "1", "input": {"action": "info"}})]

    (only,) = asyncio.run(pieces())
    assert only["model"] == {"id": "demo"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"action": "list_voice"}, "did you mean 'list_voices'?"),
        ({"action": 5}, "action must be one of"),
        ({"action": "save_voice", "name": "a"}, "save_voice needs 'audio'"),
        ({"action": "delete_voice", "name": 5}, "name must be a string, not 5"),
        ({"action": "delete_voice", "name": "../x"}, "name"),
        ({"action": "info", "text": "x"}, "info takes no field 'text'"),
        ({"action": "save_voice", "name": "a", "audio": 1, "text": "x"}, "needs 'audio'"),
        (
            {"action": "save_voice", "name": "a", "audio": "x", "text": "y", "replace": 1},
            "replace must be true or false",
        ),
        ({"action": "update_voice", "text": "x"}, "update_voice needs 'name'"),
        ({"action": "update_voice", "name": 5, "text": "x"}, "name must be a string, not 5"),
        (
            {"action": "update_voice", "name": "a"},
            "nothing is to be changed; send any of new_name, text, description, licence",
        ),
        (
            {"action": "update_voice", "name": "a", "audio": "x"},
            "'audio' of a voice cannot be changed, only new_name, text, description, licence",
        ),
        ({"action": "update_voice", "name": "a", "text": None}, "text must be a string, not null"),
        ({"action": "update_voice", "name": "a", "licence": 5}, "licence must be a string"),
        ({"action": "update_voice", "name": "a", "new_name": "../x"}, "name of a voice is"),
        (
            {"action": "update_voice", "name": "clara", "text": "x"},
            "'clara' is a built-in voice and cannot be changed; save a recording of your own",
        ),
        ({"action": "read"}, "text"),
        ({"action": "read", "text": " "}, "text is empty"),
        ({"action": "read", "text": "x", "name": "a"}, "unknown field 'name'"),
        ({"action": "info", "api_key": "x"}, "credentials do not belong"),
    ],
)
def test_wrong_actions_are_refused(
    runner: JobRunner, asked: dict[str, object], message: str
) -> None:
    """The error says what is wrong, and the worker goes on."""
    failed = run(runner, **asked)
    assert message in failed["error"]
