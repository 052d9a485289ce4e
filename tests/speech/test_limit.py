"""The caller's limit of length: whatever is said and however, no more than that is given out."""

import asyncio
import base64
import io
import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import soundfile

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.audio.shape import StreamResampler, change_speed
from higgs_worker.client import _speech
from higgs_worker.errors import InvalidRequest
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.speech.chunking import plan
from higgs_worker.speech.limit import AudioLimit
from higgs_worker.speech.service import SpeechService
from tests.delivery.test_every_route import duration_s
from tests.fakes.scripted_model import (
    FRAME_RATE,
    LOUDNESS,
    RATE,
    SILENCE,
    ScriptedAttempt,
    scripted_model,
)
from tests.fakes.speeches import runner
from tests.serverless.test_output import Shelf
from tests.speech.test_session import engine_of, hear, request

TWELVE = " ".join(f"Sentence number {n} of a rather long text." for n in range(12))
REQUESTS: dict[str, dict[str, Any]] = {
    "twelve chunks": {"text": TWELVE, "chunk_words": 10},
    "one long chunk": {"text": TWELVE, "chunk_words": 400, "voice": {"description": "calm"}},
    "slow": {"text": "Good morning to you all, it is late.", "speed": 0.25},
    "fast": {"text": TWELVE, "speed": 4.0},
    "a pause within": {"text": "One thing. [pause 10s] Two things."},
    "a pause at the end": {"text": "One thing. [pause 10s]"},
    "a dialogue": {"text": "[SPEAKER0] One thing. [SPEAKER1] Two things. [SPEAKER0] Three things."},
    "with context": {"text": TWELVE, "chunk_words": 10, "context_chunks": 2},
}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("seconds", [1, 2.3])
@pytest.mark.parametrize("kind", REQUESTS)
def test_no_more_is_heard_than_is_wanted(kind: str, seconds: float, live: bool) -> None:
    """Over chunks, pauses and speed; no segment begins later; nothing was done twice or in vain."""
    model = scripted_model()
    asked = request(**REQUESTS[kind], max_duration_s=seconds, retries=2)
    heard = hear(model, asked, live=live)
    result = heard.result
    assert seconds - 0.04 / asked.speed <= result.duration_s <= seconds  # whole frames are spoken
    assert len(heard.pcm) == pytest.approx(result.duration_s * RATE * asked.speed)
    assert result.finish_reason == "length"
    assert result.segments
    assert all(0 <= each.start_s < each.end_s <= result.duration_s for each in result.segments)
    assert all(one.end_s <= other.start_s for one, other in pairwise(result.segments))
    assert abs(heard.pcm[-1]) < 0.01
    assert result.warnings == ()
    spoken_s = len(heard.pcm) / RATE
    assert result.usage.audio_frames <= spoken_s * FRAME_RATE + len(heard.plan.chunks)
    texts = [line.text for line in engine_of(model).lines]
    assert len(texts) == len(set(texts)) <= 1 + spoken_s  # a sentence takes three seconds


def test_what_ends_in_time_is_unchanged() -> None:
    """To the sample, also where it ends within the fade, and so are its seeds and its result."""
    usual = hear(scripted_model(), request(text=TWELVE))
    exact = usual.result.duration_s
    for seconds in (exact + 20, exact + 0.003, exact):
        model = scripted_model()
        heard = hear(model, request(text=TWELVE, max_duration_s=seconds))
        assert np.array_equal(heard.pcm, usual.pcm)
        assert heard.result.finish_reason == "stop"
        assert (heard.result.segments, heard.result.usage) == (
            usual.result.segments,
            usual.result.usage,
        )
    cut = hear(scripted_model(), request(text=TWELVE, max_duration_s=exact - 0.01))
    assert cut.result.finish_reason == "length"
    same = len(cut.pcm) - round(0.005 * RATE)
    assert np.array_equal(cut.pcm[:same], usual.pcm[:same])


def test_equal_requests_are_cut_alike() -> None:
    """Where a chunk is cut does not depend on what else happened to be done."""
    asked = request(text=TWELVE, chunk_words=10, max_duration_s=9.87)
    few, many = (hear(scripted_model(num_slots=num), asked) for num in (1, 16))
    assert np.array_equal(few.pcm, many.pcm)
    assert few.result.usage == many.result.usage


def test_chunks_that_are_short_against_all_odds_make_room_for_others() -> None:
    """What was not started because it seemed out of reach is started when its turn comes."""
    model = scripted_model(lambda line: ScriptedAttempt([50] * 5))
    heard = hear(model, request(text=TWELVE, chunk_words=10, max_duration_s=5.0))
    assert len(engine_of(model).lines) == len(heard.plan.chunks) == 12
    assert heard.result.finish_reason == "stop"


def test_a_limit_beyond_what_fits_refuses_nothing() -> None:
    """It bounds all chunks together. What a slot ends before it has run on, and that is said."""
    model = scripted_model(lambda line: ScriptedAttempt([50], ends=False))
    result = hear(model, request(text="Hello there.", max_duration_s=600)).result
    assert result.duration_s == model.engine.max_frames(None) / FRAME_RATE  # type: ignore[arg-type]
    assert result.finish_reason == "length"
    assert "did not end" in result.warnings[0]


def test_the_rest_of_a_silent_attempt_is_no_speech() -> None:
    """A cut never makes a success of silence: a chunk's sound fits into what it may take."""
    attempt = ScriptedAttempt([SILENCE] * 2 + [50] * 60)
    model = scripted_model(lambda line: attempt)
    heard = hear(model, request(text="Hello there.", max_duration_s=0.2))
    assert np.abs(heard.pcm).max() == pytest.approx(LOUDNESS[0])


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("[pause 10s] One thing.", {"max_duration_s": 1}),
        ("[pause 950ms] One thing.", {"max_duration_s": 1}),
        ("[SPEAKER0] [pause 1s] One thing.", {"max_duration_s": 3, "speed": 0.25}),
    ],
)
def test_a_limit_within_the_first_pause_is_refused(text: str, fields: dict[str, Any]) -> None:
    """Before anything is loaded: nobody pays for silence."""
    with pytest.raises(InvalidRequest, match=r"begins with a pause of .* max_duration_s is"):
        plan(request(text=text, **fields))
    assert plan(request(text=text)).chunks


def worker(shelf: Shelf | None = None) -> JobRunner:
    """Return a worker whose model says each text as it should."""
    return runner(SpeechService(scripted_model), shelf)


async def pieces_of(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Stream a job."""
    return [piece async for piece in worker().stream({"id": "1", "input": asked})]


@pytest.mark.parametrize("format", MIME_TYPES)
def test_every_route_keeps_the_limit(format: str) -> None:
    """In the reply, in the bucket, streamed, in a batch, on OpenAI's route; each file is as long.

    AAC has no way to mark the encoder's own delay and the rest of its last frame.
    """
    fields = {"text": TWELVE[:200], "chunk_words": 10, "format": format, "max_duration_s": 1.5}
    shelf = Shelf()
    openai = {"input": fields["text"]} | {key: fields[key] for key in ("format", "max_duration_s")}
    jobs = (
        (worker(), fields),
        (worker(shelf), fields),
        (worker(), {"batch": [fields]}),
        (worker(), {"openai_route": "/v1/audio/speech", "openai_input": openai}),
    )
    slack = 0.09 if format == "aac" else 0.0
    for each, asked in jobs:
        output = asyncio.run(each.run({"id": "1", "input": asked}))
        output = output.get("batch", [output])[0]
        audio = output["audio"]
        data = shelf.objects[audio["key"]] if "key" in audio else base64.b64decode(audio["base64"])
        assert 1.4 < duration_s(data, format) <= 1.5 + slack
        assert audio["duration_s"] <= 1.5
        assert output["finish_reason"] == "length"
    streamed = asyncio.run(pieces_of(fields))
    assert 1.4 < duration_s(_speech(streamed).audio, format) <= 1.5 + slack
    assert streamed[-1]["finish_reason"] == "length"


def test_no_rounding_exceeds_the_limit() -> None:
    """Neither that of speed and sample rate, nor that of the output to milliseconds."""
    draw = random.Random(20)
    for _ in range(60):
        fields = {
            "max_duration_s": round(draw.uniform(0.2, 1.5), draw.randint(1, 6)),
            "speed": draw.choice([1.0, round(draw.uniform(0.25, 4), 2)]),
            "sample_rate": draw.randint(8000, 48000),
        }
        asked = SpeechRequest.parse({"text": "Hello."} | fields, max_text_chars=10)
        num_samples = AudioLimit.of(asked, RATE).max_samples
        assert round(num_samples / RATE / asked.speed, 3) <= fields["max_duration_s"]
        resampler = StreamResampler(RATE, asked.audio_rate)
        sound = change_speed(np.ones(num_samples, np.float32), RATE, asked.speed)
        num_stored = len(resampler.feed(sound)) + len(resampler.finish())
        assert num_stored / asked.audio_rate <= fields["max_duration_s"]
        assert num_stored / asked.audio_rate > fields["max_duration_s"] - 0.0015


@pytest.mark.parametrize("num", [900, 990, 1000, 1001, 1500])
def test_pieces_of_any_size_are_cut_alike(num: int) -> None:
    """A limit of a thousand samples, and a fade over the last hundred if more follow."""
    sound = np.ones(num, np.float32)
    results = []
    for size in (1, 7, 99, 1000, 2000):
        limit = AudioLimit(1000, 100)
        pieces = [limit.pass_on(sound[start : start + size]) for start in range(0, 1000, size)]
        if num > 1000:
            pieces.append(limit.pass_on(sound[1000:]))
        results.append(np.concatenate([*pieces, limit.finish()]))
        assert limit.is_reached == (num > 1000)
        assert limit.num_taken == min(num, 1000) == len(results[-1])
    assert all(np.array_equal(each, results[0]) for each in results)
    assert (results[0][:900] == 1).all()
    assert results[0][-1] == pytest.approx(0 if num > 1000 else 1, abs=0.001)


def test_the_header_tells_the_cut_length() -> None:
    """At another rate and speed, too."""
    fields = {"text": TWELVE, "speed": 1.3, "sample_rate": 22050, "max_duration_s": 0.777}
    output = asyncio.run(worker().run({"id": "1", "input": fields}))
    found: Any = soundfile.info(io.BytesIO(base64.b64decode(output["audio"]["base64"])))
    assert 0.75 < found.frames / found.samplerate <= 0.777
    assert output["audio"]["duration_s"] == pytest.approx(found.frames / found.samplerate, abs=1e-3)


def test_a_limit_makes_room_in_the_reply() -> None:
    """A text whose audio would be too large is spoken as far as the limit lets it."""
    patient = runner(SpeechService(scripted_model), max_text_chars=10**6)
    asked = {"text": TWELVE * 1000}
    refused = asyncio.run(patient.run({"id": "1", "input": asked}))
    assert refused["code"] == "result_too_large"
    assert "max_duration_s" in refused["error"]
    output = asyncio.run(patient.run({"id": "1", "input": asked | {"max_duration_s": 1}}))
    assert output["audio"]["duration_s"] == 1
