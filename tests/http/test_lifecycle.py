"""How requests end: clients that leave, read slowly or come too many, and late failures."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from higgs_worker.http.app import create_app
from higgs_worker.http.patience import Patience
from higgs_worker.http.readiness import Readiness
from higgs_worker.settings import Settings
from tests.fakes.scripted_model import HOP, AskedText, ScriptedAttempt, says
from tests.fakes.scripted_server import perform, serving_http, until
from tests.fakes.speeches import TextService, responder

SLOWLY = "Slowly the rain began to fall over the old town, and all of the lamps went out. "
SPEECH, JOB, VOICES = "/v1/audio/speech", "/v1/speech", "/v1/audio/voices"


def spoken(text: str, **fields: Any) -> dict[str, Any]:
    """Return the body of a request for raw samples."""
    return {"input": text, "response_format": "pcm", **fields}


async def never_complete() -> AsyncIterator[bytes]:
    """Begin a form with a recording, and say no more."""
    yield b'--x\r\nContent-Disposition: form-data; name="audio_sample"; filename="a.wav"\r\n\r\nRI'
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("path", "body", "num_live"),
    [
        (SPEECH, spoken("Never mind."), 1),
        (SPEECH, spoken("Never mind.", stream_format="sse"), 1),
        (JOB, {"text": "Never mind."}, 1),
        (JOB, {"batch": [{"text": f"Never mind the {n}."} for n in range(3)]}, 3),
    ],
)
def test_who_leaves_before_the_first_sound_cancels(
    path: str, body: dict[str, Any], num_live: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The engine is told at once, and one request counts as cancelled, with one line in the log."""
    caplog.set_level(logging.INFO, "higgs_worker")

    async def test() -> None:
        async with serving_http(_hangs) as server, server.client() as client:
            caplog.clear()
            server.engine.hold = asyncio.Event()
            asking = asyncio.create_task(client.post(path, json=body))
            await until(lambda: server.engine.num_live == num_live)
            asking.cancel()
            await until(lambda: server.engine.num_live == 0)
            assert server.engine.num_cancelled == num_live
            assert await server.counted("cancelled") == 1
        assert [line.getMessage() for line in caplog.records] == ["cancelled"]

    asyncio.run(test())


@pytest.mark.parametrize("how", [{}, {"stream_format": "sse"}, {"response_format": "opus"}])
def test_who_leaves_midway_cancels(how: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """What was begun ends within a few steps, and what waits is not begun."""
    caplog.set_level(logging.INFO, "higgs_worker")

    async def test() -> None:
        async with serving_http(engine={"num_slots": 1}) as server, server.client() as client:
            caplog.clear()
            async with client.stream("POST", SPEECH, json=spoken(SLOWLY * 20) | how) as reply:
                await anext(reply.aiter_raw())
                num_begun = len(server.engine.lines)
            await until(lambda: server.engine.stats().num_slots_used == 0)
            assert len(server.engine.lines) <= num_begun + 1
            await until(lambda: "cancelled" in caplog.messages)
            assert await server.counted("cancelled") == 1
        assert caplog.messages == ["cancelled"]

    asyncio.run(test())


def test_who_leaves_while_it_uploads_is_done_with() -> None:
    """A voice that is never sent to its end counts as cancelled, and holds no memory."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            headers = {"content-type": "multipart/form-data; boundary=x"}
            uploading = asyncio.create_task(
                client.post(VOICES, content=never_complete(), headers=headers)
            )
            await asyncio.sleep(0.05)
            uploading.cancel()
            async with asyncio.timeout(5):
                while await server.counted("cancelled") != 1:
                    await asyncio.sleep(0.01)

    asyncio.run(test())


@pytest.mark.slow
def test_a_slow_reader_stops_only_itself() -> None:
    """It gives its slots back and lets others speak; when it reads on, nothing is missing."""
    text = "The morning train was late again, so I read the paper twice. " * 80

    async def test() -> None:
        async with (
            serving_http(engine={"num_slots": 2}) as server,
            server.client(receive_bytes=1 << 16) as slow,
            server.client() as quick,
        ):
            ask = spoken(text)
            async with slow.stream("POST", SPEECH, json=ask) as reply:
                num_begun = -1
                while num_begun != len(server.engine.lines):
                    num_begun = len(server.engine.lines)
                    await asyncio.sleep(0.2)
                for _ in range(3):
                    assert server.engine.num_live == 0
                    await quick.post(SPEECH, json=spoken("Good morning to you."))
                assert len(server.engine.lines) == num_begun + 3
                num_bytes = sum([len(part) async for part in reply.aiter_raw()])
            assert len(server.engine.lines) > num_begun + 3  # it had been stopped
            whole = await quick.post(SPEECH, json=ask)
            assert num_bytes == len(whole.content) > 10_000_000

    asyncio.run(test())


@pytest.mark.parametrize("body", [spoken("Good morning."), {"text": "Good morning."}])
def test_who_never_reads_is_left(body: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """It counts as one that has gone, and not as a failure or a defect."""
    caplog.set_level(logging.INFO, "higgs_worker")

    async def test() -> None:
        answers = replace(responder(TextService()), kind="http")
        request = [{"type": "http.request", "body": json.dumps(body).encode()}]

        async def receive() -> Any:
            return request.pop() if request else await asyncio.Event().wait()

        async def send(_: Any) -> None:
            await asyncio.Event().wait()

        readiness = Readiness(answers.service, on_broken=lambda: None)
        app = create_app(answers, readiness, Settings.from_env({}), Patience(unread_s=0.01))
        path = SPEECH if "input" in body else JOB
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
        async with asyncio.timeout(5):
            await app(scope, receive, send)
        assert answers.metrics.requests.read()[("http", "cancelled")] == 1

    asyncio.run(test())


@pytest.mark.slow
def test_a_full_queue_is_told_with_when_to_come_again() -> None:
    """429 in OpenAI's envelope; OpenAI's own package comes again, and is spoken to."""

    async def test() -> None:
        engine = {"num_slots": 1, "max_waiting": 1}
        async with serving_http(_hangs, engine=engine) as server, server.client() as client:
            server.engine.hold, running = asyncio.Event(), []
            for num in (1, 2):
                running.append(asyncio.create_task(client.post(JOB, json={"text": "Never."})))
                await until(lambda num=num: server.engine.num_live == num)
            reply = await client.post(SPEECH, json=spoken("Good morning."))
            assert (reply.status_code, reply.headers["retry-after"]) == (429, "2")
            error = reply.json()["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
            async with AsyncOpenAI(base_url=f"{server.addresses[0]}/v1", api_key="none") as openai:
                asking = asyncio.create_task(
                    openai.audio.speech.create(
                        model="tts-1", voice="alloy", input="Good morning.", response_format="pcm"
                    )
                )
                while await server.counted("queue_full") < 2:
                    await asyncio.sleep(0.01)
                server.engine.hold.set()
                assert len((await asking).content) > HOP

    asyncio.run(test())


def test_a_failure_before_the_first_sound_has_a_status() -> None:
    """Nothing was sent, so the reply is an error's, with its envelope."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            reply = await client.post(JOB, json={"text": "Failing is what this does."})
            assert (reply.status_code, reply.json()["error"]["code"]) == (500, "engine_failed")

    asyncio.run(test())


def test_a_late_failure_leaves_the_body_without_an_end() -> None:
    """No client takes half a speech for a whole one."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            ask = spoken(f"Failing is what this does. {SLOWLY}")
            async with client.stream("POST", SPEECH, json=ask) as reply:
                assert reply.status_code == 200
                with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                    await reply.aread()
            assert await server.counted("engine_failed") == 1
            assert await server.counted("cancelled") == 0

    asyncio.run(test())


def test_a_late_failure_is_an_event() -> None:
    """Events that were begun end with an error instead of `speech.audio.done`."""

    async def test() -> None:
        async with serving_http() as server, server.client() as client:
            ask = spoken(f"Failing is what this does. {SLOWLY}", stream_format="sse")
            reply = await client.post(SPEECH, json=ask)
            *deltas, name, data = [line for line in reply.text.splitlines() if line]
            assert deltas
            assert all("speech.audio.delta" in each for each in deltas)
            assert name == "event: error"
            error = json.loads(data.removeprefix("data: "))["error"]
            assert (error["code"], error["type"]) == ("engine_failed", "server_error")

    asyncio.run(test())


@pytest.mark.slow
def test_a_limit_of_time_before_the_first_sound_is_504() -> None:
    """The sentence says which setting it is."""

    async def test() -> None:
        async with (
            serving_http(_hangs, HIGGS_JOB_TIMEOUT_S="1") as server,
            server.client() as client,
        ):
            server.engine.hold = asyncio.Event()
            replies = await asyncio.gather(
                client.post(SPEECH, json=spoken("Never.")),
                client.post(JOB, json={"text": "Never."}),
            )
            for reply in replies:
                error = reply.json()["error"]
                assert (reply.status_code, error["code"]) == (504, "deadline_exceeded")
                assert "HIGGS_JOB_TIMEOUT_S" in error["message"]
            await until(lambda: server.engine.num_live == 0)

    asyncio.run(test())


@pytest.mark.slow
def test_a_limit_of_time_cuts_what_is_being_heard() -> None:
    """The body has no end, and events end with an error."""

    async def test() -> None:
        async with serving_http(_pauses, HIGGS_JOB_TIMEOUT_S="1") as server:
            async with server.client() as client:
                ask = spoken(SLOWLY * 5)
                events, cut = await asyncio.gather(
                    client.post(SPEECH, json=ask | {"stream_format": "sse"}),
                    client.post(SPEECH, json=ask),
                    return_exceptions=True,
                )
            assert isinstance(events, httpx.Response)
            assert '"code": "deadline_exceeded"' in events.text.rpartition("event: error")[2]
            assert isinstance(cut, httpx.RemoteProtocolError)
            await until(lambda: server.engine.num_live == 0)

    asyncio.run(test())


def _hangs(line: AskedText) -> ScriptedAttempt:
    """Say "Never …" without sound, and without an end while the engine is held; else as it is."""
    return ScriptedAttempt([0]) if line.text.startswith("Never") else says(line.text)


def _pauses(line: AskedText) -> ScriptedAttempt:
    """Say the probe at once, and all else in long pauses."""
    said = perform(line)
    return ScriptedAttempt(said.codes, pause_s=0.3 if line.text.startswith("Slowly") else 0.0)
