"""Texts become what is said: a table of cases, each with where its rule comes from.

Sources: upstream is boson-ai/higgs-audio `examples/generation.py`, with a number the issue there;
num2words says the same number; an authority's name stands where it prescribes what is written or
said; the others were written by hand, by kind.
"""

import re
from pathlib import Path

import pytest

from higgs_worker.text.normalise.normalise import normalise

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


@pytest.mark.parametrize(("language", "text", "said"), CASES)
def test_cases(language: str, text: str, said: str) -> None:
    """Each kind of text is read as people read it."""
    assert normalise(text, language) == said


def test_what_was_normalised_stays() -> None:
    """A second time changes nothing, in any case of the table."""
    changed = [said for language, _, said in CASES if normalise(said, language) != said]
    assert changed == []


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
