"""What must hold for any text: nothing is lost, twice is as once, and time grows with length."""

import re
import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from higgs_worker.text.normalise.normalise import normalise
from higgs_worker.text.normalise.numerals import english
from tests.text.normalise.test_normalise import CASES

LANGUAGES = ["en", "en-GB", "de", "fr", "es", "ko", "zh", "sv"]
EVENT = "<SE>[Laughter]</SE>"
_DIGITS = [english(digit) for digit in range(10)]
_WORDS_OF_NUMBERS = {english(number): number for number in [*range(20), *range(20, 100, 10)]}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

# Whatever a rule looks for, thrown together.
PIECES = st.one_of(
    st.text(max_size=6),
    st.text(alphabet="0123456789.,:;/-–$€%°^x ()[]{}<>_*#@&'\"\n|~+=", max_size=8),
    st.sampled_from(
        [
            *[
                "Mr. ",
                "Dr.",
                "St. ",
                "No. 5",
                "e.g.",
                "etc.",
                "vs",
                "10 a.m.",
                "p. 5",
                "Jan. ",
                "May 5",
                "the 3rd",
                "1990s",
                "'90s",
            ],
            *[
                "http://a.b/c",
                "x@y.com",
                "a.com",
                "@me",
                "#tag",
                "C#",
                "v1.2.3",
                "README.md",
                "w/",
                "c/o",
                "/a/b",
                "1.2.3.4",
            ],
            *[
                "3/4",
                "1 1/2",
                "IV",
                "Henry VIII",
                "Chapter ",
                "X",
                "2nd",
                "2e",
                "3.",
                "1º",
                "5'10\"",
                "0x1F",
                "5kg",
                "km/h",
                "m²",
                "½",
                "①",
            ],
            *[
                "am 3. Mai",
                "z. B. ",
                "usw.",
                "M. ",
                "Mme",
                "siglo XX",
                "Sr. ",
                "3시",
                "6월",
                "2个",
                "年",
                "第",
                "元",
                "百分之",
                "。",
                "，",
                "…",
            ],
            *[
                "**",
                "__",
                "~~",
                "# ",
                "- ",
                "> ",
                "```",
                "[a](b)",
                "&amp;",
                "&lt;",
                "<b>",
                "</b>",
                "<br>",
                "<!--",
                "\u200b",
                "́",
                "\ue000",
            ],
            *[
                "<SE>[Laughter]</SE>",
                "<SE_s>[Music]</SE_s>",
                "<SE>",
                "[Laughter]",
                "</SE>",
                "😀",
                "١٢",
                "नि",
                "é",
                "ﬁ",
                "Ⅷ",
            ],
        ]
    ),
)
TEXTS = st.lists(PIECES, max_size=7).map("".join)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(TEXTS, st.sampled_from(LANGUAGES))
def test_any_text_twice_is_as_once(text: str, language: str) -> None:
    """Whatever the text, what is to be said is said as it stands."""
    once = normalise(text, language)
    assert normalise(once, language) == once


@settings(max_examples=150, deadline=None, derandomize=True)
@given(TEXTS, TEXTS, st.sampled_from(LANGUAGES))
def test_a_word_survives_any_neighbours(before: str, after: str, language: str) -> None:
    """What is no abbreviation and no markup is said, once, whatever stands around it."""
    said = normalise(f"{before}\n\nzebra\n\n{after}", language)
    assert said.count("zebra") == (before + after).count("zebra") + 1


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.text(st.characters(min_codepoint=0x80, exclude_categories=("Lm", "Nd", "Nl", "No", "Cs"))),
    st.sampled_from(LANGUAGES),
)
def test_letters_of_any_script_are_kept(text: str, language: str) -> None:
    """Those of the text are found in what is said, in their order."""
    said = iter(_letters(normalise(text, language)))
    lost = [letter for letter in _letters(text) if letter not in said]
    assert lost == []


def _letters(text: str) -> str:
    """Return the letters of a text, however they were composed or dressed."""
    letters = "".join(each for each in text if unicodedata.category(each)[0] == "L")
    return "".join(filter(str.isalpha, unicodedata.normalize("NFKD", letters)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="abcdefghijklmnoprstuvwz", min_size=6, max_size=10), min_size=1))
def test_no_plain_word_is_lost(words: list[str]) -> None:
    """Plain words arrive as they are, all of them, in order."""
    for language in LANGUAGES:
        assert normalise(" ".join(words), language).rstrip(".").split() == words


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**15 - 1))
@example(1100)
@example(1_000_001)
def test_a_number_can_be_read_back(number: int) -> None:
    """Its words have its value."""
    assert _value(normalise(f"{number:,} things", "en").removesuffix(" things.")) == number


def _value(words: str) -> int:
    total = group = 0
    for word in words.replace("-", " ").split():
        if word == "hundred":
            group *= 100
        elif word in _LARGE:
            total, group = total + group * _LARGE[word], 0
        else:
            group += _WORDS_OF_NUMBERS[word]
    return total + group


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789", min_size=16, max_size=60))
def test_a_long_number_keeps_its_digits(digits: str) -> None:
    """What is too long to be a quantity is said digit by digit, none of them missing."""
    said = normalise(digits, "en").rstrip(".").split()
    assert "".join(str(_DIGITS.index(word)) for word in said) == digits


@settings(max_examples=150, deadline=None, derandomize=True)
@given(TEXTS, st.sampled_from([each for each in LANGUAGES if each != "sv"]))
def test_no_digit_is_left(text: str, language: str) -> None:
    """All are words, in a language whose numbers are known."""
    said = normalise(text, language)
    assert not re.search(r"\d", said)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(TEXTS, st.sampled_from(LANGUAGES))
def test_events_stay_as_they_are(text: str, language: str) -> None:
    """A sound among words is neither read nor changed, however strange the words are."""
    said = normalise(f"{text}\n{EVENT}\n{text}", language)
    assert EVENT in said


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.text(), st.sampled_from(LANGUAGES))
def test_what_is_said_can_be_said(text: str, language: str) -> None:
    """Nothing, or a text with something to say that ends with a mark and holds no control."""
    said = normalise(text, language)
    assert said == said.strip()
    assert all(each == "\n" or unicodedata.category(each)[0] != "C" for each in said)
    if said:
        assert any(each.isalnum() for each in said)
        assert said.endswith((".", "!", "?", ",", ";", '"', "'"))


@pytest.mark.parametrize(
    "part",
    [
        *["1", "(", ".", "a@", " ", "\n", "-", "$", "#", "*", "[", "](", "<", "&", "'9", "½", "¹"],
        *[
            "1.",
            "1,",
            ",111",
            "1-",
            "1/",
            "1:",
            "+1 ",
            " 000",
            "0-",
            "[a](",
            "<b x",
            "http://",
            "a.",
        ],
        *["Dr. ", "e.g.", "Chapter I ", "z. B. ", "am 3. ", "5kg ", "x^2", "<SE>", "a\u0301", "中"],
    ],
)
def test_time_grows_with_the_text(part: str) -> None:
    """Four times the text takes about four times as long, not sixteen."""
    normalise("1", "en")

    def cost(num_chars: int) -> float:
        text = (part * num_chars)[:num_chars]
        started = time.process_time()
        normalise(text, "en")
        return time.process_time() - started

    small, large = min(cost(2000), cost(2000)), cost(8000)
    assert large < 8 * small + 0.05


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_hundred_thousand_characters_are_bounded(language: str) -> None:
    """The worst of them take seconds, not minutes."""
    for part in ("1", "(", ".", "a@", "1.", "$", "½", "Dr. "):
        started = time.process_time()
        normalise((part * 100_000)[:100_000], language)
        assert time.process_time() - started < 10


def test_paragraphs_stay_apart() -> None:
    """Lines and blank lines of a text without markup are there afterwards."""
    texts = [said for language, _, said in CASES if language == "en" and said and "\n" not in said]
    assert normalise("\n\n".join(texts[:20]), "en").count("\n\n") == 19
    assert normalise("\n".join(texts[:20]), "en").count("\n") == 19
