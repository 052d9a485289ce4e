"""No job stalls the worker's event loop, whatever it holds, up to the 20 MB of the platform."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.control_plane import ControlPlane, Raw
from tests.fakes.delivery import SCRIPTED, Worker

pytestmark = pytest.mark.long

MAX_BYTES = 20_000_000
MAX_STALL_S = 0.1
MAX_REPLY_STALL_S = 0.25
"""The SDK writes a reply as JSON in its loop, and encodes it there."""


def fill(head: str, unit: str, tail: str) -> Raw:
    """Return an input of MAX_BYTES in JSON: between head and tail as many units as fit."""
    num_left = MAX_BYTES - len((head + tail).encode())
    return Raw(head + unit * (num_left // len(unit.encode())) + tail)


TEXTS = json.dumps([{"text": "a"}] * 64)
KEYS = ", ".join(f'"key{number}": 0' for number in range(1_300_000))
UNKNOWN = {f"temprature_or_sample_rate_{number}": number for number in range(300)}
SPEAKERS = {f"S{number}": {"audio": "https://a.example/", "text": "Hi."} for number in range(64)}
INPUTS: dict[str, Callable[[], Raw]] = {
    "batch beside zeros": lambda: fill(f'{{"batch": {TEXTS}, "x": [', "0, ", "0]}"),
    "batch beside empty lists": lambda: fill(f'{{"batch": {TEXTS}, "x": [', "[],", "0]}"),
    "batch of batches": lambda: fill('{"batch": [', '{"batch":[{}]},', "{}]}"),
    "batch of unknown keys": lambda: Raw(json.dumps({"batch": [UNKNOWN] * 64})),
    "batch of dialogues": lambda: Raw(
        json.dumps({"batch": [{"text": "a", "sed": 1, "speakers": SPEAKERS}] * 64})
    ),
    "batch of long texts": lambda: fill('{"batch": [{"text": 1},{"text":"', "ab ", '"}]}'),
    "batch with a shared recording": lambda: fill(
        f'{{"batch": {TEXTS}, "ref_text": "Hi.", "ref_audio": "', "QUJD", '"}'
    ),
    "keys": lambda: Raw(f'{{"text": "a", {KEYS}}}'),
    "the same key": lambda: fill('{"text": "a"', ',"x":0', "}"),
    "objects": lambda: fill('{"text": [', "{},", "{}]}"),
    "nulls": lambda: fill('{"speakers": [', "null,", "null]}"),
    "strings": lambda: fill('{"text": [', '"",', '""]}'),
    "deep lists": lambda: Raw('{"text": ' + "[" * 9000 + "]" * 9000 + "}"),
    "very deep objects": lambda: Raw('{"a":' * 2_000_000 + "0" + "}" * 2_000_000),
    "text": lambda: fill('{"text": "', "a", '"}'),
    "text of spaces": lambda: fill('{"text": "', " ", '"}'),
    "text of two bytes": lambda: fill('{"text": "', "é", '"}'),
    "text of three bytes": lambda: fill('{"text": "', "中", '"}'),
    "text of four bytes": lambda: fill('{"text": "', "😀", '"}'),
    "text of escapes": lambda: fill('{"text": "', "\\n", '"}'),
    "text of backslashes": lambda: fill('{"text": "', "\\\\", '"}'),
    "text of half characters": lambda: fill('{"text": "', "\\ud800", '"}'),
    "text of escaped characters": lambda: fill('{"text": "', "\\u4e2d", '"}'),
    "scene": lambda: fill('{"text": "a", "scene": "', "é", '"}'),
    "language": lambda: fill('{"text": "a", "language": "', "a", '"}'),
    "format": lambda: fill('{"text": "a", "format": "', "é", '"}'),
    "temperature": lambda: fill('{"text": "a", "temperature": "', "é", '"}'),
    "voice": lambda: fill('{"text": "a", "voice": "', "  ", '"}'),
    "speaker": lambda: fill('{"text": "a", "speakers": {"', "é", '": null}}'),
    "recording": lambda: fill('{"text": "a", "voice": {"text": "a", "audio": "', "QUJD", '"}}'),
    "recording of spaces": lambda: fill(
        '{"text": "a", "voice": {"text": "", "audio": "', " ", '"}}'
    ),
    "recording of no base64": lambda: fill('{"text":"a","voice":{"text":"a","audio":"', "é", '"}}'),
    "key": lambda: fill('{"text": "a", "', "é", '": 0}'),
    "key like a credential": lambda: fill('{"text": "a", "', "-", 'apikey": 0}'),
    "credentials": lambda: fill('{"text": "a"', ',"x":{"api_key": 1}', "}"),
    "number": lambda: fill('{"text": "a", "seed": ', "9", "}"),
    "numbers": lambda: fill('{"text": [', "9" * 4300 + ",", "0]}"),
    "small number": lambda: fill('{"text": "a", "top_p": 0.', "1", "}"),
    "action": lambda: fill('{"action": "', "é", '"}'),
    "action of lists": lambda: fill('{"action": [', "[],", "0]}"),
    "name of an action": lambda: fill('{"action": "delete_voice", "name": "', "é", '"}'),
    "text to be read": lambda: fill('{"action": "read", "text": "', "é ", '"}'),
    "changes of a voice": lambda: fill('{"action": "update_voice", "name": "a"', ',"x":0', "}"),
    "openai": lambda: fill('{"openai_route": "/v1/audio/speech", "openai_input": [', "0,", "0]}"),
    "openai's text": lambda: fill(
        '{"openai_route": "/v1/audio/speech", "openai_input": {"input": "', "é", '"}}'
    ),
}
LARGE_REPLY = Raw('{"text": "bytes 14990000"}')


def test_the_longest_stall(tmp_path: Path) -> None:
    """From the poll to the reply, through the real SDK; the stalls are printed."""
    with (
        ControlPlane() as plane,
        Worker(plane, tmp_path, SCRIPTED, RUNPOD_LOG_LEVEL="INFO") as worker,
    ):

        def stall_s() -> float:
            return int(plane.wait(plane.run({"text": "stall"})).output["seed"]) / 1000

        def measure(name: str, content: Raw) -> float:
            stall_s()
            job = plane.wait(plane.run(content, sync=True))
            longest_s = stall_s()
            print(f"{name:32} {1000 * longest_s:4.0f} ms  {job.status}  {job.error}"[:170])  # noqa: T201
            return longest_s

        stall_s()
        stalls_s = {name: measure(name, make()) for name, make in INPUTS.items()}
        assert measure("a large reply", LARGE_REPLY) < MAX_REPLY_STALL_S
        assert worker.process.poll() is None
    assert {name: each for name, each in stalls_s.items() if each > MAX_STALL_S} == {}
