"""Chunks: joined they are the text, short enough, never tiny, cut where a reader would breathe."""

import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.text.split import border, sentences, split
from higgs_worker.text.tags import EVENT, EVENTS
from higgs_worker.text.words import is_speakable, num_words
from tests.text.timing import check_linear

LAUGH = EVENTS["laugh"]


def sentence(num_words: int) -> str:
    """Return a sentence of so many words and no comma."""
    return "Word " + " ".join(["word"] * (num_words - 2)) + " word. "


@pytest.mark.parametrize(
    ("language", "marked"),
    [
        # A bar stands where a sentence ends and another begins.
        ("en", "Hello there. |How are you? |Fine!"),
        ("en", "Mr. Smith met Dr. Jones and Mrs. O'Neil on St. James St. and left. |Good."),
        ("en", "Use it, e.g. Paris, i.e. France, vs. Rome. |Then stop."),
        (
            "en",
            "He lives in the U.S. Government pays. |No. 5 is alive. |She said no. |Then he left.",
        ),
        ("en", "He lives in the U.S. |The government pays. |It is 5 p.m. |We leave."),
        ("en", "J. R. R. Tolkien and C. S. Lewis met J.K. Rowling. |Ha."),
        ("en", "Pi is 3.14 and e is 2.71. |Go to example.com. |Version 1.2.3 is out."),
        ("en", "Apples, pears, etc. |They are good, etc. and cheap."),
        ("en", "Well... maybe. |Wait… |What?! |No way!!! |Ok"),
        ("en", '"Go!" he said. |"Go." |She left. |(He stayed.) |Then “No!” |“Yes.” |End.'),
        ("en", "'Why?' she asked. |‘Because.’ |Ann left."),
        ("en", "1. First item.\n|2. Second item.\n|- Third\n|- Fourth"),
        ("en", "A title\n\n|mr. lower begins. and goes on"),
        ("en", "hello there. |i am mr. smith. |how are you?"),
        ("en", "See Fig. 3 and p. 12. |In Jan. 1999 it was. |In 1999. |Then."),
        ("en", f"Ha ha.{LAUGH} |Then he left. |{LAUGH} Again."),
        ("en", "Done.** |*Then* more. |_He_ left."),
        ("en", "Wait . . . |What now . , no."),
        ("en", "Wrapped lines of one\nsentence go on. |Another one."),
        ("de", "Das ist z. B. Berlin, d. h. die Stadt, bzw. z.B. Hamburg. |Gut."),
        ("de", "Am 3. Oktober 1990 kam Dr. Müller usw. |Dann ging er am 24. Mai 1999. |Ende."),
        ("de", "Ludwig XIV. regierte. |»Los!« rief sie. |„Geh!“, sagte er. |„Nein.“ |Er ging."),
        (
            "fr",
            "M. Dupont et Mme. Durand arrivent. |« Va ! » dit-il. |Il dit : « Va. » |Elle part.",
        ),
        ("es", "¡Hola! |¿Qué tal? |El Sr. García, p. ej. Juan, vive en EE. UU. y ya. |¿no?"),
        ("it", "Il sig. Rossi e la dott. Bianchi. |Bene."),
        ("ru", "Он родился в 1990 г. в г. Москва и т. д. и т. п. Всё. |«Иди!» — сказал он. |Да."),
        ("pl", "Spotkali się 3. maja np. w Krakowie. |Dobrze."),
        ("cs", "Bylo to 3. Května. |Dobře."),
        ("zh", "你好。|今天天气很好！|真的吗？|他说：“走。”|他走了……是的。"),
        ("zh", "结束.|然后他走了?|是的."),
        ("ja", "「行け！」と彼は言った。|そうです。|「はい。」|次。"),
        ("ar", "هل أنت هنا؟ |نعم. |كيف حالك؟"),
        ("he", "שלום לך. |מה שלומך? |טוב!"),
        ("hi", "यह है। |वह था॥ |ठीक है।"),
        ("ur", "یہ ہے۔ |وہ تھا۔ |ٹھیک"),
        ("el", "Τι κάνεις; |Καλά· ευχαριστώ. |Εσύ;"),
        ("en", "Not Greek; Not a stop. |Yes."),
        ("ko", "안녕하세요. |잘 지내요? |네."),
        ("am", "ሰላም ነው። |ደህና።"),
        ("de-AT", "Das ist Dr. Huber, vgl. Nr. 500. |Ja."),
        ("xx", "Mr. Smith left. |Ok."),
        ("", "Mr. Smith left. |Ok."),
    ],
)
def test_sentences(language: str, marked: str) -> None:
    """The table of what ends a sentence."""
    assert sentences(marked.replace("|", ""), language) == marked.split("|")


def test_a_text_that_is_short_enough_stays_whole() -> None:
    """Sentences are no reason to cut."""
    text = "One. Two! Three? Four, five."
    assert split(text, max_words=5) == [text]
    assert split("", max_words=5) == []
    assert split(" \n", max_words=5) == [" \n"]
    assert split("...", max_words=5) == ["..."]


def test_chunks_are_balanced() -> None:
    """Not one full chunk and a rest, but two of about the same length."""
    chunks = split(sentence(10) * 11, max_words=100)
    assert [num_words(chunk) for chunk in chunks] == [50, 60]


def test_chunks_end_with_sentences() -> None:
    """Balance gives way to the end of a sentence."""
    chunks = split(sentence(20) + "One, two, " + sentence(80) + sentence(60), max_words=100)
    assert [num_words(chunk) for chunk in chunks] == [20, 82, 60]
    assert {border(chunk) for chunk in chunks} == {"sentence"}


def test_no_chunk_is_tiny() -> None:
    """Rather than leave "Yes." alone, a long sentence is cut at a comma."""
    long = "Word " + "word " * 50 + "word, and " + "word " * 44 + "word. "
    chunks = split(long + "Yes.", max_words=98)
    assert [num_words(chunk) for chunk in chunks] == [52, 47]
    assert border(chunks[0]) == "clause"
    assert [num_words(each) for each in split(sentence(98) + "Yes.", max_words=98)] == [98, 1]


def test_paragraphs_are_chunks() -> None:
    """Unless they are short: a heading goes with what it stands over, a last line with the rest."""
    text = f"A heading\n\n{sentence(40)}\n\n{sentence(45)}\n\nThe end."
    chunks = split(text, max_words=100)
    assert [num_words(chunk) for chunk in chunks] == [42, 47]
    assert border(chunks[0]) == "paragraph"
    lines = split("She said yes.\n\nHe said no.\n\n" * 20, max_words=100)
    assert [num_words(chunk) for chunk in lines] == [27, 27, 27, 39]


def test_long_sentences_are_cut_at_clauses() -> None:
    """Before they are cut anywhere."""
    text = "One two three four five; " * 3 + "six seven."
    assert split(text, max_words=11) == [
        "One two three four five; " * 2,
        "One two three four five; six seven.",
    ]
    assert split("a b c d e f g h", max_words=4) == ["a b c d ", "e f g h"]


def test_titles_stay_with_names() -> None:
    """A space after an abbreviation is the last one to be cut."""
    chunks = split("we saw old Mr. Smith go home then", max_words=4)
    assert any("Mr. Smith" in chunk for chunk in chunks)


def test_words_without_end_are_cut() -> None:
    """A hundred thousand letters are an accident or an attack, and still give chunks."""
    chunks = split("x" * 100_000, max_words=100)
    assert max(map(num_words, chunks)) <= 100
    assert max(map(len, chunks)) <= 3200
    assert split("e\u0301" * 64, max_words=1) == ["e\u0301" * 32] * 2
    assert split("好" * 10, max_words=2) == ["好" * 3, "好" * 3, "好" * 4]
    assert split("👩\u200d👩" * 50, max_words=1) == ["👩\u200d👩" * 50]  # nothing to voice


def test_events_stay_whole() -> None:
    """Also where there is nothing else to cut at."""
    chunks = split(LAUGH * 20, max_words=3)
    assert all(chunk and not EVENT.sub("", chunk) for chunk in chunks)
    assert split(f"Ha. {LAUGH} Ha.", max_words=2) == ["Ha. ", f"{LAUGH} Ha."]


def test_max_words_must_be_positive() -> None:
    """Zero words would never end."""
    with pytest.raises(ValueError, match="max_words"):
        split("a", max_words=0)


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ("The end.\n\n", "paragraph"),
        ("A heading \r\n \r\n", "paragraph"),
        ("One\u2029", "paragraph"),
        ("One. ", "sentence"),
        ('"One!" ', "sentence"),
        ("« Un ! » ", "sentence"),
        ("One…", "sentence"),
        ("好。」", "sentence"),
        ("नमस्ते।", "sentence"),
        (f"One.{LAUGH} ", "sentence"),
        (f"{LAUGH} ", "sentence"),
        ("One, ", "clause"),
        ("One; ", "clause"),
        ("One — ", "clause"),
        ("One - ", "clause"),
        ("好，", "clause"),
        ("A line\n", "clause"),
        ("one ", "none"),
        ("well-", "none"),
    ],
)
def test_borders(chunk: str, expected: str) -> None:
    """What a chunk ends with tells how long the pause after it is."""
    assert border(chunk) == expected


ATOMS = [
    *(
        "a",
        "B",
        "word",
        "Mr.",
        "z. B.",
        "3.",
        "x" * 50,
        "I",
        LAUGH,
        "<SE>[",
        "[sigh]",
        "http://a.b/c",
    ),
    *(".", "!", "?", "...", "…", ",", ";", "—", " - ", '"', "”", "»", "(", ")", "*", " »"),
    *(" ", " ", " ", "\n", "\n\n", "\r\n", "\u2029", "\u00a0", "\u3000", "\u200b"),
    *("好", "。", "，", "「", "」", "と", "น", "\u0e33", "한", "ا", "؟", "ש", "क", "\u093f", "।"),
    *("\u0301", "\u200d", "👩", "🇩", "🇪", "\U0001f3fd", "\u1161", "\ufe0f"),
]
TEXTS = st.lists(st.sampled_from(ATOMS) | st.text(max_size=4), max_size=40).map("".join)
LANGUAGES = st.sampled_from(["en", "de", "fr", "el", "ja", "ru-RU", "tr", "xx", ""])


@settings(deadline=None)
@given(TEXTS, st.integers(1, 12), LANGUAGES)
def test_every_promise_for_any_text(text: str, max_words: int, language: str) -> None:
    """Nothing lost, nothing too long, nothing silent, no character or event cut in two."""
    chunks = split(text, max_words=max_words, language=language)
    assert "".join(chunks) == text
    assert all(chunks)
    assert len(chunks) == 1 or all(num_words(chunk) <= max_words for chunk in chunks)
    assert num_words(text) > max_words or is_speakable(text) or len(chunks) <= 1
    assert len(chunks) <= 1 or all(map(is_speakable, chunks))
    check_cuts(text, chunks)


@settings(deadline=None)
@given(TEXTS, LANGUAGES)
def test_sentences_lose_nothing(text: str, language: str) -> None:
    """And each has something to voice, if the text does."""
    found = sentences(text, language)
    assert "".join(found) == text
    assert len(found) <= 1 or all(map(is_speakable, found))
    check_cuts(text, found)


def check_cuts(text: str, parts: list[str]) -> None:
    """White space stays behind, marks stay with their letter, events stay whole."""
    for before, after in itertools.pairwise(parts):
        assert not after[0].isspace()
        assert unicodedata.category(after[0])[0] != "M"
        assert after[0] != "\u200d"
        assert before[-1] != "\u200d" or after[0] < "\u0300"
    ends = set(itertools.accumulate(map(len, parts)))
    for event in EVENT.finditer(text):
        assert ends.isdisjoint(range(event.start() + 1, event.end()))


HOSTILE = [
    *(
        "word ",
        "a. ",
        "Mr. ",
        "a, ",
        ".",
        '."',
        ")",
        "(",
        " »",
        "a »",
        "- ",
        "\n",
        "a\n\n",
        "\r\n ",
    ),
    *(
        "x",
        "好",
        "好。",
        "「",
        "\u0301",
        "\u200d",
        "👩\u200d",
        "1. ",
        "A.",
        LAUGH,
        "<SE>[",
        "…",
        "   \n",
    ),
]


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_with_the_text_alone(unit: str) -> None:
    """Whatever is repeated, a longer text takes longer only in proportion."""

    def run(num_characters: int) -> None:
        for chunk in split(unit * (num_characters // len(unit)), max_words=100):
            border(chunk)

    check_linear(run, 3000)


def test_a_book_is_split() -> None:
    """A hundred kilobytes, in time that grows with the text."""
    paragraph = "The quick brown fox, so they say, jumps over Mr. Smith's lazy dog. " * 15 + "\n\n"
    chunks = split(paragraph * 100, max_words=100)
    assert max(map(num_words, chunks)) <= 100
    assert {border(chunk) for chunk in chunks} == {"sentence", "paragraph"}
    check_linear(lambda num: split(paragraph * num, max_words=100), 25)
