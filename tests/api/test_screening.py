"""The screening: no credentials, and bounds on whatever a caller sends."""

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from higgs_worker.api.body import parse_body
from higgs_worker.api.screening import MAX_DEPTH, MAX_VALUES, screen
from higgs_worker.api.voice_spec import MAX_SPEAKERS
from higgs_worker.errors import CredentialsRefused, InvalidRequest


@pytest.mark.parametrize(
    "raw",
    [
        {"aws_secret_access_key": "VALUE"},
        {"AWS-Access-Key-Id": "VALUE"},
        {"hf_token": "VALUE"},
        {"s3Config": {"bucketName": "VALUE"}},
        {"Password": "VALUE"},
        {"apiKey": None},
        {"storage": {"private_key": "VALUE"}},
        {"text": {"a": [{"credentials": "VALUE"}]}},
        {"api_key" + "x" * 10**6: "VALUE"},
    ],
)
@pytest.mark.parametrize("kind", ["text", "batch", "action", "openai_route"])
def test_credentials_are_refused_and_never_repeated(raw: dict[str, object], kind: str) -> None:
    """A key that looks like a credential is named, at any depth; its value is not."""
    with pytest.raises(CredentialsRefused, match="environment") as caught:
        parse_body({kind: "a", **raw}, max_text_chars=100)
    told = f"{caught.value}{caught.value.details}"
    assert "VALUE" not in told
    assert len(told) < 1000


def nested(depth: int) -> dict[str, Any]:
    """Return an input with this many lists and objects in each other."""
    inner: Any = "bottom"
    for _ in range(depth - 1):
        inner = [inner]
    return {"text": inner}


def test_the_bounds_are_exact() -> None:
    """As many values and as much depth as allowed pass; one more is refused."""
    screen({"x": [0] * (MAX_VALUES - 2)})
    screen(nested(MAX_DEPTH - 1))
    for refused, why in (
        ({"x": [0] * (MAX_VALUES - 1)}, "more than 20000 values"),
        ({str(number): 0 for number in range(MAX_VALUES)}, "more than 20000 values"),
        ({"x": [[0] * 1000] * 10**6}, "more than 20000 values"),
        (nested(MAX_DEPTH), "more than 32 lists"),
        (nested(50_000), "more than 32 lists"),
    ):
        with pytest.raises(InvalidRequest, match=why):
            screen(refused)


def test_the_largest_batch_that_makes_sense_passes() -> None:
    """64 dialogues, each with 64 voices of its own."""
    voice = {"audio": "https://example.com/a.wav", "text": "Hello."}
    entry = {"text": "a", "speakers": {f"S{n}": voice for n in range(MAX_SPEAKERS)}}
    screen({"batch": [entry | {f"field{n}": 1 for n in range(30)}] * 64})


def num_calls(raw: object) -> int:
    """Return how many functions of Python are called, and by it, to validate an input."""
    events: list[str] = []

    def count(_: FrameType, event: str, __: object) -> None:
        if event.endswith("call"):
            events.append(event)

    sys.setprofile(count)
    try:
        with suppress(InvalidRequest):
            parse_body(raw, max_text_chars=100)
    finally:
        sys.setprofile(None)
    return len(events)


@pytest.mark.parametrize(
    "make",
    [
        lambda size: {"batch": [{"text": "a"}] * 64, "x": [0] * size},
        lambda size: {"batch": [{"text": "a"}] * 64} | {f"key{n}": 0 for n in range(size)},
        lambda size: {"batch": [{"x": [0] * 100}] * size},
        lambda size: {"text": "a"} | {f"key{n}": 0 for n in range(size)},
        lambda size: {"text": [{"a": n} for n in range(size)]},
        lambda size: {"text": "a", "speakers": {f"S{n}": None for n in range(size)}},
        lambda size: {"action": "info"} | {f"key{n}": 0 for n in range(size)},
        lambda size: {"openai_route": "/v1/audio/speech", "openai_input": [[]] * size},
        lambda size: {"text": "a" * size},
        lambda size: {"text": "a", "k" * size: 0},
    ],
)
def test_work_does_not_grow_with_what_is_sent(make: Callable[[int], Any]) -> None:
    """Ten times as much of anything takes not one call more."""
    assert num_calls(make(300_000)) == num_calls(make(30_000))


def test_a_batch_is_no_more_work_for_what_stands_beside_it() -> None:
    """The most junk that passes the screening is looked at once, not once for each text."""
    alone, junk = {"batch": [{"text": "a"}] * 64}, {"voice": {f"key{n}": 0 for n in range(9000)}}
    assert num_calls(alone | junk) < num_calls(alone) + 30 * 9000
