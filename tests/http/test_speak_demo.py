"""Deepgram's websocket with the embedded model: from tokens to speech."""

import asyncio
import re

import numpy as np
import pytest

from higgs_worker.load import load_model
from higgs_worker.settings import Settings
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.service import SpeechService
from higgs_worker.text.duration import expected_duration_s
from tests.fakes.speak_server import serving

TEXT = "The morning train was late again, so I read the paper twice. Then the rain began to fall. "
RATE = 24_000


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    """The embedded model."""
    return load_model(Settings.from_env({"HIGGS_MODEL": "demo", "HIGGS_MAX_SLOTS": "4"}))


@pytest.mark.slow
def test_tokens_become_speech(model: LoadedModel) -> None:
    """Sound comes before the text is complete; in the end it is as long and loud as speech is."""

    async def test() -> None:
        async with serving(SpeechService(lambda: model)) as server, server.talk("seed=1") as talk:
            *tokens, last = re.findall(r"\s?\S+", TEXT)
            await talk.say(*tokens)
            await talk.read_audio()
            await talk.say(last)
            await talk.send("Close")
            assert (await talk.end())[1] == 1000
            seconds = len(talk.pcm) / RATE
            assert 0.4 < seconds / expected_duration_s(TEXT) < 2
            assert 0.02 < float(np.sqrt(np.mean(talk.pcm**2))) < 0.3

    asyncio.run(test())


@pytest.mark.slow
def test_an_interruption_frees_the_slots(model: LoadedModel) -> None:
    """Clear ends the sequences long before their end; then another text is spoken at once."""

    async def test() -> None:
        async with (
            serving(SpeechService(lambda: model)) as server,
            server.talk("seed=1") as one,
            server.talk("voice=bram&seed=2") as two,
        ):
            await one.say(TEXT * 20)
            await two.say(TEXT)
            await two.send("Flush")
            await one.read_audio()
            await one.send("Clear")
            num_bytes = await one.read_until("Cleared")
            assert num_bytes < 2 * RATE * expected_duration_s(TEXT * 20) / 4
            await one.say("And now to something else. ")
            await one.send("Close")
            assert (await one.end())[1] == 1000
            await two.read_until("Flushed")
            assert 0.4 < len(two.pcm) / RATE / expected_duration_s(TEXT) < 2

    asyncio.run(test())
    assert not model.engine._handles
