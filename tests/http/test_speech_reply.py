"""Replies with speech: headers, formats, events, and what the log has of them."""

import asyncio
import base64
import json
import math
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.audio.shape import loudness_lufs
from tests.fakes.http_worker import RATE, SECRETS, HttpWorker, decoded
from tests.fakes.leaks import leaks
from tests.fakes.scripted_server import serving_http

TEXT = "The morning train was late again, so I read the paper twice. Then it came at last."
SPEECH, JOB = "/v1/audio/speech", "/v1/speech"
TELEPHONE_RATE = 8000
CODEC_PADDING_S = 0.15
"""What AAC and a streamed MP3 have at both ends, and cannot mark."""


def spoken(**fields: Any) -> dict[str, Any]:
    """Return the body of a request that is the same each time."""
    return {"input": TEXT, "seed": 7, **fields}


def seconds_of(audio: bytes, format: str) -> float:
    """Return how long audio lasts."""
    if format in ("ulaw", "alaw"):
        return len(audio) / TELEPHONE_RATE
    pcm = np.frombuffer(audio, "<i2") if format == "pcm" else decoded(audio)
    return len(pcm) / RATE


def events_of(reply: httpx.Response) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the deltas and the last event of a reply."""
    lines = [line for line in reply.text.splitlines() if line]
    *deltas, done = (json.loads(line.removeprefix("data: ")) for line in lines)
    assert {each["type"] for each in deltas} == {"speech.audio.delta"}
    assert done["type"] == "speech.audio.done"
    return deltas, done


def audio_of(deltas: list[dict[str, Any]]) -> bytes:
    """Return the audio of events."""
    return b"".join(base64.b64decode(each["audio"]) for each in deltas)


def test_every_format_is_whole_and_says_what_it_is() -> None:
    """Headers name format, rate, seed, model and request; the audio is as long as the job's.

    The same seed gives the same bytes, as a body and as events.
    """

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            job = (await client.post(JOB, json={"text": TEXT, "seed": 7})).json()
            expected_s = job["audio"]["duration_s"]
            assert expected_s > 3
            for format, mime_type in MIME_TYPES.items():
                ask = spoken(response_format=format)
                reply = await client.post(SPEECH, json=ask, headers={"x-request-id": format})
                rate = TELEPHONE_RATE if format in ("ulaw", "alaw") else RATE
                headers = {
                    "content-type": mime_type,
                    "x-higgs-seed": "7",
                    "x-higgs-sample-rate": str(rate),
                    "x-higgs-model": "scripted",
                    "x-higgs-model-revision": "",
                    "x-request-id": format,
                    "cache-control": "no-store",
                }
                assert headers.items() <= reply.headers.items(), format
                padding_s = CODEC_PADDING_S if format in ("aac", "mp3") else 0.001
                assert abs(seconds_of(reply.content, format) - expected_s) < padding_s, format
                sse = await client.post(SPEECH, json=ask | {"stream_format": "sse"})
                assert sse.headers["content-type"] == "text/event-stream"
                assert sse.headers["x-higgs-seed"] == "7"
                if format != "opus":  # whose stream has a random number
                    assert audio_of(events_of(sse)[0]) == reply.content, format
                    assert (await client.post(SPEECH, json=ask)).content == reply.content, format

    asyncio.run(test())


@pytest.mark.parametrize("speed", [0.5, 1.7, 2.0])
def test_the_speed_holds_in_a_stream(speed: float) -> None:
    """The sound lasts as much shorter as it is faster, also as events."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            plain, fast = await asyncio.gather(
                client.post(SPEECH, json=spoken(response_format="pcm")),
                client.post(SPEECH, json=spoken(response_format="pcm", speed=speed)),
            )
            sse = await client.post(
                SPEECH, json=spoken(response_format="pcm", speed=speed, stream_format="sse")
            )
            expected_s = seconds_of(plain.content, "pcm") / speed
            assert seconds_of(fast.content, "pcm") == pytest.approx(expected_s, abs=0.05)
            assert audio_of(events_of(sse)[0]) == fast.content

    asyncio.run(test())


@pytest.mark.parametrize("format", ["wav", "opus"])
def test_a_loudness_holds(format: str) -> None:
    """What needs the whole sound is sent as a proper file, as a body and as events."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            ask = spoken(response_format=format, loudness_lufs=-30)
            reply = await client.post(SPEECH, json=ask)
            sse = await client.post(SPEECH, json=ask | {"stream_format": "sse"})
            for audio in (reply.content, audio_of(events_of(sse)[0])):
                pcm = decoded(audio).astype(np.float32) / 32768
                assert loudness_lufs(pcm, RATE) == pytest.approx(-30, abs=1)
            if format == "wav":
                assert int.from_bytes(reply.content[4:8], "little") == len(reply.content) - 8

    asyncio.run(test())


def test_the_usage_adds_up() -> None:
    """Events and a job tell the same figures, and the parts are the total."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            ask = spoken(response_format="pcm", stream_format="sse", timestamps="sentence")
            deltas, done = events_of(await client.post(SPEECH, json=ask))
            job = (await client.post(JOB, json={"text": TEXT, "seed": 7})).json()
            usage = done["usage"]
            assert usage["input_tokens"] == job["usage"]["text_tokens"] > 0
            assert usage["output_tokens"] == job["usage"]["audio_frames"]
            assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
            seconds = seconds_of(audio_of(deltas), "pcm")
            assert usage["output_tokens"] >= math.floor(seconds * 25) - 25
            assert [each["text"] for each in done["segments"]] == TEXT.replace(". ", ".|").split(
                "|"
            )
            assert done["seed"] == 7
            assert done["finish_reason"] == "stop"

    asyncio.run(test())


def merged(deltas: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Return the segments that events have told: the last word on each, by its index."""
    known: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        for segment in delta.get("segments", ()):
            known[segment.pop("index")] = segment
    return known


@pytest.mark.parametrize("format", ["pcm", "mp3", "opus"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"speed": 1.3, "chunk_words": 5},
        {"input": "[Anna] It is 7 o'clock. [Ben] So late?", "speakers": {"Anna": "a", "Ben": "b"}},
        {"max_duration_s": 2.5},
        {"loudness_lufs": -30},
    ],
)
def test_segments_come_with_the_sound(fields: dict[str, Any], format: str) -> None:
    """The first event has times; all of them together are those of the last event."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            ask = spoken(response_format=format, stream_format="sse") | fields
            deltas, done = events_of(await client.post(SPEECH, json=ask))
            assert deltas[0]["segments"][0]["index"] == 0
            assert all(each["audio"] for each in deltas[:-1])
            known = merged(deltas)
            final = dict(enumerate(done["segments"]))
            assert final
            assert {index: known[index] for index in final} == final
            if "max_duration_s" not in fields:
                assert known == final

    asyncio.run(test())


def test_a_sentence_has_times_before_its_chunk_is_complete() -> None:
    """They are marked as estimates, and replaced."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            ask = spoken(input=f"Slowly it went on. {TEXT}", response_format="pcm")
            ask |= {"stream_format": "sse", "voice": "clara"}
            deltas, done = events_of(await client.post(SPEECH, json=ask))
            first, *others = deltas
            assert [each["estimated"] for each in first["segments"]] == [True] * 3
            assert [each["text"] for each in first["segments"]] == [
                each["text"] for each in done["segments"]
            ]
            assert merged(others) == dict(enumerate(done["segments"]))

    asyncio.run(test())


def test_no_segments_where_none_are_wanted() -> None:
    """Neither in the events nor at their end."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            ask = spoken(response_format="pcm", stream_format="sse", timestamps="none")
            deltas, done = events_of(await client.post(SPEECH, json=ask))
            assert done["segments"] == []
            assert not [each for each in deltas if "segments" in each]

    asyncio.run(test())


def test_the_first_packet_does_not_wait_for_the_last() -> None:
    """A text is heard while the rest of it is being generated."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            text = "Slowly the rain began to fall over the old town. " * 12
            ask = {"input": text, "response_format": "pcm"}
            async with client.stream("POST", SPEECH, json=ask) as reply:
                parts = reply.aiter_raw()
                await anext(parts)
                assert server.engine.num_live > 0

    asyncio.run(test())


@pytest.mark.slow
def test_the_log_has_the_request_and_none_of_its_words(tmp_path: Path) -> None:
    """Each line about a request has its id; neither texts, scenes, names nor keys are there."""
    words = ["zanzibar", "xylophone", "theKeyThatIsWrong", "quagmire", *SECRETS.values()]
    key = SECRETS["HIGGS_API_KEY"]
    asks: list[tuple[str, dict[str, Any], str]] = [
        (SPEECH, {"input": "A zanzibar.", "scene": "In a xylophone."}, key),
        (SPEECH, {"input": "Failing zanzibar.", "stream_format": "sse"}, key),
        (SPEECH, {"input": "zanzibar", "quagmire": "xylophone"}, key),
        (SPEECH, {"input": "zanzibar", "voice": "quagmire"}, key),
        (JOB, {"batch": [{"text": "zanzibar"}, {"text": "Failing xylophone."}]}, key),
        (JOB, {"action": "delete_voice", "name": "quagmire"}, key),
        (SPEECH, {"input": "zanzibar"}, "theKeyThatIsWrong"),
    ]
    how = {"module": "tests.fakes.scripted_server", "HIGGS_LOG_LEVEL": "DEBUG"}
    with HttpWorker(tmp_path, **how) as worker, httpx.Client(base_url=worker.url) as client:
        for number, (path, body, sent) in enumerate(asks):
            headers = {"x-request-id": f"request-{number}", "Authorization": f"Bearer {sent}"}
            client.post(path, json=body, headers=headers)
        client.delete("/v1/audio/voices/quagmire", headers={"Authorization": f"Bearer {key}"})
        log = worker.log
    assert leaks([log], words) == []
    for number in range(len(asks)):
        assert f'"requestId": "request-{number}' in log, number
