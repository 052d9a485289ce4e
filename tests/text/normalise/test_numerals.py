"""Whole numbers in words, held to num2words where it is right."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.text.normalise.numerals import (
    chinese,
    english,
    english_ordinal,
    french,
    french_ordinal,
    german,
    german_ordinal,
    korean,
    native_korean,
    spanish,
    spanish_ordinal,
)
from higgs_worker.text.normalise.roman import parse_roman

oracle = pytest.importorskip("num2words", reason="needs num2words, the oracle").num2words

NUMBERS = st.one_of(
    st.integers(0, 2000),
    st.integers(0, 10**15 - 1),
    st.sampled_from([10**power + more for power in range(2, 15) for more in (-1, 0, 1)]),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(NUMBERS)
def test_english(number: int) -> None:
    """British English as num2words has it, less its commas."""
    assert english(number, "and ") == oracle(number, lang="en").replace(",", "")
    assert english(number) == oracle(number, lang="en").replace(",", "").replace(" and ", " ")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(NUMBERS)
def test_german_and_french(number: int) -> None:
    """As num2words has it, but 101000 is hunderteintausend, not hunderteinstausend."""
    assert german(number) == oracle(number, lang="de").replace("einstausend", "eintausend")
    assert french(number) == oracle(number, lang="fr")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(NUMBERS)
def test_spanish(number: int) -> None:
    """As num2words has it, but 21000 is veintiún mil, not veintiuno mil."""
    words = oracle(number, lang="es")
    for large in ("mil", "millones", "billones"):
        words = words.replace(f"veintiuno {large}", f"veintiún {large}")
        words = words.replace(f"uno {large}", f"un {large}")
    assert spanish(number) == words


@settings(max_examples=100, deadline=None, derandomize=True)
@given(NUMBERS)
def test_korean(number: int) -> None:
    """As num2words has it, in Sino-Korean."""
    assert korean(number) == oracle(number, lang="ko")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 2000))
def test_ordinals(number: int) -> None:
    """As num2words has them, but a plural s goes: cinq centième."""
    assert english_ordinal(number, "and ") == oracle(number, lang="en", to="ordinal").replace(
        ",", ""
    )
    french_words = oracle(number, lang="fr", to="ordinal")
    assert french_ordinal(number) == re.sub("(cent|vingt)sième", r"\1ième", french_words)
    said = german_ordinal(number) + "e"
    assert said.removeprefix("ein") == oracle(number, lang="de", to="ordinal").removeprefix("ein")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "零"),
        (10, "十"),
        (15, "十五"),
        (20, "二十"),
        (105, "一百零五"),
        (110, "一百一十"),
        (1001, "一千零一"),
        (1010, "一千零一十"),
        (10_000, "一万"),
        (10_005, "一万零五"),
        (12_345, "一万二千三百四十五"),
        (100_000, "十万"),
        (1_020_000, "一百零二万"),
        (10_010_000, "一千零一万"),
        (100_000_000, "一亿"),
        (100_000_001, "一亿零一"),
        (1_000_000_000_000, "一万亿"),
    ],
)
def test_chinese(number: int, said: str) -> None:
    """By groups of four digits, with one 零 for each gap; num2words has no Chinese."""
    assert chinese(number) == said


def test_native_korean() -> None:
    """Things are counted so, up to 99."""
    counted = [native_korean(number) for number in (1, 3, 11, 20, 21, 99)]
    assert counted == ["한", "세", "열한", "스무", "스물한", "아흔아홉"]
    assert native_korean(0) is None
    assert native_korean(100) is None


def test_spanish_ordinals() -> None:
    """Masculine, up to 99."""
    said = [spanish_ordinal(number) for number in (1, 3, 10, 12, 13, 20, 21, 99)]
    assert said == [
        *["primero", "tercero", "décimo", "duodécimo", "decimotercero", "vigésimo"],
        *["vigésimo primero", "nonagésimo noveno"],
    ]
    assert spanish_ordinal(100) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("I", 1), ("IV", 4), ("XIV", 14), ("XLII", 42), ("MCMLXXXIV", 1984), ("MMXXVI", 2026)],
)
def test_roman(text: str, number: int) -> None:
    """Well-formed numerals have their value."""
    assert parse_roman(text) == number


@pytest.mark.parametrize("text", ["", "IIII", "VX", "IC", "ABC", "iv"])
def test_what_is_no_numeral(text: str) -> None:
    """It has no value."""
    assert parse_roman(text) is None
