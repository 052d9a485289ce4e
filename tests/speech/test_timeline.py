"""Times of sentences while a speech goes on: there in time, and in the end those of the result."""

import asyncio
from typing import Any

import pytest

from higgs_worker.api.output import to_segments
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import Segment, SegmentUpdate, SpeechResult
from tests.fakes.scripted_model import RATE, scripted_model
from tests.speech.test_session import request, speech_of

TWELVE = " ".join(f"Sentence number {n} of a rather long text." for n in range(12))
ENDLESS = "and so it goes on and on " * 40 + "until it ends. Then comes another one."
REQUESTS: dict[str, dict[str, Any]] = {
    "one chunk": {"text": TWELVE, "chunk_words": 400, "voice": {"description": "calm"}},
    "many chunks": {"text": TWELVE, "chunk_words": 10},
    "one sentence": {"text": "Good morning."},
    "fast": {"text": TWELVE, "speed": 1.7},
    "slow": {"text": TWELVE, "speed": 0.5, "chunk_words": 400},
    "a dialogue": {"text": "[SPEAKER0] One thing. [SPEAKER1] Two things. Or three. [SPEAKER0] No."},
    "a joint dialogue": {
        "text": f"[SPEAKER0] {TWELVE} [SPEAKER1] {TWELVE} [SPEAKER0] No.",
        "dialogue": "joint",
    },
    "pauses": {"text": "[pause 1s] One thing. [pause 2s] Two things. [pause 1s]"},
    "written out": {"text": "It took 1984 days. That is 5 years.", "normalise": True},
    "longer than a chunk": {"text": f"One thing. {ENDLESS}"},
    "cut": {"text": TWELVE, "chunk_words": 10, "max_duration_s": 9.87},
    "cut in its first chunk": {"text": TWELVE, "chunk_words": 400, "max_duration_s": 7.5},
    "cut in a sentence": {"text": ENDLESS, "max_duration_s": 20.0, "speed": 1.1},
    "cut between two chunks of a sentence": {"text": ENDLESS, "max_duration_s": 9.65},
    "cut in a pause": {"text": "One thing. [pause 3s] Two.", "max_duration_s": 2.0},
}


class Follower:
    """Hears a speech, and keeps what it is told of its segments, as a client does."""

    def __init__(self) -> None:
        self.known: dict[int, SegmentUpdate] = {}
        self.updates: list[SegmentUpdate] = []
        self.states: list[tuple[int, list[SegmentUpdate]]] = []
        """After each piece that told something: the samples before it, and all that was known."""
        self.result: SpeechResult | None = None

    async def follow(self, asked: SpeechRequest, *, is_live: bool = True) -> "Follower":
        """Hear a request to its end."""
        speech, _ = speech_of(scripted_model(), asked, live=is_live)
        num_heard = 0
        async for pcm in speech:
            if self._learn(speech.take_segments()):
                self.states.append((num_heard, [self.known[n] for n in sorted(self.known)]))
            num_heard += len(pcm)
        self._learn(speech.take_segments())
        self.result = speech.result()
        return self

    @property
    def final(self) -> tuple[Segment, ...]:
        """Those of the result."""
        assert self.result is not None
        return self.result.segments

    def _learn(self, updates: Any) -> bool:
        self.updates += updates
        self.known |= {each.index: each for each in updates}
        return bool(updates)


def follow(asked: SpeechRequest, **how: Any) -> Follower:
    """Hear a request to its end."""
    return asyncio.run(Follower().follow(asked, **how))


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize("kind", REQUESTS)
def test_what_was_told_is_what_the_result_has(kind: str, is_live: bool) -> None:
    """By index, each with its last times, none of them an estimate; there is nothing else but
    what the limit left out.
    """
    heard = follow(request(**REQUESTS[kind]), is_live=is_live)
    final = [SegmentUpdate(*each, is_estimate=False) for each in enumerate(heard.final)]
    assert final
    assert [heard.known[each.index] for each in final] == final
    beyond = [each for index, each in heard.known.items() if index >= len(final)]
    assert all(each.is_estimate for each in beyond)
    assert not beyond or kind.startswith("cut")


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize("kind", REQUESTS)
def test_times_come_in_time(kind: str, is_live: bool) -> None:
    """A sentence has times before its first sample, and those are within what is wanted.

    Whenever something was told, starts are in order.
    """
    asked = request(**REQUESTS[kind])
    heard = follow(asked, is_live=is_live)
    told_at = {}
    for num_heard, known in heard.states:
        assert [each.index for each in known] == list(range(len(known)))
        starts = [each.segment.start_s for each in known]
        if len(known) <= len(heard.final):
            assert starts == sorted(starts)
        assert all(each.segment.start_s < each.segment.end_s for each in known)
        if asked.max_duration_s is not None:
            assert starts[-1] < asked.max_duration_s
        for each in known:
            told_at.setdefault(each.index, num_heard)
    for index, segment in enumerate(heard.final):
        assert told_at[index] <= round(segment.start_s * asked.speed * RATE)


def test_estimates_are_near() -> None:
    """A model that speaks as fast as expected: each estimate is what is found later."""
    heard = follow(request(text=TWELVE, chunk_words=400, speed=1.25))
    num_estimates = 0
    for each in heard.updates:
        if each.is_estimate:
            exact = heard.final[each.index]
            assert each.segment.start_s == pytest.approx(exact.start_s, abs=0.1)
            assert each.segment.end_s == pytest.approx(exact.end_s, abs=0.2)
            num_estimates += 1
    assert num_estimates == 12


@pytest.mark.parametrize("text", [TWELVE, ENDLESS])
def test_the_whole_is_in_proportion_to_the_text(text: str) -> None:
    """Also where a sentence takes many chunks: it is not told with each of them."""
    heard = follow(request(text=text, chunk_words=10))
    assert sum(len(each.segment.text) for each in heard.updates) <= 4 * len(text)


def test_a_long_sentence_lasts_while_it_is_heard() -> None:
    """After its first chunk its end is still an estimate, from all of its text."""
    heard = follow(request(text=ENDLESS, chunk_words=10))
    first = [each for each in heard.updates if each.index == 0]
    assert [each.is_estimate for each in first] == [True, True, False]
    expected_s = first[-1].segment.end_s
    assert all(each.segment.end_s == pytest.approx(expected_s, rel=0.2) for each in first)


def test_no_news_when_no_times_are_wanted() -> None:
    """The field switches them off."""
    assert follow(request(timestamps="none")).updates == []


def test_they_are_told_as_the_output_tells_them() -> None:
    """With their index, and marked as long as they are estimates."""
    (spoken,) = follow(request(text="It took 5 days.", normalise=True)).final
    guess, sure = (SegmentUpdate(3, spoken, is_estimate=each) for each in (True, False))
    told = {
        "index": 3,
        "text": "It took 5 days.",
        "speaker": None,
        "start_s": 0.0,
        "end_s": round(spoken.end_s, 3),
        "spoken": "It took five days.",
    }
    assert to_segments([guess, sure]) == [told | {"estimated": True}, told]
