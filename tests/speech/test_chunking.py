"""From a request's text to chunks: nothing is lost, and everybody has their turn."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from higgs_worker.api.request import SpeechRequest
from higgs_worker.errors import InvalidRequest
from higgs_worker.speech.chunking import (
    OPENING_WORDS,
    PAUSES_S,
    TURN_PAUSE_S,
    ChunkPlan,
    _stretches,
    plan,
)
from higgs_worker.text.tags import as_written


def plan_of(text: str, **fields: object) -> ChunkPlan:
    """Plan a text."""
    fields = {"strict_tags": False} | fields
    return plan(SpeechRequest.parse({"text": text} | fields, max_text_chars=10**6))


def test_a_sentence_is_a_chunk() -> None:
    """The least there is to say."""
    (chunk,) = plan_of("Hello there.").chunks
    assert chunk.text.strip() == "Hello there."
    assert chunk.speaker is None
    assert chunk.pause_s == 0.0


def test_what_is_spoken_is_kept_beside_what_was_written() -> None:
    """Numbers are written out, and the caller's words stay known."""
    sentence, other = plan_of("It costs $5. Fine.").sentences
    assert sentence.text == "It costs $5."
    assert sentence.spoken == "It costs five dollars."
    assert other.text == other.spoken == "Fine."


def test_normalisation_can_be_switched_off() -> None:
    """Then the model reads what was written."""
    (sentence,) = plan_of("It costs $5.", normalise=False).sentences
    assert sentence.spoken == "It costs $5."


def test_chunks_keep_their_bound() -> None:
    """No chunk has more words than asked for."""
    text = " ".join(f"Sentence {n} has just a few words." for n in range(60))
    for chunk in plan_of(text, chunk_words=25).chunks:
        assert len(chunk.text.split()) <= 25


def test_a_voice_that_is_yet_to_be_found_begins_short() -> None:
    """The first chunk of a speaker without a recording is a good reference; others' is not cut."""
    text = " ".join(f"Sentence {n} has just a few words." for n in range(60))
    first, second, *_ = plan_of(text).chunks
    assert len(first.text.split()) <= OPENING_WORDS < len(second.text.split())
    first, *_ = plan_of(text, voice="Anna").chunks
    assert len(first.text.split()) > OPENING_WORDS
    first, *_ = plan_of(text, voice={"description": "calm"}).chunks
    assert len(first.text.split()) <= OPENING_WORDS


def test_a_long_text_is_written_as_far_as_it_is_asked_for() -> None:
    """The first sound waits for the first stretch alone, and nothing is lost behind it."""
    text = " ".join(f"Sentence number {n} has just a few words." for n in range(400))
    found = plan_of(text, chunk_words=25, normalise=False)
    assert len(found.sentences) < 60
    assert found.num_chars == pytest.approx(len(text), rel=0.01)
    whole = found.chunks
    assert list(found.first(3)) == list(whole[:3])
    assert len(found.first(1000)) == len(whole)
    assert "".join(chunk.text for chunk in whole).split() == text.split()
    assert [sentence.text for sentence in found.sentences] == [
        f"Sentence number {n} has just a few words." for n in range(400)
    ]
    assert found.num_chars == sum(len(chunk.text) for chunk in whole)
    assert min(len(chunk.text.split()) for chunk in whole) >= 8


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab.!? \n\u3002\u4f60", max_size=400), st.integers(1, 60))
@example("a. b.", 1)
def test_stretches_are_the_text(text: str, max_chars: int) -> None:
    """Joined, they are it; each ends where a sentence does."""
    found = list(_stretches(text, "en", max_chars))
    assert "".join(sentence for stretch in found for sentence in stretch) == text
    assert all(stretch for stretch in found)


def test_pauses_follow_the_borders() -> None:
    """After a paragraph longer than after a sentence; a change of speaker has its own."""
    text = "One is here. Two is here.\n\nThree is here."
    assert [chunk.pause_s for chunk in plan_of(text, chunk_words=5, voice="Anna").chunks] == [
        0.0,
        PAUSES_S["sentence"],
        PAUSES_S["paragraph"],
    ]
    turns = plan_of("[SPEAKER0] Hi. [SPEAKER1] Hello.").chunks
    assert [chunk.pause_s for chunk in turns] == [0.0, TURN_PAUSE_S]


def test_pauses_that_were_asked_for_replace_natural_ones() -> None:
    """They stand before the words that follow them, also across speakers and at the end."""
    found = plan_of("[pause 300ms] One. [pause 1s] [SPEAKER1] Two. [pause 2s]")
    assert [chunk.pause_s for chunk in found.chunks] == [0.3, 1.0]
    assert found.end_pause_s == 2.0


def test_lines_wrapped_to_a_width_are_joined() -> None:
    """A newline within a sentence is a space; one after a heading or in a list ends it."""
    assert len(plan_of("This text was\nwrapped at\nsome width.").sentences) == 1
    assert len(plan_of(f"{'It was long before ' * 4}\nAnna came.").sentences) == 1
    assert len(plan_of("Two roads diverged in a wood,\nAnd I took one.").sentences) == 1
    assert len(plan_of("A heading\nThe text below it.").sentences) == 2
    assert len(plan_of("- one\n- Two\n- 3").sentences) == 3


def test_speakers_have_tags_and_voices() -> None:
    """Numbered speakers keep their numbers, named ones take those that are left."""
    found = plan_of(
        "[Anna] Hi. [SPEAKER1] Hello. [Bert] Hey.",
        speakers={"Anna": "a", "SPEAKER1": {"description": "old"}, "Bert": None},
    )
    assert {name: role.tag for name, role in found.roles.items()} == {
        "Anna": "SPEAKER0",
        "SPEAKER1": "SPEAKER1",
        "Bert": "SPEAKER2",
    }
    assert found.roles["Anna"].voice
    assert found.roles["Anna"].voice.name == "a"
    assert found.roles["Bert"].voice is None


@pytest.mark.parametrize(
    ("text", "fields", "message"),
    [
        ("[SPEAKER0] Hi. [SPEAKER1] Ho.", {"speakers": {"SPEAKER0": "a"}}, r"\[SPEAKER1\]"),
        ("[SPEAKER0] Hi. [SPEAKER1] Ho.", {"voice": "a"}, "voice cannot be that of all"),
        ("😀 🎉", {}, "nothing to say"),
        ("*** --- !!!", {}, "nothing to say"),
        ("[pause 500ms]", {}, "nothing to say"),
        ("[SPEAKER0] [SPEAKER1]", {}, "nothing to say"),
        ("Hi. [pause 10s] " * 61, {}, "add up to 610 s"),
        ("[laughs] Hello.", {"strict_tags": True}, "laugh"),
        ("[pause 500 hours] Hello.", {"strict_tags": True}, "pause"),
        ("[laugh Hello.", {"strict_tags": True}, "position 0"),
    ],
)
def test_what_cannot_be_spoken_is_refused(
    text: str, fields: dict[str, object], message: str
) -> None:
    """The error says what is wrong with the text and what to send."""
    with pytest.raises(InvalidRequest, match=message):
        plan_of(text, **fields)


def test_one_tagged_speaker_may_take_the_voice() -> None:
    """`voice` is whose voice it is, tag or no tag, while there is one speaker."""
    found = plan_of("[SPEAKER0] Hello.", voice="Anna")
    assert found.roles["SPEAKER0"].voice
    assert found.roles["SPEAKER0"].voice.name == "Anna"


def test_events_alone_can_be_spoken() -> None:
    """A laugh needs no words."""
    (chunk,) = plan_of("[laugh]").chunks
    assert "<SE>[Laughter]</SE>" in chunk.text


def test_sentences_have_events_as_they_were_written() -> None:
    """Callers read their own tags, whatever form the model knows; a sound is nothing to read."""
    plan = plan_of("[Laugh] Two. [music start] So it goes. [music end]")
    assert plan.chunks
    assert [each.text for each in plan.sentences] == [
        "[laugh] Two.",
        "[music start] So it goes.",
        "[music end]",
    ]
    assert all(each.spoken == each.text for each in plan.sentences)


def test_a_word_of_a_hundred_thousand_letters() -> None:
    """It is cut, not refused and not waited for."""
    chunks = plan_of("x" * 100_000, normalise=False).chunks
    assert "".join(chunk.text.strip() for chunk in chunks) == "x" * 100_000


@pytest.mark.parametrize(
    "text", ["שלום עולם. מה שלומך?", "e\u0301te\u0301 a\u0300 la mer.", "你好。世界！"]
)
def test_any_text_is_spoken(text: str) -> None:
    """Right to left, combining marks, no spaces: all words arrive."""
    spoken = "".join(chunk.text for chunk in plan_of(text, normalise=False).chunks)
    assert "".join(spoken.split()) == "".join(text.split())


def test_joint_turns_are_put_together() -> None:
    """Turns share a chunk as far as its words reach; nobody's sentence is lost."""
    text = " ".join(f"[SPEAKER{n % 2}] This is turn number {n}." for n in range(8))
    found = plan_of(text, dialogue="joint", chunk_words=20, normalise=False)
    assert found.is_joint
    assert [len(chunk.parts) for chunk in found.chunks] == [4, 4]
    assert found.chunks[0].text.splitlines()[:2] == [
        "[SPEAKER0] This is turn number 0.",
        "[SPEAKER1] This is turn number 1.",
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.text(alphabet="ab .!?\n,éß你", max_size=40),
            st.sampled_from(["[SPEAKER0]", "[SPEAKER1]", "[pause 1s]", "[laugh]", "\n\n", "word "]),
        ),
        max_size=12,
    ).map("".join),
    st.integers(5, 30),
    st.sampled_from(["turns", "joint"]),
)
def test_every_sentence_is_in_the_chunks(text: str, chunk_words: int, dialogue: str) -> None:
    """Whatever the text, the chunks' parts are its sentences, in order, whole."""
    try:
        found = plan_of(text, chunk_words=chunk_words, dialogue=dialogue, normalise=False)
    except InvalidRequest:
        return
    spoken: dict[int, str] = {}
    for chunk in found.chunks:
        assert chunk.text.strip()
        for part in chunk.parts:
            spoken[part.sentence] = spoken.get(part.sentence, "") + part.text
    assert list(spoken) == list(range(len(found.sentences)))
    assert [as_written(each).strip() for each in spoken.values()] == [
        each.spoken.strip() for each in found.sentences
    ]


def test_a_wrong_tag_is_found_where_the_caller_sees_it() -> None:
    """Its position counts the characters that were sent, whatever is done to line breaks."""
    text = "One.\r\nTwo.\nThree.\n\n[sihg] four"
    with pytest.raises(InvalidRequest, match=f"at position {text.index('[')} counted"):
        plan(SpeechRequest.parse({"text": text}, max_text_chars=100))


def test_a_long_sentence_is_looked_at_a_few_times() -> None:
    """Short ones in front of it, of which each could end a stretch, do not repeat the look."""
    text = "Well. " * 400 + "and so on, " * 40_000
    stretches = list(_stretches(text, "en", 2000))
    assert "".join(map("".join, stretches)) == text
    assert len(stretches) < 10
