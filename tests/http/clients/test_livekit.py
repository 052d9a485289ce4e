"""LiveKit's plugins, without a room: `make test-clients` installs them."""

import asyncio
from typing import Any

import numpy as np
import pytest

from tests.fakes.http_worker import RATE, HttpWorker, is_speech, pcm_of
from tests.http.clients.recipes import recipes, run_python

pytestmark = pytest.mark.long
agents = pytest.importorskip("livekit.agents", reason="needs `make test-clients`")

TEXT = "Good morning to you."


async def heard_from(stream: Any) -> np.ndarray:
    """Return all that a stream says."""
    audio = b""
    async for event in stream:
        assert event.frame.sample_rate == RATE
        audio += bytes(event.frame.data)
    return pcm_of(audio)


@pytest.mark.parametrize("more", ["", ', response_format="wav"', ', model="tts-1"'])
def test_openai(worker: HttpWorker, key: str, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    """Events and plain audio, in a format that it decodes itself, are whole."""
    monkeypatch.setenv("HIGGS_API_KEY", key)
    (_, snippet) = recipes("LiveKit", worker.address)
    snippet = snippet.replace(',\n    instructions="A calm voice."', more)

    async def speak() -> np.ndarray:
        tts: Any = run_python(snippet)["tts"]
        tts.prewarm()
        try:
            return await heard_from(tts.synthesize(TEXT))
        finally:
            await tts.aclose()

    assert is_speech(asyncio.run(speak()), 1.04, tolerance_s=0.3)


def test_a_refusal(worker: HttpWorker, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raises at once what the worker says, and is not tried again."""
    monkeypatch.setenv("HIGGS_API_KEY", key)
    (_, snippet) = recipes("LiveKit", worker.address)

    async def speak() -> None:
        tts: Any = run_python(snippet.replace("clara", "nobody"))["tts"]
        try:
            await heard_from(tts.synthesize(TEXT))
        finally:
            await tts.aclose()

    with pytest.raises(agents.APIStatusError) as caught:
        asyncio.run(speak())
    assert caught.value.status_code == 400
    assert caught.value.body["param"] == "voice"


def test_deepgram(worker: HttpWorker, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that comes in shreds is spoken; one connection serves several answers."""
    import aiohttp

    monkeypatch.setenv("HIGGS_API_KEY", key)
    (snippet, _) = recipes("LiveKit", worker.address)
    snippet = snippet.replace('model="clara"', 'model="clara", http_session=session')

    async def speak() -> list[np.ndarray]:
        async with aiohttp.ClientSession() as session:
            tts: Any = run_python(snippet, session=session)["tts"]
            spoken = []
            try:
                for shreds in (("Good mor", "ning to you."), ("And to ", "you.")):
                    async with tts.stream() as stream:
                        for each in shreds:
                            stream.push_text(each)
                            await asyncio.sleep(0.05)
                        stream.end_input()
                        spoken.append(await heard_from(stream))
            finally:
                await tts.aclose()
        return spoken

    first, second = asyncio.run(speak())
    assert is_speech(first, 1.04, tolerance_s=0.3)
    assert is_speech(second, 0.6, tolerance_s=0.4)


def test_an_interruption(worker: HttpWorker, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiveKit leaves the connection, and takes a new one for what it says next."""
    import aiohttp

    monkeypatch.setenv("HIGGS_API_KEY", key)
    (snippet, _) = recipes("LiveKit", worker.address)
    snippet = snippet.replace('model="clara"', 'model="clara", http_session=session')

    async def speak() -> np.ndarray:
        async with aiohttp.ClientSession() as session:
            tts: Any = run_python(snippet, session=session)["tts"]
            try:
                stream = tts.stream()
                stream.push_text("This is a long sentence. " * 20)
                stream.end_input()
                await anext(stream)
                await stream.aclose()
                async with tts.stream() as stream:
                    stream.push_text(TEXT)
                    stream.end_input()
                    return await heard_from(stream)
            finally:
                await tts.aclose()

    assert is_speech(asyncio.run(speak()), 1.04, tolerance_s=0.3)
