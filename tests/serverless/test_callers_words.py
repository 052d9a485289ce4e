"""What a caller wrote stands in no line of the log, whatever they wrote and however it ends."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from higgs_worker import logs
from higgs_worker.api.openai import SPEECH
from higgs_worker.api.request import SpeechRequest, names_of
from higgs_worker.build import build
from higgs_worker.errors import BatchFailed, DamagedVoice, InvalidRequest
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings
from higgs_worker.speech.service import SpeechService
from tests.fakes.scripted_model import scripted_model
from tests.fakes.speeches import runner as runner_of

WORD = "zyxwvut"
"""In everything that is sent; short enough to be quoted whole."""
BASE = {"text": f"Hello, {WORD}.", "max_duration_s": 0.2, "retries": 0}
URL = f"https://{WORD}.invalid/{WORD}.wav?signature={WORD}"


def inputs() -> Iterator[object]:
    """Yield jobs that are right, wrong and strange, with the word wherever one can write."""
    yield BASE
    for name in SpeechRequest.model_fields:
        yield BASE | dict.fromkeys(names_of(name), WORD)
        for value in (WORD, {WORD: WORD}, [WORD], f"[{WORD}] [pause {WORD}] {WORD}"):
            yield BASE | {name: value}
    for voice in (
        *({"audio": sent, "text": WORD} for sent in (URL, f"{WORD}.wav", f"data:{WORD},{WORD}")),
        *({"description": WORD}, {"audio": WORD, WORD: WORD}, {"name": WORD}, f"../{WORD}"),
    ):
        yield BASE | {"voice": voice}
        yield BASE | {"text": f"[{WORD}] Hi.", "speakers": {WORD: voice}}
    yield BASE | {WORD: 1, f"{WORD}_password": WORD}
    yield BASE | {WORD: 1, f"{WORD} 2": 2, "speed": WORD}
    yield BASE | {"voice_url": URL, "ref_text": WORD}
    yield {"batch": [BASE, {WORD: WORD}, WORD, BASE | {"voice": WORD}], WORD: WORD}
    yield {"batch": [BASE | {"key": WORD}] * 2}
    yield {"batch": WORD}
    yield {"openai_route": WORD}
    yield {"openai_route": SPEECH, WORD: 1}
    yield {"openai_route": SPEECH, "openai_input": WORD}
    for body in ({"input": WORD, "voice": WORD}, {"input": f"[{WORD}]", "model": WORD, WORD: 1}):
        yield {"openai_route": SPEECH, "openai_input": body}
    yield {"action": WORD}
    yield {"action": "delete_voice", "name": WORD}
    yield {"action": "save_voice", "name": WORD, "audio": URL, "text": WORD, "licence": WORD}
    yield {"action": "update_voice", "name": WORD, "text": WORD}
    yield {"action": "update_voice", "name": WORD, WORD: WORD}
    yield BASE | {"action": "read", "text": f"{WORD} for $5. [{WORD}]"}
    yield BASE | {"action": "read", WORD: WORD, "speed": WORD}
    yield {"action": "info", WORD: WORD}
    yield from (WORD, [WORD], {WORD: WORD})


class BrokenService:
    """Fails in ways whose messages hold what was sent."""

    def preload(self) -> None:
        """There is no model."""

    async def start(self, request: SpeechRequest, *args: object, **how: object) -> Any:
        """Fail as the language says."""
        text = request.text
        match request.language:
            case "aa":
                return {}[text]
            case "bb":
                return f"{text}\ud800".encode()
            case "cc":
                TypeAdapter(int).validate_python(text)
            case "dd":
                open(f"/nonexistent/{text}")  # noqa: SIM115
            case "ee":
                try:
                    return {}[text]
                except KeyError as error:
                    raise RuntimeError(text) from error
            case "ff":
                raise BatchFailed(text)
            case "gg":
                raise DamagedVoice(text)
        raise ExceptionGroup(text, [ValueError(text), InvalidRequest(text)])


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> io.StringIO:
    """Collect what this worker prints; `caplog` has the records, of its libraries too."""
    stream = io.StringIO()
    logs.setup("DEBUG", stream)
    caplog.set_level(logging.DEBUG)
    return stream


async def run_both_ways(worker: JobRunner, content: object) -> str:
    """Run a job, on an endpoint that streams too; return all outputs, as JSON."""
    job = {"id": "1", "input": content}
    return json.dumps([await worker.run(job), [each async for each in worker.stream(job)]])


@pytest.mark.slow
def test_no_job_s_words_are_logged(
    tmp_path: Any, log: io.StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither text nor fields, names, keys, addresses, tags; what is wrong is told by field."""
    settings = {"HIGGS_MODEL": "demo", "HIGGS_MAX_SLOTS": "1", "HIGGS_VOLUME": str(tmp_path)}
    worker = build(Settings.from_env(settings))

    async def run_all() -> list[str]:
        return [await run_both_ways(worker, content) for content in inputs()]

    outputs = asyncio.run(run_all())
    assert sum(WORD in each for each in outputs) > 50  # the caller's own reply quotes them
    assert WORD not in log.getvalue().lower()
    assert WORD not in caplog.text.lower()
    lines = [json.loads(each) for each in log.getvalue().splitlines()]
    assert not [each for each in lines if each["level"] == "ERROR"]
    assert {"speed"} in [set(each.get("fields", ())) for each in lines]
    assert {each["message"] for each in lines} >= {"spoke", "invalid_request", "unknown_voice"}


@pytest.mark.parametrize("language", ["aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh"])
def test_no_defect_repeats_them(
    log: io.StringIO, caplog: pytest.LogCaptureFixture, language: str
) -> None:
    """An error's message may hold anything; its class and its frames tell where to look."""
    worker = runner_of(BrokenService())
    asyncio.run(run_both_ways(worker, BASE | {"language": language, "text": WORD}))
    assert WORD not in log.getvalue()
    assert WORD not in caplog.text
    if language not in ("ff", "gg"):
        assert "in start" in log.getvalue()
        assert log.getvalue().count("Traceback") >= 2


def test_a_defect_within_a_chunk_does_not_either(log: io.StringIO) -> None:
    """Of a prompt, or of an engine that raises what it should not."""

    class BrokenPrompts:
        def build(self, text: str, setting: object) -> Any:
            return {}[text]

    model = scripted_model()
    object.__setattr__(model, "prompts", BrokenPrompts())
    output = asyncio.run(run_both_ways(runner_of(SpeechService(lambda: model)), BASE))
    assert "internal_error" in output
    assert "builtins.KeyError" in log.getvalue()
    assert WORD not in log.getvalue()
