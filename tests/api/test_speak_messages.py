"""The messages of Deepgram's websocket: read strictly, written as clients read them."""

import json
import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.api import speak_messages
from higgs_worker.api.speak_messages import (
    Clear,
    Close,
    Flush,
    KeepAlive,
    RefusedSpeak,
    Speak,
    parse_message,
)
from higgs_worker.errors import EngineFailed, InvalidRequest


def parse(frame: str | bytes) -> speak_messages.Message:
    """Read a frame where a text may have a hundred characters."""
    return parse_message(frame, max_text_chars=100)


def test_what_clients_send() -> None:
    """Theirs, however JSON may write them."""
    assert parse('{"type": "Speak", "text": "Hi "}') == Speak("Hi ")
    assert parse(' {"text": "\\u00fc\\ud83d\\ude00", "type": "Speak"} ') == Speak("ü😀")
    assert parse('{"type":"Speak","text":""}') == Speak("")
    assert parse('{"type":"Flush"}') == Flush()
    assert parse('{"type":"Clear"}') == Clear()
    assert parse('{"type":"Close"}') == Close()
    assert parse('{"type":"KeepAlive"}') == KeepAlive()
    assert parse(json.dumps({"type": "Speak", "text": "😀" * 100})) == Speak("😀" * 100)


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        ('{"type":"Speak"}', "without a text"),
        ('{"type":"Speak","text":5}', "text must be a string, not 5"),
        ('{"type":"Speak","text":["a"]}', "text must be a string, not a list"),
        ('{"type":"Speak","text":"a","voice":"b"}', "not 'voice'"),
        ('{"type":"Speak","text":"\\ud83d"}', "lone surrogate"),
        ('{"type":"Speak","text":"\\u0000"}', "control character"),
        (json.dumps({"type": "Speak", "text": "x" * 101}), "101 characters and at most 100"),
    ],
)
def test_a_text_that_cannot_be_spoken(frame: str, problem: str) -> None:
    """It is told from what is no message: only that text is lost."""
    found = parse(frame)
    assert isinstance(found, RefusedSpeak)
    assert problem in found.problem


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (b'{"type":"Flush"}', "binary frame"),
        ("", "must be JSON"),
        ("Hello", "must be JSON .* not 'Hello'"),
        ('{"type":"Flush"', "must be JSON"),
        ('"Flush"', "must be an object"),
        ("[]", "must be an object"),
        ("{}", 'no message has the "type" null'),
        ('{"type":"flush"}', "did you mean 'Flush'"),
        ('{"type":"Speek","text":"a"}', "did you mean 'Speak'"),
        ('{"type":"Reset"}', "there are Speak, Flush, Clear, Close"),
        ('{"type":["Flush"]}', "a list"),
        ('{"type":"Flush","text":"a"}', "Flush has no field but"),
        ("[" * 2000, "must be JSON"),
        ('{"type":"Speak","text":' + "[" * 1500 + "]" * 1500 + "}", "characters came"),
        ('{"a":' * 300 + "1" + "}" * 300, 'no message has the "type" null'),
        ("9" * 2000, "must be an object|must be JSON"),
        ('{"type":"Speak","text":"' + "x" * 5000 + '"}', "at most 2200 are read"),
    ],
)
def test_what_is_no_message(frame: str | bytes, problem: str) -> None:
    """In a sentence that says what is right, with no more of it than shows the mistake."""
    with pytest.raises(InvalidRequest, match=problem) as caught:
        parse(frame)
    assert len(str(caught.value)) < 250


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | st.binary(max_size=20) | st.integers(0, 2**32))
def test_any_frame_is_read_or_refused(frame: str | bytes | int) -> None:
    """Nothing else is raised; also for messages of which some characters were changed."""
    if isinstance(frame, int):
        random_ = random.Random(frame)
        letters = list('{"type":"Speak","text":"Hello, \\u00fc there."}')
        for _ in range(random_.randrange(4)):
            letters[random_.randrange(len(letters))] = random_.choice('{}[]":,\\u0aé\x00 ')
        frame = "".join(letters)
    with suppress(InvalidRequest):
        assert isinstance(parse(frame), speak_messages.Message)


def test_what_clients_read() -> None:
    """Deepgram's names; those of older clients too."""
    sent = json.loads(speak_messages.metadata("id-1", "clara", "some/model@1"))
    assert sent["type"] == "Metadata"
    assert {"request_id", "model_name", "model_version", "model_uuid"} < sent.keys()
    assert json.loads(speak_messages.flushed(3)) == {"type": "Flushed", "sequence_id": 3}
    assert json.loads(speak_messages.cleared(0)) == {"type": "Cleared", "sequence_id": 0}
    warned = json.loads(speak_messages.warning("Why.", "code"))
    assert (warned["description"], warned["warn_msg"], warned["code"]) == ("Why.", "Why.", "code")
    failed = json.loads(speak_messages.error(EngineFailed("It failed.")))
    assert failed == {"type": "Error", "description": "It failed.", "code": "engine_failed"}
