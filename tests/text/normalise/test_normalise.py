"""Texts become what is said: a table of cases with their sources, and what holds for any text.

Sources: upstream is boson-ai/higgs-audio `examples/generation.py`, with a number the issue there;
num2words says the same number; an authority's name stands where it prescribes what is written or
said; the others were written by hand, by kind.
"""

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import higgs_worker
from higgs_worker.text.normalise.normalise import normalise
from higgs_worker.text.normalise.numerals import english
from tests.text.timing import check_linear

TABLE = Path(__file__).parent / "normalise_cases.tsv"
ESCAPE = re.compile(r"\\(?:u([0-9a-f]{4})|([nrt]))")


def read_table() -> list[tuple[str, str, str]]:
    """Return language, text and what is said of it, escapes resolved."""
    rows = [line.split("\t") for line in TABLE.read_text("utf-8").split("\n")[1:-1]]
    return [(row[0], _unescaped(row[2]), _unescaped(row[3])) for row in rows]


def _unescaped(cell: str) -> str:
    short = {"n": "\n", "r": "\r", "t": "\t"}
    return ESCAPE.sub(lambda found: short[found[2]] if found[2] else chr(int(found[1], 16)), cell)


CASES = read_table()


LANGUAGES = ["en", "en-GB", "de", "fr", "es", "ko", "zh", "sv"]
EVENT = "<SE>[Laughter]</SE>"
_DIGITS = [english(digit) for digit in range(10)]
_WORDS_OF_NUMBERS = {english(number): number for number in [*range(20), *range(20, 100, 10)]}
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}

PARTS = (
    *("Mr. ", "Dr.", "St. ", "No. 5", "e.g.", "etc.", "vs", "10 a.m.", "p. 5", "Jan. "),
    *("May 5", "the 3rd", "1990s", "'90s", "http://a.b/c", "x@y.com", "a.com", "@me"),
    *("#tag", "C#", "v1.2.3", "README.md", "w/", "c/o", "/a/b", "1.2.3.4", "3/4"),
    *("1 1/2", "IV", "Henry VIII", "Chapter ", "X", "2nd", "2e", "3.", "1º", "5'10\""),
    *("0x1F", "5kg", "km/h", "m²", "½", "①", "am 3. Mai", "z. B. ", "usw.", "M. ", "Mme"),
    *("siglo XX", "Sr. ", "3시", "6월", "2个", "年", "第", "元", "百分之", "。", "，", "…", "**"),
    *("__", "~~", "# ", "- ", "> ", "```", "[a](b)", "&amp;", "&lt;", "<b>", "</b>"),
    *("<br>", "<!--", "\u200b", "́", "\ue000", "<SE>[Laughter]</SE>"),
    *("<SE_s>[Music]</SE_s>", "<SE>", "[Laughter]", "</SE>", "😀", "١٢", "नि", "é", "ﬁ"),
    *("Ⅷ"),
)
"""What the rules look for."""
PIECES = st.one_of(
    st.text(max_size=6),
    st.text(alphabet="0123456789.,:;/-–$€%°^x ()[]{}<>_*#@&'\"\n|~+=", max_size=8),
    st.sampled_from(PARTS),
)
TEXTS = st.lists(PIECES, max_size=7).map("".join)


@pytest.mark.parametrize(("language", "text", "said"), CASES)
def test_cases(language: str, text: str, said: str) -> None:
    """Each kind of text is read as people read it."""
    assert normalise(text, language) == said


def test_what_was_normalised_stays() -> None:
    """A second time changes nothing, in any case of the table."""
    changed = [said for language, _, said in CASES if normalise(said, language) != said]
    assert changed == []


def test_no_group_is_repeated_possessively() -> None:
    """In Python 3.11.2, that of Debian 12, such a group loses text: `1. one` became `1 one`."""
    package = Path(higgs_worker.__file__).parent
    possessive = re.compile(r"\)(?:[+*?]|\{+[0-9,]+\}+)\+")
    found = [each.name for each in package.rglob("*.py") if possessive.search(each.read_text())]
    assert found == []


def test_every_case_has_its_source() -> None:
    """The table is complete: five columns, hundreds of rows, none of them twice."""
    rows = [line.split("\t") for line in TABLE.read_text("utf-8").split("\n")[:-1]]
    assert rows[0] == ["language", "kind", "written", "spoken", "source"]
    assert all(len(row) == 5 and row[0] and row[1] and row[4] for row in rows)
    assert len(rows) > 300
    assert len({(row[0], row[2]) for row in rows}) == len(rows)


@pytest.mark.parametrize("tag", ["en", "EN", "en-US", "en_US", "en-Latn-US", "en-x-private"])
def test_any_tag_of_a_language_will_do(tag: str) -> None:
    """Only language and region are looked at."""
    assert normalise("3 cats", tag) == "three cats."


@pytest.mark.parametrize("tag", ["", "-", "xx", "tlh-Piqd", "🙂", "a" * 35])
def test_an_unknown_language_keeps_its_numbers(tag: str) -> None:
    """It gets the rules for punctuation and symbols."""
    assert normalise("**3** cats… 50 %", tag) == "3 cats, 50 %."


@settings(max_examples=100, deadline=None, derandomize=True)
@given(TEXTS, st.sampled_from(LANGUAGES))
def test_any_text_twice_is_as_once(text: str, language: str) -> None:
    """Whatever the text, what is to be said is said as it stands."""
    once = normalise(text, language)
    assert normalise(once, language) == once


@settings(max_examples=80, deadline=None, derandomize=True)
@given(TEXTS, TEXTS, st.sampled_from(LANGUAGES))
def test_a_word_survives_any_neighbours(before: str, after: str, language: str) -> None:
    """What is no abbreviation and no markup is said, once, whatever stands around it."""
    said = normalise(f"{before}\n\nzebra\n\n{after}", language)
    assert said.count("zebra") == (before + after).count("zebra") + 1


@settings(max_examples=80, deadline=None, derandomize=True)
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


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="abcdefghijklmnoprstuvwz", min_size=6, max_size=10), min_size=1))
def test_no_plain_word_is_lost(words: list[str]) -> None:
    """Plain words arrive as they are, all of them, in order."""
    for language in LANGUAGES:
        assert normalise(" ".join(words), language).rstrip(".").split() == words


@settings(max_examples=80, deadline=None, derandomize=True)
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


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(alphabet="0123456789", min_size=16, max_size=60))
def test_a_long_number_keeps_its_digits(digits: str) -> None:
    """What is too long to be a quantity is said digit by digit, none of them missing."""
    said = normalise(digits, "en").rstrip(".").split()
    assert "".join(str(_DIGITS.index(word)) for word in said) == digits


@settings(max_examples=80, deadline=None, derandomize=True)
@given(TEXTS, st.sampled_from([each for each in LANGUAGES if each != "sv"]))
def test_no_digit_is_left(text: str, language: str) -> None:
    """All are words, in a language whose numbers are known."""
    said = normalise(text, language)
    assert not re.search(r"\d", said)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(TEXTS, st.sampled_from(LANGUAGES))
def test_events_stay_as_they_are(text: str, language: str) -> None:
    """A sound among words is neither read nor changed, however strange the words are."""
    said = normalise(f"{text}\n{EVENT}\n{text}", language)
    assert EVENT in said


@settings(max_examples=100, deadline=None, derandomize=True)
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
    """Whatever is repeated, a longer text takes longer only in proportion."""
    check_linear(lambda num: normalise((part * num)[:num], "en"), 1500)


@pytest.mark.long
@pytest.mark.parametrize("language", LANGUAGES)
def test_time_grows_with_the_longest_texts(language: str) -> None:
    """The longest texts take longer only in proportion, too."""
    for part in ("1", "(", ".", "a@", "1.", "$", "½", "Dr. "):
        check_linear(lambda num, part=part: normalise((part * num)[:num], language), 12_500)


def test_paragraphs_stay_apart() -> None:
    """Lines and blank lines of a text without markup are there afterwards."""
    texts = [said for language, _, said in CASES if language == "en" and said and "\n" not in said]
    assert normalise("\n\n".join(texts[:20]), "en").count("\n\n") == 19
    assert normalise("\n".join(texts[:20]), "en").count("\n") == 19
