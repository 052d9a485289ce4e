"""One request in, one result out, on the embedded model."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from higgs_worker import quality
from higgs_worker.build import load_speaker
from higgs_worker.engine.sequence import Generation
from higgs_worker.errors import NoSound, PromptTooLong, WeightsNotFound
from higgs_worker.schema import SpeechRequest, SpeechResult
from higgs_worker.service import Speaker, SpeechService
from higgs_worker.settings import Settings

SETTINGS = Settings.from_env(
    {"HIGGS_MODEL": "demo", "HIGGS_MAX_LENGTH": "1024", "HIGGS_MAX_SLOTS": "2"}
)


@pytest.fixture(scope="module")
def speaker() -> Speaker:
    """The embedded model."""
    return load_speaker(SETTINGS)


def request(**fields: object) -> SpeechRequest:
    """Make a request; short, unless it says otherwise."""
    return SpeechRequest.parse(
        {"text": "Hello.", "max_duration_s": 0.4} | fields, max_text_chars=5000
    )


def speak(service: SpeechService, **fields: object) -> SpeechResult:
    """Speak one request to its end."""
    return asyncio.run(service.speak(request(**fields)))


def test_same_seed_same_audio(speaker: Speaker) -> None:
    """The seed decides the audio, and no seed means a new one, named in the result."""
    service = SpeechService(lambda: speaker)
    first, again = speak(service, seed=5), speak(service, seed=5)
    other = speak(service, seed=6)
    assert first.audio == again.audio != other.audio
    drawn, redrawn = speak(service), speak(service)
    assert drawn.seed != redrawn.seed
    assert speak(service, seed=drawn.seed).audio == drawn.audio


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", "Hello"),
        ("scene", "A cathedral."),
        ("scene", None),
        ("temperature", 1.5),
        ("top_p", 0.2),
        ("top_k", 2),
        ("ras_window", 64),
        ("ras_max_repeats", 1),
        ("max_duration_s", 0.8),
    ],
)
def test_every_field_has_an_effect(speaker: Speaker, field: str, value: object) -> None:
    """Changing one field, at the same seed, changes the audio."""
    service = SpeechService(lambda: speaker)
    base = {"seed": 1, "temperature": 0.9, "top_k": 8, "max_duration_s": 1.6}
    assert speak(service, **base).audio != speak(service, **base | {field: value}).audio


def test_the_model_is_loaded_once_and_late(speaker: Speaker) -> None:
    """Two requests at once load one model, and the wait is in their timing."""
    loads = []

    def load() -> Speaker:
        loads.append(1)
        return speaker

    async def both() -> list[SpeechResult]:
        service = SpeechService(load)
        assert not loads
        return await asyncio.gather(*(service.speak(request(seed=i)) for i in range(2)))

    first, second = asyncio.run(both())
    assert len(loads) == 1
    assert second.timing.queue_s > first.timing.queue_s
    assert first.timing.total_s >= first.timing.first_audio_s > 0


def test_a_failed_load_is_tried_again(speaker: Speaker) -> None:
    """A worker whose weights were not there yet is not broken for good."""
    attempts = iter([WeightsNotFound("not there"), speaker])

    def load() -> Speaker:
        attempt = next(attempts)
        if isinstance(attempt, Exception):
            raise attempt
        return attempt

    service = SpeechService(load)
    with pytest.raises(WeightsNotFound):
        speak(service)
    assert speak(service).audio


def test_the_length_follows_the_text(speaker: Speaker) -> None:
    """Without a limit of the caller's, a random model is stopped by that of the text."""
    result = speak(SpeechService(lambda: speaker), text="Hello there.", max_duration_s=None)
    assert result.finish_reason == "length"
    assert result.duration_s == pytest.approx(quality.max_duration_s("Hello there."), abs=0.04)


def test_our_own_limit_is_cut_to_what_fits(speaker: Speaker) -> None:
    """A text that fits with a shorter limit than we would grant is spoken all the same."""
    text = "word " * 60
    wished = round(quality.max_duration_s(text) * 25)
    prompt = speaker.prompts.speech(text, request().scene)
    room = speaker.engine.max_frames(prompt)
    assert quality.expected_duration_s(text) * 25 < room < wished
    result = speak(SpeechService(lambda: speaker), text=text, max_duration_s=None)
    assert result.usage.audio_frames == room


def test_a_callers_limit_that_does_not_fit_is_refused(speaker: Speaker) -> None:
    """Nobody gets less than was asked for without an error."""
    with pytest.raises(PromptTooLong, match="shorter text"):
        speak(SpeechService(lambda: speaker), max_duration_s=60.0)


def test_no_sound_is_an_error(speaker: Speaker) -> None:
    """A model that ends at once is no success."""

    class MuteHandle:
        async def wait(self) -> Generation:
            return Generation(np.zeros((0, 8), dtype=np.int64), np.zeros((8, 8)), "stop")

    class MuteEngine:
        def submit(self, submission: object) -> MuteHandle:
            return MuteHandle()

    mute = Speaker(
        speaker.prompts,
        MuteEngine(),
        speaker.decode,
        24000,
        25,
        speaker.info,
    )
    with pytest.raises(NoSound, match="another seed"):
        speak(SpeechService(lambda: mute))


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    """The error names the variable and the way out."""
    settings = Settings.from_env({"HIGGS_MODEL": str(tmp_path / "none")})
    with pytest.raises(WeightsNotFound, match=r"HIGGS_MODEL=.*hf download"):
        load_speaker(settings)


def test_expected_durations() -> None:
    """Syllabic scripts and digits take longer per character than letters."""
    assert quality.expected_duration_s("a" * 140) == pytest.approx(10)
    assert quality.expected_duration_s("語" * 45) == pytest.approx(10)
    assert quality.expected_duration_s("1984") > quality.expected_duration_s("word")
