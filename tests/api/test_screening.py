"""The screening: no credentials, and bounds on whatever a caller sends."""

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
