"""Jobs that keep voices, on the embedded model."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.build import build
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings
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
        ({"action": "info", "api_key": "x"}, "credentials do not belong"),
    ],
)
def test_wrong_actions_are_refused(
    runner: JobRunner, asked: dict[str, object], message: str
) -> None:
    """The error says what is wrong, and the worker goes on."""
    failed = run(runner, **asked)
    assert message in failed["error"]
