"""What would be spoken, told without a model."""

import asyncio
import threading
import time

import pytest

from higgs_worker.api.reading import Reading
from higgs_worker.api.request import SpeechRequest
from higgs_worker.errors import InvalidRequest
from higgs_worker.speech.chunking import TURN_PAUSE_S
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.service import SpeechService
from higgs_worker.text.duration import expected_duration_s
from tests.fakes.scripted_model import scripted_model
from tests.fakes.speeches import listen


def no_model() -> LoadedModel:
    """Fail: nothing may be loaded."""
    raise AssertionError("a model was loaded")


def request(text: str, **fields: object) -> SpeechRequest:
    """Make a request."""
    return SpeechRequest.parse({"text": text} | fields, max_text_chars=10**6)


def read(text: str, **fields: object) -> Reading:
    """Read a text."""
    return asyncio.run(SpeechService(no_model).read(request(text, **fields)))


def test_sentences_stand_as_they_were_written_and_as_they_are_said() -> None:
    """With their speakers, and how long each takes."""
    text = "[Anna] It costs $5. Fine. [Ben] No."
    reading = read(text, speakers={"Anna": "anna", "Ben": None})
    told = [(each.text, each.speaker, each.spoken) for each in reading.sentences]
    assert told == [
        ("It costs $5.", "Anna", "It costs five dollars."),
        ("Fine.", "Anna", None),
        ("No.", "Ben", None),
    ]
    assert reading.sentences[0].expected_s == expected_duration_s("It costs five dollars.")
    assert reading.num_characters == len(text)
    assert reading.num_words == 5
    assert reading.num_chunks == 2
    assert reading.warnings == ()
    assert sum(each.expected_s for each in reading.sentences) + TURN_PAUSE_S == pytest.approx(
        reading.expected_s, abs=0.1
    )


def test_the_language_is_told() -> None:
    """The one that was named, or the one that is found."""
    assert read("Das ist nicht der Weg, den wir gehen wollten.").language == "de"
    assert read("Ein Test.", language="de-AT").language == "de-AT"


def test_pauses_speed_and_limit_count() -> None:
    """In the expected length of the whole; that of a sentence has its speed."""
    plain = read("One word. [pause 3s] Another word. [pause 2s]")
    assert plain.expected_s == pytest.approx(
        5 + sum(each.expected_s for each in plain.sentences), abs=0.2
    )
    fast = read("One word. [pause 3s] Another word. [pause 2s]", speed=2.0)
    assert fast.expected_s == pytest.approx(plain.expected_s / 2)
    assert fast.sentences[0].expected_s == pytest.approx(plain.sentences[0].expected_s / 2)
    assert read("One word. [pause 3s] Another.", max_duration_s=2.0).expected_s == 2.0


def test_doubtful_brackets_are_told() -> None:
    """As a result tells them; where tags are strict they are refused."""
    (warning,) = read("Hello. [lagh]", strict_tags=False).warnings
    assert "[lagh]" in warning
    with pytest.raises(InvalidRequest, match="sihg"):
        read("Hello. [sihg]")
    with pytest.raises(InvalidRequest, match="nothing to say"):
        read("🦓 …")


def test_what_is_read_is_what_is_spoken() -> None:
    """Sentences and chunks are those of the speech, also where a model says less at once."""
    asked = request("It costs $5, and more. " * 8 + "Fine.")
    for max_chunk_words in (None, 10):
        service = SpeechService(scripted_model, max_chunk_words=max_chunk_words)

        async def run(service: SpeechService = service) -> None:
            reading = await service.read(asked)
            session = await service.start(asked, is_live=False)
            await listen(session)
            segments = [(each.text, each.spoken) for each in session.result().segments]
            assert [(each.text, each.spoken) for each in reading.sentences] == segments
            assert reading.num_chunks == len(session._chunks)

        asyncio.run(run())


def test_a_model_that_is_being_loaded_is_not_waited_for() -> None:
    """The answer comes while the load goes on."""
    released = threading.Event()

    def load() -> LoadedModel:
        released.wait(10)
        return scripted_model()

    async def run() -> None:
        service = SpeechService(load)
        service.preload()
        reading = await asyncio.wait_for(service.read(request("Hello.")), 5)
        assert not released.is_set()
        released.set()
        assert reading.num_chunks == 1

    asyncio.run(run())


def test_whoever_gives_up_ends_the_work() -> None:
    """A long text is planned stretch by stretch, and no further than somebody waits."""
    num_threads = threading.active_count()

    async def run() -> float:
        reading = asyncio.create_task(
            SpeechService(no_model).read(request("It costs $5 on 3/4/2024. " * 20_000))
        )
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        return time.monotonic()

    cancelled = asyncio.run(run())  # waits for the threads
    assert time.monotonic() - cancelled < 5
    assert threading.active_count() <= num_threads
