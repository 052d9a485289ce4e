"""Long texts and guards, told by a model that says each text in a tone of its own."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.errors import EngineBroken, EngineFailed, NoSound, QueueFull
from higgs_worker.metrics.worker_metrics import WorkerMetrics
from higgs_worker.speech.chunking import OPENING_WORDS, ChunkPlan, plan
from higgs_worker.speech.clock import Clock
from higgs_worker.speech.quality import MAX_QUIET_S
from higgs_worker.speech.session import SpeechSession
from higgs_worker.voices.references import Reference
from tests.fakes.scripted_model import (
    FRAME_RATE,
    HOP,
    LOUDNESS,
    RATE,
    SILENCE,
    ScriptedAttempt,
    ScriptedEngine,
    code_of,
    pitches_in,
    says,
    scripted_model,
)

LONG = " ".join(f"This is sentence number {n} of a rather long text." for n in range(40))


def request(**fields: object) -> SpeechRequest:
    """Make a request; its numbers are said as they stand."""
    defaults = {"text": LONG, "normalise": False, "seed": 1, "chunk_words": 20, "retries": 0}
    return SpeechRequest.parse(defaults | fields, max_text_chars=10**6)


class Heard:
    """Everything about one request that was spoken."""

    def __init__(
        self, speech: SpeechSession, chunk_plan: ChunkPlan, pieces: list[np.ndarray]
    ) -> None:
        self.plan = chunk_plan
        self.pieces = pieces
        self.pcm = np.concatenate([*pieces, np.zeros(0, np.float32)])
        self.result: SpeechResult = speech.result()

    def pitches(self) -> list[int]:
        """Give the pitches of chunks that were heard, in order."""
        known = self.expected()
        return [pitch for pitch in pitches_in(self.pcm) if pitch in known]

    def expected(self) -> list[int]:
        """Give the pitches of all chunks, in order."""
        return [code_of(chunk.text) for chunk in self.plan.chunks]


def speech_of(
    model: Any,
    asked: SpeechRequest,
    *,
    live: bool = False,
    references: dict[str | None, Reference] | None = None,
) -> tuple[SpeechSession, ChunkPlan]:
    """Prepare a request; in a running loop."""
    chunk_plan = plan(asked)
    speech = SpeechSession(
        model,
        asked,
        chunk_plan,
        references or {},
        seed=asked.seed or 0,
        clock=Clock(0.0),
        is_live=live,
        metrics=WorkerMetrics(),
    )
    return speech, chunk_plan


def hear(model: Any, asked: SpeechRequest, **how: Any) -> Heard:
    """Speak a request to its end."""

    async def listen() -> Heard:
        speech, chunk_plan = speech_of(model, asked, **how)
        return Heard(speech, chunk_plan, [pcm async for pcm in speech])

    return asyncio.run(listen())


async def drain(speech: SpeechSession) -> None:
    """Listen to the end."""
    async for _ in speech:
        pass


def engine_of(model: Any) -> ScriptedEngine:
    """Give the stand-in itself."""
    return model.engine  # type: ignore[no-any-return]


@pytest.mark.parametrize("live", [False, True])
def test_chunks_are_heard_in_order_and_each_once(live: bool) -> None:
    """However the chunks end, the listener hears the text from front to back."""
    model = scripted_model()
    heard = hear(model, request(), live=live)
    assert len(heard.plan.chunks) > 8
    assert heard.pitches() == heard.expected()
    assert len(engine_of(model).lines) == len(heard.plan.chunks)


def test_chunks_are_spoken_side_by_side_within_bounds() -> None:
    """All slots are used, and no request has more chunks under way than that."""
    model = scripted_model(num_slots=3)
    hear(model, request(voice={"description": "calm"}))
    assert engine_of(model).most_live == 3


def test_a_listener_who_pauses_holds_the_engine_back() -> None:
    """Nothing is spoken further ahead than the slots reach: memory is bounded for any text."""

    async def listen() -> tuple[int, int]:
        model = scripted_model(num_slots=3)
        speech, chunk_plan = speech_of(model, request(context_chunks=0), live=True)
        async with aclosing(aiter(speech)) as pieces:
            await anext(pieces)
            for _ in range(2000):
                await asyncio.sleep(0)
            return len(engine_of(model).lines), len(chunk_plan.chunks)

    asked, total = asyncio.run(listen())
    assert asked <= 6 < total


def test_who_stops_listening_frees_all_slots() -> None:
    """Leaving in the middle cancels every chunk under way, before anything else goes on."""

    async def listen() -> ScriptedEngine:
        model = scripted_model(num_slots=4)
        engine_of(model).hold = asyncio.Event()
        speech, _ = speech_of(model, request(), live=True)
        async with aclosing(aiter(speech)) as pieces:
            await anext(pieces)
        await asyncio.sleep(0.01)
        return engine_of(model)

    actor = asyncio.run(listen())
    assert actor.num_live == 0
    assert actor.num_cancelled == len(actor.lines)


def test_the_first_chunk_gives_its_voice_to_the_rest() -> None:
    """Without a voice, the first chunk is short, comes alone and is every other one's reference."""
    model = scripted_model()
    heard = hear(model, request(chunk_words=100))
    first, *rest = engine_of(model).lines
    assert not first.setting.references
    assert len(first.text.split()) <= OPENING_WORDS
    assert rest
    for line in rest:
        (reference,) = line.setting.references
        assert reference.text.strip() == heard.plan.chunks[0].text.strip()
        assert set(reference.codes[:, 0]) == {code_of(first.text)}


def test_a_recording_is_every_chunks_reference() -> None:
    """With a voice, all chunks start at once, each with the recording."""
    codes = np.full((10, 8), 7)
    model = scripted_model(num_slots=100)

    async def listen() -> None:
        engine_of(model).hold = asyncio.Event()
        references = {None: Reference("As I speak.", codes)}
        speech, chunk_plan = speech_of(model, request(voice="Anna"), references=references)
        listening = asyncio.create_task(drain(speech))
        async with asyncio.timeout(10):
            while engine_of(model).num_live < len(chunk_plan.chunks):
                await asyncio.sleep(0.001)
        engine_of(model).hold.set()
        await listening

    asyncio.run(listen())
    assert all(
        [each.text for each in line.setting.references] == ["As I speak."]
        for line in engine_of(model).lines
    )


def test_context_is_what_was_said_before() -> None:
    """With context, chunks come one after another, and each hears the ones before it."""
    model = scripted_model()
    heard = hear(model, request(context_chunks=2, voice={"description": "calm"}))
    assert engine_of(model).most_live == 1
    for index, line in enumerate(engine_of(model).lines):
        texts = [chunk.text for chunk in heard.plan.chunks[max(0, index - 2) : index]]
        assert [each.text for each in line.setting.context] == texts


def test_each_turn_is_shown_its_own_speaker_alone() -> None:
    """In a dialogue no prompt holds two voices, and each keeps its own."""
    codes = {"Anna": np.full((5, 8), 1), "Bert": np.full((5, 8), 2)}
    model = scripted_model()
    heard = hear(
        model,
        request(
            text="[Anna] Hello there, my friend. [Bert] Good day to you. [Anna] How are you?",
            speakers={"Anna": "a", "Bert": "b"},
        ),
        references={
            name: Reference(f"{name} speaks.", each, warnings=("doubtful",))
            for name, each in codes.items()
        },
    )
    assert heard.result.warnings.count("doubtful") == 1
    assert [chunk.speaker for chunk in heard.plan.chunks] == ["Anna", "Bert", "Anna"]
    for line, chunk in zip(engine_of(model).lines, heard.plan.chunks, strict=True):
        assert [each.text for each in line.setting.references] == [f"{chunk.speaker} speaks."]
    assert [segment.speaker for segment in heard.result.segments] == ["Anna", "Bert", "Anna"]


def test_speakers_without_voices_are_told_apart_and_keep_theirs() -> None:
    """Upstream's words for undescribed speakers begin, what they said goes on."""
    model = scripted_model()
    hear(model, request(text="[SPEAKER0] Hi. [SPEAKER1] Hello. [SPEAKER0] Bye. [SPEAKER1] Yes."))
    lines = {line.text: line.setting for line in engine_of(model).lines}
    first = lines["[SPEAKER0] Hi. "]
    assert [(each.tag, each.voice) for each in first.profiles] == [("SPEAKER0", "feminine")]
    assert first.is_dialogue
    second = lines["[SPEAKER1] Hello. "]
    assert [(each.tag, each.voice) for each in second.profiles] == [("SPEAKER1", "masculine")]
    third = next(setting for text, setting in lines.items() if text.startswith("Bye"))
    assert [each.text.strip() for each in third.references] == ["Hi."]


def test_joint_dialogue_shows_all_speakers() -> None:
    """The joint form puts turns together, tagged, each chunk hearing the one before it."""
    model = scripted_model()
    text = " ".join(f"[SPEAKER{n % 2}] This is what I say in turn {n}." for n in range(6))
    heard = hear(model, request(text=text, dialogue="joint"))
    lines = engine_of(model).lines
    assert len(lines) > 1
    assert lines[0].text.startswith("[SPEAKER0] This is what I say in turn 0.\n[SPEAKER1] This")
    assert [each.voice for each in lines[0].setting.profiles] == ["feminine", "masculine"]
    assert [len(line.setting.context) for line in lines] == [0] + [1] * (len(lines) - 1)
    assert [segment.speaker for segment in heard.result.segments] == ["SPEAKER0", "SPEAKER1"] * 3


def test_pauses_are_exact() -> None:
    """A pause that was asked for is there, to the sample, and so is one at the end."""
    heard = hear(scripted_model(), request(text="One. [pause 700ms] Two. [pause 1.5s]"))
    first, second = heard.result.segments
    quiet = heard.pcm[round(first.end_s * RATE) : round(second.start_s * RATE)]
    assert len(quiet) == round(0.7 * RATE)
    assert not quiet.any()
    tail = heard.pcm[round(second.end_s * RATE) :]
    assert len(tail) == round(1.5 * RATE)
    assert not tail.any()


def test_segments_tile_the_audio() -> None:
    """Every sentence of the text is there once, in order, at samples that exist."""
    heard = hear(scripted_model(), request())
    segments = heard.result.segments
    assert " ".join(segment.text for segment in segments) == LONG
    assert segments[0].start_s == 0.0
    assert segments[-1].end_s == len(heard.pcm) / RATE
    for before, after in pairwise(segments):
        assert before.start_s < before.end_s <= after.start_s
    for segment in segments:
        assert segment.start_s * RATE == pytest.approx(round(segment.start_s * RATE))


def test_a_sentence_in_two_chunks_is_one_segment() -> None:
    """What is too long for one chunk is still one sentence to the listener."""
    text = "word " * 60 + "end."
    heard = hear(scripted_model(), request(text=text))
    assert len(heard.plan.chunks) > 2
    (segment,) = heard.result.segments
    assert segment.text == text
    assert segment.end_s == len(heard.pcm) / RATE


def test_no_timestamps_when_none_are_wanted() -> None:
    """The field switches them off."""
    assert hear(scripted_model(), request(timestamps="none")).result.segments == ()


def test_loudness_is_matched() -> None:
    """Chunks of one voice that differ by a few decibels come out alike."""
    model = scripted_model(
        lambda line: ScriptedAttempt([50 + 200 * ("Two" in line.text)] * 2 * FRAME_RATE)
    )
    heard = hear(model, request(text="One is here. [pause 1s] Two is there."))
    first, second = heard.result.segments
    one, two = (
        heard.pcm[round(each.start_s * RATE) : round(each.end_s * RATE)] for each in (first, second)
    )
    assert one.max() == pytest.approx(LOUDNESS[0])
    assert two.max() == pytest.approx(LOUDNESS[0], rel=0.02)


FAULTS: dict[str, tuple[Callable[[str], ScriptedAttempt], str]] = {
    "ends at once": (lambda text: ScriptedAttempt([code_of(text)] * 10), "it ends after"),
    "never ends": (lambda text: ScriptedAttempt(says(text).codes, ends=False), "it did not end"),
    "falls silent": (
        lambda text: ScriptedAttempt(
            [code_of(text)] * round(2.5 * FRAME_RATE) + [SILENCE] * 3000, ends=False
        ),
        "it fell silent",
    ),
    "repeats": (lambda text: ScriptedAttempt(list(range(100, 120)) * 6), "it repeats itself"),
    "clips": (lambda text: ScriptedAttempt([450] * len(says(text).codes)), "distorted"),
}
SENTENCE = "This sentence is long enough to be judged by how long it takes to say it all."


@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_attempt_is_spoken_again(kind: str) -> None:
    """Each way to go wrong is noticed, mended by another seed, and reported."""
    wrong, _ = FAULTS[kind]
    model = scripted_model(lambda line: says(line.text) if line.number else wrong(line.text))
    heard = hear(model, request(text=SENTENCE, retries=1, chunk_words=100))
    first, second = engine_of(model).lines
    assert first.seed == 1 != second.seed
    assert heard.pitches() == [code_of(SENTENCE)]
    assert heard.result.finish_reason == "stop"
    (warning,) = heard.result.warnings
    assert "spoken again, with success" in warning


@pytest.mark.parametrize("kind", FAULTS)
def test_what_stays_bad_is_kept_and_said(kind: str) -> None:
    """When every attempt is bad the best is given, with what is wrong with it."""
    wrong, sentence = FAULTS[kind]
    model = scripted_model(lambda line: wrong(line.text))
    heard = hear(model, request(text=SENTENCE, retries=2, chunk_words=100))
    assert len(engine_of(model).lines) == 3
    (warning,) = heard.result.warnings
    assert sentence in warning
    assert "best of 3 attempts" in warning


def test_the_best_of_bad_attempts_is_kept() -> None:
    """An attempt that ends a little early is better than one that says nearly nothing."""
    lengths = [5, 18, 8]
    model = scripted_model(
        lambda line: ScriptedAttempt([code_of(line.text)] * lengths[line.number])
    )
    heard = hear(model, request(text=SENTENCE, retries=2, chunk_words=100))
    assert len(heard.pcm) == 18 * HOP


def test_a_silent_run_stops_the_model() -> None:
    """The engine is told to stop once nothing has been heard for long, and the quiet is cut."""
    wrong, _ = FAULTS["falls silent"]
    model = scripted_model(lambda line: wrong(line.text))
    heard = hear(model, request(text=SENTENCE, chunk_words=100, max_duration_s=100.0))
    assert engine_of(model).num_cancelled == 1
    assert len(heard.pcm) / RATE < 2.5 + MAX_QUIET_S
    assert heard.result.usage.audio_frames < 10 * FRAME_RATE


def test_one_bad_chunk_of_many() -> None:
    """Only the chunk that went wrong is spoken again, and the order holds."""
    model = scripted_model(
        lambda line: (
            ScriptedAttempt([5] * 3)
            if "number 20" in line.text and not line.number
            else says(line.text)
        )
    )
    heard = hear(model, request(retries=1))
    assert len(engine_of(model).lines) == len(heard.plan.chunks) + 1
    assert heard.pitches() == heard.expected()
    (warning,) = heard.result.warnings
    assert "number 20" in warning or "chunk" in warning


def test_a_failure_of_the_engine_is_tried_again() -> None:
    """A step that failed on this sequence, say for a NaN, costs an attempt and not the request."""
    failure = ScriptedAttempt(
        [], error=EngineFailed("the model computed a value that is no number")
    )
    model = scripted_model(lambda line: says(line.text) if line.number else failure)
    assert hear(model, request(text="Hello there.", retries=1)).pitches()
    with pytest.raises(EngineFailed):
        hear(scripted_model(lambda line: failure), request(text="Hello there.", retries=1))


def test_a_broken_engine_is_not_tried_again() -> None:
    """What no retry can mend ends the request at once."""
    broken = ScriptedAttempt([], error=EngineBroken("the device is gone"))
    model = scripted_model(lambda line: broken)
    with pytest.raises(EngineBroken):
        hear(model, request(text="Hello there.", retries=5))
    assert len(engine_of(model).lines) == 1


def test_silence_is_no_speech() -> None:
    """A model that says nothing that can be heard is an error, never a success."""
    model = scripted_model(lambda line: ScriptedAttempt([SILENCE] * 50))
    with pytest.raises(NoSound):
        hear(model, request(text="Hello there.", retries=1))
    assert len(engine_of(model).lines) == 2


def test_what_was_heard_is_never_taken_back() -> None:
    """A live listener hears the first chunk as it comes: it is not spoken again, but warned of."""
    wrong, sentence = FAULTS["ends at once"]
    model = scripted_model(lambda line: wrong(line.text))
    heard = hear(model, request(text=SENTENCE, retries=3, chunk_words=100), live=True)
    assert len(engine_of(model).lines) == 1
    assert sentence in heard.result.warnings[0]


def test_a_live_listener_hears_no_bad_attempt_of_what_was_spoken_ahead() -> None:
    """A chunk that goes wrong before its turn is spoken again without anybody noticing."""
    model = scripted_model(
        lambda line: (
            ScriptedAttempt([5] * 3)
            if "number 20" in line.text and not line.number
            else says(line.text)
        )
    )

    async def listen() -> list[np.ndarray]:
        speech, _ = speech_of(model, request(retries=1), live=True)
        pieces = []
        async for pcm in speech:
            pieces.append(pcm)
            for _ in range(50):  # a listener takes time; the engine goes on
                await asyncio.sleep(0)
        return pieces

    assert 5 not in pitches_in(np.concatenate(asyncio.run(listen())))


def test_live_and_whole_say_the_same() -> None:
    """Heard as it comes or afterwards, a text sounds the same, but for a trifle in loudness."""
    model = scripted_model(lambda line: ScriptedAttempt([50] * len(line.text)))
    live, whole = hear(model, request(), live=True), hear(model, request())
    np.testing.assert_allclose(live.pcm, whole.pcm, atol=0.005)


def test_same_seed_same_seeds_for_all_attempts() -> None:
    """Chunks and retries draw from seeds of their own, which follow from the request's."""
    wrong, _ = FAULTS["ends at once"]

    def seeds(seed: int) -> list[int]:
        model = scripted_model(lambda line: wrong(line.text))
        hear(model, request(retries=1, seed=seed))
        return sorted(line.seed for line in engine_of(model).lines)

    first = seeds(5)
    assert first == seeds(5)
    assert 5 in first
    assert len(set(first)) == len(first)
    assert not set(first) & set(seeds(6))


def test_a_full_queue_refuses_the_request_but_not_its_rest() -> None:
    """The first chunk is refused when too many wait; later chunks wait for room."""

    async def crowd() -> tuple[ScriptedEngine, list[np.ndarray]]:
        model = scripted_model(num_slots=2, max_waiting=0)
        engine_of(model).num_live = 1  # a stranger holds a slot
        speech, _ = speech_of(model, request(text=LONG[:300]))
        return engine_of(model), [pcm async for pcm in speech]

    _, pieces = asyncio.run(crowd())
    assert pieces

    full = scripted_model(num_slots=2, max_waiting=0)
    engine_of(full).num_live = 2
    with pytest.raises(QueueFull):
        hear(full, request())


def test_progress_rises_to_one() -> None:
    """How much has been spoken is known at any time."""

    async def listen() -> list[float]:
        speech, _ = speech_of(scripted_model(), request())
        return [speech.fraction_spoken async for _ in speech]

    seen = asyncio.run(listen())
    assert seen == sorted(seen)
    assert 0 < seen[0] < 1
    assert seen[-1] == pytest.approx(1.0)
