"""Deepgram's own package, on the real server's websocket with the demo model."""

import asyncio
from typing import Any

import numpy as np
import pytest
from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from deepgram.speak.v1.types import SpeakV1Text

from tests.fakes.http_worker import HttpWorker, is_same, is_speech, pcm_of

pytestmark = pytest.mark.slow
TEXT = "Good morning to you."
SEEDED: dict[str, Any] = {"additional_query_parameters": {"seed": "7"}}


def environment(worker: HttpWorker) -> DeepgramClientEnvironment:
    """Return where a client finds the worker."""
    http, ws = worker.url, f"ws://{worker.address}"
    return DeepgramClientEnvironment(base=http, production=ws, agent=ws, agent_rest=http)


@pytest.fixture
def client(worker: HttpWorker, key: str) -> DeepgramClient:
    """As its users make one."""
    return DeepgramClient(api_key=key, environment=environment(worker))


def heard_until(socket: Any, kind: str) -> tuple[np.ndarray, list[Any]]:
    """Return the audio up to a message of a kind, and the messages."""
    audio, messages = b"", []
    while not messages or messages[-1].type != kind:
        received = socket.recv()
        if isinstance(received, bytes):
            audio += received
        else:
            messages.append(received)
    return pcm_of(audio), messages


def test_text_in_shreds(client: DeepgramClient, worker: HttpWorker) -> None:
    """It is said as if it had come at once: a seed gives the job's samples."""
    with client.speak.v1.connect(model="clara", request_options=SEEDED) as socket:
        for shred in ("Good mor", "ning to", " you."):
            socket.send_text(SpeakV1Text(text=shred))
        socket.send_flush()
        heard, messages = heard_until(socket, "Flushed")
        assert is_same(heard, worker.job_pcm(TEXT, 7, voice="clara"))
        metadata, warning, flushed = messages
        assert (metadata.type, flushed.type) == ("Metadata", "Flushed")
        assert "demo model" in warning.description
        assert metadata.request_id
        assert isinstance(flushed.sequence_id, int)
        # The voice holds, and the connection as well.
        socket.send_text(SpeakV1Text(text="And to you."))
        socket.send_flush()
        heard, messages = heard_until(socket, "Flushed")
        assert is_speech(heard, 0.6, tolerance_s=0.4)
        assert len(messages) == 1  # what was warned of is not told again
        socket.send_close()
        assert list(socket) == []


def test_clear(client: DeepgramClient) -> None:
    """What was not said yet is never said, nor flushed; what comes then is said."""
    with client.speak.v1.connect(model="clara", encoding="linear16", sample_rate=24000) as socket:
        socket.send_text(SpeakV1Text(text="This is a long sentence, and I say it again. " * 20))
        socket.send_flush()
        while not isinstance(socket.recv(), bytes):
            pass
        socket.send_clear()
        _, messages = heard_until(socket, "Cleared")
        assert "Flushed" not in [each.type for each in messages]
        socket.send_text(SpeakV1Text(text=TEXT))
        socket.send_flush()
        heard, _ = heard_until(socket, "Flushed")
        assert is_speech(heard, 1.04, tolerance_s=0.3)


def test_close_says_the_rest(client: DeepgramClient) -> None:
    """Text that nobody flushed is said before the connection is closed."""
    with client.speak.v1.connect(model="aura-2-thalia-en", request_options=SEEDED) as socket:
        socket.send_text(SpeakV1Text(text=TEXT))
        socket.send_close()
        received = list(socket)
    audio = b"".join(each for each in received if isinstance(each, bytes))
    assert is_speech(pcm_of(audio), 1.04, tolerance_s=0.3)


@pytest.mark.parametrize("encoding", ["mulaw", "alaw"])
def test_telephony(client: DeepgramClient, encoding: Any) -> None:
    """One byte a sample, 8000 a second."""
    with client.speak.v1.connect(
        model="clara", encoding=encoding, sample_rate=8000, request_options=SEEDED
    ) as socket:
        socket.send_text(SpeakV1Text(text=TEXT))
        socket.send_close()
        received = list(socket)
    audio = b"".join(each for each in received if isinstance(each, bytes))
    assert len(audio) / 8000 == pytest.approx(1.04, abs=0.3)
    assert len(set(audio)) > 50


def test_the_asynchronous_client(worker: HttpWorker, key: str) -> None:
    """Hears the same as the other one."""

    async def speak() -> bytes:
        client = AsyncDeepgramClient(api_key=key, environment=environment(worker))
        async with client.speak.v1.connect(model="clara", request_options=SEEDED) as socket:
            await socket.send_text(SpeakV1Text(text=TEXT))
            await socket.send_flush()
            audio = b""
            async for received in socket:
                if isinstance(received, bytes):
                    audio += received
                elif received.type == "Flushed":
                    break
            return audio

    expected = worker.job_pcm(TEXT, 7, voice="clara")
    assert is_same(pcm_of(asyncio.run(speak())), expected)


@pytest.mark.parametrize(
    ("options", "status"), [({"model": "nobody"}, 400), ({"encoding": "mp3"}, 400)]
)
def test_refusals(client: DeepgramClient, options: dict[str, Any], status: int) -> None:
    """A wrong address is refused before there is a websocket, with the reason in a header."""
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus) as caught, client.speak.v1.connect(**options):
        pass
    assert caught.value.response.status_code == status
    assert caught.value.response.headers["dg-error"]


def test_a_wrong_key(worker: HttpWorker) -> None:
    """Is 401, before anything else."""
    from websockets.exceptions import InvalidStatus

    client = DeepgramClient(api_key="wrong", environment=environment(worker))
    with pytest.raises(InvalidStatus) as caught, client.speak.v1.connect(model="clara"):
        pass
    assert caught.value.response.status_code == 401
