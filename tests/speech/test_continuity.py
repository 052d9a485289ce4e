"""Requests of one conversation: what later ones take from the first."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio.shape import loudness_lufs
from higgs_worker.speech.service import SpeechService
from higgs_worker.voices.continuity import Continuity
from tests.fakes.scripted_model import (
    RATE,
    AskedText,
    ScriptedAttempt,
    ScriptedEngine,
    says,
    scripted_model,
)
from tests.fakes.speeches import listen

FIRST, SECOND = "The first text, of some words.", "The second text, of other words."


def request(text: str, **fields: object) -> SpeechRequest:
    """Make a request."""
    return SpeechRequest.parse({"text": text} | fields, max_text_chars=1000)


def softer(line: AskedText) -> ScriptedAttempt:
    """Say a text at two thirds of its loudness when it comes again."""
    attempt = says(line.text)
    shift = 200 if line.number else 0
    return replace(attempt, codes=[code + shift for code in attempt.codes])


async def difference(service: SpeechService, continuity: Continuity | None) -> float:
    """Speak a text twice, for nobody who listens meanwhile; return the difference in LU."""
    found = []
    for text in (FIRST, FIRST):
        session = await service.start(request(text), is_live=False, continuity=continuity)
        audio = await listen(session)
        pcm = np.frombuffer(audio.data[44:], "<i2").astype(np.float32) / 32767
        found.append(loudness_lufs(pcm, RATE))
    return found[0] - found[1]


def test_the_loudness_holds() -> None:
    """A later request is brought to the first one's, as a chunk is."""
    service = SpeechService(lambda: model)
    model = scripted_model(softer)
    assert asyncio.run(difference(service, None)) > 2
    assert abs(asyncio.run(difference(service, Continuity()))) < 0.2


@pytest.mark.parametrize("voice", [None, {"description": "An old man."}])
def test_a_voice_without_a_recording_holds(voice: object) -> None:
    """The first chunk of each speaker is shown to every later request."""

    async def test() -> None:
        model, continuity = scripted_model(), Continuity()
        service = SpeechService(lambda: model)
        for text in (FIRST, SECOND, "[SPEAKER1] " + FIRST, "[SPEAKER1] " + SECOND):
            how = {"voice": voice} if voice else {}
            await listen(await service.start(request(text, **how), continuity=continuity))
        engine: ScriptedEngine = model.engine  # type: ignore[assignment]
        shown = [[each.text.strip() for each in line.setting.references] for line in engine.lines]
        assert shown == [[], [FIRST], [], [FIRST]]
        assert set(continuity.references) == {None, "SPEAKER1"}

    asyncio.run(test())


def test_what_was_prepared_is_generated_and_can_be_cancelled() -> None:
    """Before anybody listens, and without that anybody ever does."""

    async def test() -> None:
        model = scripted_model(hold=asyncio.Event())
        engine: ScriptedEngine = model.engine  # type: ignore[assignment]
        service = SpeechService(lambda: model)
        session = await service.start(request(FIRST))
        await session.prepare()
        await asyncio.sleep(0.01)
        assert engine.num_live == 1
        session.cancel()
        await asyncio.sleep(0.01)
        assert (engine.num_live, engine.num_cancelled) == (0, 1)
        session = await service.start(request(FIRST))
        await session.prepare()
        async with aclosing(aiter(session)) as pieces:
            assert len(await anext(pieces))
            assert len(engine.lines) == 2

    asyncio.run(test())
