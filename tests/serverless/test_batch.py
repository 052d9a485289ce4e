"""Many texts in one job: each is answered, in order, whatever becomes of the others."""

import asyncio
import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.api.request import SpeechRequest
from higgs_worker.deadlines import Deadlines
from higgs_worker.delivery.sink import SpeechSource
from higgs_worker.errors import EngineFailed
from tests.fakes.speeches import FixedSpeech, TextService, runner, text_in
from tests.serverless.test_output import Shelf


class Reciting(TextService):
    """Says each text as samples; it counts who speaks, and fails or waits when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.num_speaking = self.most_speaking = 0

    async def start(self, request: SpeechRequest, *args: Any, **how: Any) -> SpeechSource:
        """Prepare to say the text; "fail" fails, "wait" never ends."""
        self.num_speaking += 1
        self.most_speaking = max(self.most_speaking, self.num_speaking)
        try:
            await asyncio.sleep(10**6 if request.text == "wait" else 0.001)
        finally:
            self.num_speaking -= 1
        if request.text == "fail":
            raise EngineFailed("the device failed on this")
        speech = await super().start(request, *args, **how)
        if request.text == "large":
            return FixedSpeech(request, np.zeros(2_500_000, np.float32), self.result)
        return speech


def run(given: Any, service: Any = None, job_id: str = "7", **parts: Any) -> dict[str, Any]:
    """Run one batch job."""
    batches = runner(service or Reciting(), **parts)
    output = asyncio.run(batches.run({"id": job_id, "input": given}))
    json.dumps(output, allow_nan=False, ensure_ascii=False).encode("utf-8")
    return output


def texts_of(output: dict[str, Any]) -> list[str]:
    """Return what is heard, text by text; of a failure its code."""
    return [
        each["code"] if "error" in each else text_in(base64.b64decode(each["audio"]["base64"]))
        for each in output["batch"]
    ]


def test_texts_are_spoken_together_and_answered_in_order() -> None:
    """The last one may be done first."""
    service = Reciting()
    output = run({"batch": [{"text": f"Text {n}."} for n in range(64)]}, service)
    assert texts_of(output) == [f"Text {n}." for n in range(64)]
    assert output["num_failed"] == 0
    assert service.most_speaking == 64


def test_one_that_fails_leaves_the_others_alone() -> None:
    """Its own reply says what is wrong with it."""
    output = run({"batch": [{"text": "One."}, {"text": "fail"}, {"txt": "?"}, 5, {"text": "Two."}]})
    assert texts_of(output) == ["One.", "engine_failed", *["invalid_request"] * 2, "Two."]
    assert output["num_failed"] == 3
    assert [each["index"] for each in output["batch"]] == list(range(5))
    assert "did you mean 'text'" in output["batch"][2]["error"]


def test_a_batch_of_failures_is_a_failed_job() -> None:
    """The platform shows it as FAILED, and the details say why."""
    output = run({"batch": [{"text": "fail"}, {"text": ""}]})
    assert output["error"].startswith("batch_failed: none of the 2 texts could be spoken")
    codes = [each["code"] for each in output["details"]["batch"]]
    assert codes == ["engine_failed", "invalid_request"]


def test_fields_beside_the_batch_hold_for_all_that_say_nothing_else() -> None:
    """Whichever of its names a field has."""
    service = Reciting()
    batch = [{"text": "a"}, {"text": "b", "response_format": "flac"}, {"text": "c", "seed": 1}]
    run({"batch": batch, "format": "mp3", "seed": 9, "voice": "Anna"}, service)
    by_text = {each.text: each for each in service.requests}
    assert [by_text[text].format for text in "abc"] == ["mp3", "flac", "mp3"]
    assert [by_text[text].seed for text in "abc"] == [9, 9, 1]
    service = Reciting()
    run({"batch": batch, "format": "ulaw"}, service)
    assert {each.text: each.audio_rate for each in service.requests} == {
        "a": 8000,
        "b": 24000,
        "c": 8000,
    }


def test_a_text_s_own_recording_replaces_the_common_voice() -> None:
    """In whatever fields it is sent."""
    service = Reciting()
    own = {"text": "a", "ref_audio": "https://example.org/a.wav", "ref_text": "Hello."}
    output = run({"batch": [own], "voice": "Anna"}, service)
    assert output["num_failed"] == 0
    assert service.requests[0].voice is not None
    assert service.requests[0].voice.name is None


def test_what_all_entries_share_is_looked_at_once() -> None:
    """The same recording serves all, and what is wrong with it is one error."""
    service = Reciting()
    entries = [{"text": "a"}, {"text": "b"}]
    recording = {"ref_audio": "UklGRg" * 10**6, "ref_text": "Hello."}
    assert run({"batch": entries} | recording, service)["num_failed"] == 0
    one, other = service.requests
    assert one.voice is other.voice is not None
    for wrong, message in (
        ({"sed": 7}, "unknown field 'sed'; did you mean 'seed'?"),
        ({"seed": -1, "top_k": "7"}, "top_k must be a whole number from 0 to"),
        ({"x": [0] * 500_000}, "the input has more than 20000 values"),
        ({"ref_audio": "é" * 10**6, "ref_text": "Hello."}, "voice has 'audio', which is longer"),
    ):
        output = run({"batch": [{"text": "a"}] * 64} | wrong)
        assert output["error"].startswith(f"invalid_request: {message}")


def test_what_does_not_fit_is_that_text_s_failure_alone() -> None:
    """The platform's limit is that of the whole job."""
    output = run({"batch": [{"text": "large"}, {"text": "large"}, {"text": "Small."}]})
    assert sorted(each.get("code", "heard") for each in output["batch"]) == [
        "heard",
        "heard",
        "result_too_large",
    ]
    assert len(json.dumps({"output": output})) < 10_000_000
    shelf = Shelf()
    output = run({"batch": [{"text": "large"}] * 3, "speed": 1.1}, storage=shelf)
    assert output["num_failed"] == 0
    assert [each["audio"]["key"] for each in output["batch"]] == [
        f"higgs/7-{n}.wav" for n in range(3)
    ]


def test_a_text_that_takes_too_long_takes_no_other_with_it() -> None:
    """Each has the time of a job; what was spoken by then is there."""
    service = Reciting()
    deadlines = Deadlines(0.05)
    output = run({"batch": [{"text": "wait"}, {"text": "One."}]}, service, deadlines=deadlines)
    assert texts_of(output) == ["deadline_exceeded", "One."]
    assert service.num_speaking == 0


def test_a_cancelled_batch_stops_all_of_it() -> None:
    """Nobody speaks on."""
    service = Reciting()

    async def cancel() -> None:
        asked = {"id": "1", "input": {"batch": [{"text": "wait"}] * 5}}
        task = asyncio.create_task(runner(service).run(asked))
        while service.num_speaking < 5:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert service.num_speaking == 0


def test_a_streaming_worker_answers_in_one_piece() -> None:
    """Which may be no larger than a piece."""

    async def pieces(text: str) -> list[dict[str, Any]]:
        asked = {"id": "1", "input": {"batch": [{"text": "One."}, {"text": text}]}}
        return [each async for each in runner(Reciting()).stream(asked)]

    (output,) = asyncio.run(pieces("Two."))
    assert texts_of(output) == ["One.", "Two."]
    (output,) = asyncio.run(pieces("large"))
    assert texts_of(output) == ["One.", "result_too_large"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"batch": []}, "batch must be a list of 1 to 64 requests such as"),
        ({"batch": [{"text": "a"}] * 65}, "not 65 entries"),
        ({"batch": "Hello."}, "not 'Hello.'"),
        ({"batch": [{"text": "a"}], "text": "b"}, "'text' cannot stand beside batch"),
        ({"batch": [{"text": "a"}], "input": "b"}, "'input' cannot stand beside batch"),
        ({"batch": [{"text": "a"}], "key": "b"}, "'key' cannot stand beside batch"),
        (
            {"batch": [{"text": "a", "key": "k"}, {"text": "b"}, {"text": "c", "key": "k"}]},
            "2 entries have the key 'k'; send each its own",
        ),
    ],
)
def test_wrong_batches_are_refused(asked: dict[str, Any], message: str) -> None:
    """As a whole, before anything is spoken."""
    service = Reciting()
    output = run(asked, service)
    assert output["code"] == "invalid_request"
    assert message in output["error"]
    assert not service.requests


def test_credentials_in_an_entry_refuse_the_batch() -> None:
    """And are not repeated."""
    output = run({"batch": [{"text": "a"}, {"text": "b", "api_key": "hunter2"}]})
    assert output["code"] == "credentials_refused"
    assert "hunter2" not in json.dumps(output)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("text"), inner),
        max_leaves=20,
    )
)
def test_any_batch_gets_one_reply(anything: object) -> None:
    """Never an exception, always JSON."""
    output = run({"batch": anything})
    assert "error" in output or output["batch"]
