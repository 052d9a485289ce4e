"""One request in, one result out, on a model that never ends by itself."""

import asyncio
import io
import logging
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import av
import numpy as np
import pytest

from higgs_worker.api.request import Format, SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.delivery.file import AudioFile
from higgs_worker.errors import EngineBroken, PromptTooLong, WeightsNotFound
from higgs_worker.load import load_model
from higgs_worker.settings import Settings
from higgs_worker.speech import service as service_module
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.prompt import PromptContext
from higgs_worker.speech.ras_defaults import RasDefaults
from higgs_worker.speech.service import SpeechService
from higgs_worker.text.duration import expected_duration_s, max_duration_s
from tests.fakes import toy_model
from tests.fakes.scripted_model import scripted_model
from tests.fakes.speeches import listen


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A model of random weights."""
    bounds = {"HIGGS_MAX_LENGTH": "1024", "HIGGS_MAX_SLOTS": "2"}
    return load_model(
        Settings.from_env(toy_model.write_to(tmp_path_factory.mktemp("toy")) | bounds)
    )


def request(**fields: object) -> SpeechRequest:
    """Make a request; short, unless it says otherwise."""
    usual = {"text": "Hello.", "max_duration_s": 0.4, "temperature": 1.0, "retries": 0}
    return SpeechRequest.parse(usual | fields, max_text_chars=5000)


@dataclass
class Spoken:
    """A request that was spoken to its end."""

    audio: AudioFile
    result: SpeechResult


async def speak_to_end(service: SpeechService, **fields: object) -> Spoken:
    """Speak one request, for nobody who listens meanwhile."""
    session = await service.start(request(**fields), is_live=False)
    return Spoken(await listen(session), session.result())


def speak(service: SpeechService, **fields: object) -> Spoken:
    """Speak one request to its end."""
    return asyncio.run(speak_to_end(service, **fields))


def test_same_seed_same_audio(speaker: LoadedModel) -> None:
    """The seed decides the audio, and no seed means a new one, named in the result."""
    service = SpeechService(lambda: speaker)
    first, again = speak(service, seed=5), speak(service, seed=5)
    other = speak(service, seed=6)
    assert first.audio.data == again.audio.data != other.audio.data
    drawn, redrawn = speak(service), speak(service)
    assert drawn.result.seed != redrawn.result.seed
    assert speak(service, seed=drawn.result.seed).audio == drawn.audio


@pytest.fixture(scope="module")
def unchanged() -> dict[str, bytes]:
    """Files of requests of which no field was changed, made once each."""
    return {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", "Good night."),
        ("scene", "A cathedral."),
        ("scene", None),
        ("temperature", 1.5),
        ("top_p", 0.2),
        ("top_k", 50),
        ("ras_window", 0),
        ("ras_max_repeats", 1),
        ("max_duration_s", 0.8),
        ("format", "flac"),
        ("sample_rate", 16000),
        ("speed", 1.3),
        ("loudness_lufs", -30.0),
    ],
)
def test_every_field_has_an_effect(
    speaker: LoadedModel, unchanged: dict[str, bytes], field: str, value: object
) -> None:
    """Changing one field, at the same seed, changes the audio."""
    service = SpeechService(lambda: speaker)
    base = {"seed": 1, "temperature": 0.9, "top_k": 2, "max_duration_s": 1.2}
    if field.startswith("ras_"):  # nothing repeats itself at once
        base |= {"temperature": 0.3, "max_duration_s": 3.0, "ras_window": 64}
    if repr(base) not in unchanged:
        unchanged[repr(base)] = speak(service, **base).audio.data
    assert speak(service, **base | {field: value}).audio.data != unchanged[repr(base)]


def test_the_models_own_repetition_rule(speaker: LoadedModel) -> None:
    """What its generation_config.json says holds, unless the request says something else."""
    base = {"seed": 1, "temperature": 0.3, "top_k": 2, "max_duration_s": 2.0}
    published, own = (
        SpeechService(lambda ras=each: replace(speaker, ras=ras))
        for each in (RasDefaults(), RasDefaults(64, 1))
    )
    usual = speak(published, **base).audio.data
    unusual = speak(published, **base, ras_window=64, ras_max_repeats=1).audio.data
    assert speak(own, **base).audio.data == unusual != usual
    assert speak(own, **base, ras_window=7, ras_max_repeats=2).audio.data == usual


@pytest.mark.parametrize("format", get_args(Format))
def test_every_format_plays(speaker: LoadedModel, format: str) -> None:
    """Each format, at another rate and speed, holds the audio that its result describes."""
    spoken = speak(
        SpeechService(lambda: speaker), seed=1, format=format, sample_rate=22050, speed=0.8
    )
    assert spoken.audio.info.format == format
    assert spoken.result.duration_s == pytest.approx(0.4)
    if format in ("pcm", "ulaw", "alaw"):
        num_bytes = 2 if format == "pcm" else 1
        assert len(spoken.audio.data) == num_bytes * round(0.4 * 22050)
        return
    with av.open(io.BytesIO(spoken.audio.data)) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
        rate = container.streams.audio[0].rate
    assert rate == (48000 if format == "opus" else spoken.audio.info.sample_rate)
    assert samples / rate == pytest.approx(0.4, abs=0.1)


def test_the_edges_are_silent(speaker: LoadedModel) -> None:
    """Audio begins and ends at zero: no click."""
    audio = speak(SpeechService(lambda: speaker), seed=1).audio
    samples = np.frombuffer(audio.data[44:], dtype="<i2")
    assert abs(int(samples[0])) <= 1
    assert abs(int(samples[-1])) <= 1


def test_speech_comes_piece_by_piece(speaker: LoadedModel) -> None:
    """The first samples are there long before the last, and joined they are the whole."""

    async def hear() -> tuple[list[np.ndarray], float]:
        speech = await SpeechService(lambda: speaker).start(request(seed=1, max_duration_s=8.0))
        pieces, early = [], 1.0
        async for pcm in speech:
            early = min(early, speech.fraction_spoken)
            pieces.append(pcm)
        return pieces, early

    pieces, early = asyncio.run(hear())
    assert early == 0.0
    assert len(pieces) > 4
    assert len(pieces[0]) < 24000
    assert sum(map(len, pieces)) == 8 * 24000


def test_who_stops_listening_frees_the_slot(speaker: LoadedModel) -> None:
    """Leaving early cancels the sequence; the next request is served at once."""

    async def leave() -> None:
        service = SpeechService(lambda: speaker)
        speech = await service.start(request(seed=1, max_duration_s=30.0))
        async for _ in speech:
            break
        speaking = asyncio.create_task(speak_to_end(service, max_duration_s=30.0))
        await asyncio.sleep(0.1)
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
        for _ in range(100):
            if speaker.engine._scheduler.is_idle:
                break
            await asyncio.sleep(0.05)
        assert speaker.engine._scheduler.is_idle
        assert (await speak_to_end(service)).audio

    asyncio.run(leave())


@pytest.mark.parametrize("preload", [False, True])
def test_the_model_is_loaded_once_and_late(speaker: LoadedModel, preload: bool) -> None:
    """Two requests at once load one model; what both wait for it is load, also after a preload."""
    loads = []

    def load() -> LoadedModel:
        loads.append(1)
        time.sleep(0.2)
        return speaker

    async def both() -> list[Spoken]:
        service = SpeechService(load)
        assert not loads
        if preload:
            service.preload()
        return await asyncio.gather(*(speak_to_end(service, seed=i) for i in range(2)))

    for timing in (spoken.result.timing for spoken in asyncio.run(both())):
        assert 0.1 < timing.load_s < timing.first_audio_s <= timing.total_s
        assert timing.queue_s < timing.load_s
    assert len(loads) == 1


def test_who_comes_after_the_load_did_not_wait_for_it(speaker: LoadedModel) -> None:
    """A model that is there already is no load."""
    service = SpeechService(lambda: speaker)
    speak(service)
    assert speak(service).result.timing.load_s < 0.1


def test_a_failed_load_is_tried_again(speaker: LoadedModel) -> None:
    """A worker whose weights were not there yet is not broken for good."""
    attempts = iter([WeightsNotFound("not there"), speaker])

    def load() -> LoadedModel:
        attempt = next(attempts)
        if isinstance(attempt, Exception):
            raise attempt
        return attempt

    service = SpeechService(load)
    with pytest.raises(WeightsNotFound):
        speak(service)
    assert speak(service).audio


def test_the_length_follows_the_text(speaker: LoadedModel) -> None:
    """Without a limit of the caller's, a random model is stopped by that of the text."""
    result = speak(SpeechService(lambda: speaker), text="Hello there.", max_duration_s=None).result
    assert result.finish_reason == "length"
    assert result.duration_s == pytest.approx(max_duration_s("Hello there."), abs=0.04)


@pytest.mark.parametrize(
    ("max_chunk_words", "chunk_words", "expected"), [(None, 50, 1), (8, 50, 3), (8, 6, 4)]
)
def test_a_model_may_say_less_at_once_than_is_asked_for(
    max_chunk_words: int | None, chunk_words: int, expected: int
) -> None:
    """Chunks are as short as the model needs them; shorter ones are granted."""
    model = scripted_model()
    service = SpeechService(lambda: model, max_chunk_words=max_chunk_words)
    text = "word " * 23 + "word."
    speak(service, text=text, chunk_words=chunk_words, max_duration_s=None)
    assert len(model.prompts.asked) == expected  # type: ignore[attr-defined]


def test_our_own_limit_is_cut_to_what_fits(speaker: LoadedModel) -> None:
    """A text that fits with a shorter limit than we would grant is spoken all the same."""
    text = "word " * 59 + "word."
    wished = round(max_duration_s(text) * 25)
    prompt = speaker.prompts.build(text, PromptContext(request().scene))
    room = speaker.engine.max_frames(prompt)
    assert expected_duration_s(text) * 25 < room < wished
    result = speak(SpeechService(lambda: speaker), text=text, max_duration_s=None).result
    assert result.usage.audio_frames == room


def test_a_text_that_cannot_fit_is_refused(speaker: LoadedModel) -> None:
    """Nobody gets less than the text needs without an error."""
    text = "word " * 140 + "word."
    with pytest.raises(PromptTooLong, match="shorter text"):
        speak(SpeechService(lambda: speaker), text=text, chunk_words=400, max_duration_s=60.0)


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    """The error names the variable and the way out."""
    settings = Settings.from_env({"HIGGS_MODEL": str(tmp_path / "none")})
    with pytest.raises(WeightsNotFound, match=r"HIGGS_MODEL=.*set it to one of them"):
        load_model(settings)


def test_the_device_is_not_touched_before_it_may_be() -> None:
    """Somebody else may be checking it; a GPU that is not there is only missed afterwards."""

    def say_no() -> None:
        raise EngineBroken("not yet")

    settings = Settings.from_env({"HIGGS_MODEL": "demo", "HIGGS_DEVICE": "cuda:99"})
    with pytest.raises(EngineBroken, match="not yet"):
        load_model(settings, wait_for_device=say_no)


def test_a_preloaded_model_waits_for_nobody(speaker: LoadedModel) -> None:
    """It is loaded in a thread of its own, and the first request takes it up."""
    loads = []

    def load() -> LoadedModel:
        loads.append(threading.current_thread())
        return speaker

    service = SpeechService(load)
    service.preload()
    assert speak(service).audio
    assert speak(service).audio
    assert len(loads) == 1
    assert loads[0].daemon


def test_a_failed_preload_is_logged_and_tried_again(
    speaker: LoadedModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker starts all the same; the first job gets the model or the error."""
    monkeypatch.setattr(logging.getLogger("higgs_worker"), "propagate", True)
    attempts = iter([WeightsNotFound("not there"), WeightsNotFound("nor there"), speaker])

    def load() -> LoadedModel:
        attempt = next(attempts)
        if isinstance(attempt, Exception):
            raise attempt
        return attempt

    service = SpeechService(load)
    service.preload()
    while "tries again: not there" not in caplog.text:
        time.sleep(0.001)
    with pytest.raises(WeightsNotFound, match="nor there"):
        speak(service)
    assert speak(service).audio


def test_who_waits_for_the_model_is_told_how_far_it_is(
    speaker: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a request that gives up leaves the load alone."""
    monkeypatch.setattr(service_module, "REPORT_EVERY_S", 0.01)
    may_end = threading.Event()
    told: list[str] = []

    def load() -> LoadedModel:
        may_end.wait(10)
        return speaker

    service = SpeechService(load, lambda: "pulling: 17 %")

    def on_progress(fraction: float, doing: str = "") -> None:
        told.append(doing)

    async def wait_for_the_model() -> AudioFile:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await service.start(request(), on_progress)
        may_end.set()
        return await listen(await service.start(request(), on_progress))

    assert asyncio.run(wait_for_the_model()).data
    assert set(told) == {"pulling: 17 %", ""}
    assert told[-1] == ""
