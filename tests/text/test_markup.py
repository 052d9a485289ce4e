"""Markup: who says what, in order, with nothing lost but the tags, whatever comes."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.errors import InvalidRequest
from higgs_worker.text.markup import Passage, doubts, parse
from higgs_worker.text.tags import EVENTS
from higgs_worker.text.words import is_speakable
from tests.text.timing import check_linear

LAUGH = EVENTS["laugh"]
NAMES = ("Anna", "Old Bob", "李雷")


@pytest.mark.parametrize(
    ("text", "passages"),
    [
        ("", []),
        ("Hello.", [Passage(None, "Hello.")]),
        ("[SPEAKER0] Hi.", [Passage("SPEAKER0", " Hi.")]),
        (
            "[anna] Hi.\n[old bob] Hey. [SPEAKER7]Ho.",
            [
                Passage("Anna", " Hi.\n"),
                Passage("Old Bob", " Hey. "),
                Passage("SPEAKER7", "Ho."),
            ],
        ),
        ("Once. [Anna] Hi.", [Passage(None, "Once. "), Passage("Anna", " Hi.")]),
        ("[Anna] Hi. [Anna] There.", [Passage("Anna", " Hi.  There.")]),
        ("[Anna][李雷] Hi.", [Passage("李雷", " Hi.")]),
        ("[Anna] Hi. [Old Bob] [Anna] You.", [Passage("Anna", " Hi.   You.")]),
        ("[Anna] Hi. [Old Bob] ... [Anna] You.", [Passage("Anna", " Hi.  ...  You.")]),
        ("Hi. [pause 500ms] You.", [Passage(None, "Hi. "), Passage(None, " You.", 0.5)]),
        ("[pause 1s]Hi.", [Passage(None, "Hi.", 1.0)]),
        ("Hi.[pause 1s]\n", [Passage(None, "Hi.\n"), Passage(None, "", 1.0)]),
        ("Hi.[pause 0.1s][pause 0.2s]Ho", [Passage(None, "Hi."), Passage(None, "Ho", 0.3)]),
        (
            "[Anna] Hi [pause 1s]. [Old Bob] [pause 1s] Ho",
            [Passage("Anna", " Hi .  "), Passage("Old Bob", " Ho", 2.0)],
        ),
        ("[pause 1s]", [Passage(None, "", 1.0)]),
        ("[Anna][pause 1s]\n", [Passage("Anna", "\n", 1.0)]),
        ("[Anna] [Old Bob]", [Passage("Old Bob", " ")]),
        ("[Anna]", []),
        (" \n", [Passage(None, " \n")]),
        ("[laugh]", [Passage(None, LAUGH)]),
        ("[Anna] Ha [LAUGH], ha.", [Passage("Anna", f" Ha {LAUGH}, ha.")]),
        (f"Ha {LAUGH}!", [Passage(None, f"Ha {LAUGH}!")]),
        ("[[laugh]]", [Passage(None, f"[{LAUGH}]")]),
        ("a ] b [ c [1] [see](x)", [Passage(None, "a ] b [ c [1] [see](x)")]),
        ("[\nlaugh]", [Passage(None, "[\nlaugh]")]),
        ("[שרה] שלום [laugh]", [Passage("שרה", f" שלום {LAUGH}")]),
    ],
)
def test_texts_and_their_passages(text: str, passages: list[Passage]) -> None:
    """The table of what tags mean."""
    assert parse(text, names=[*NAMES, "שרה"]) == passages


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Well [sigh] no", r"^text, at position 5 counted from 0: unknown tag '\[sigh\]'"),
        ("[SPEKER1] Hi", r"did you mean \[SPEAKER1\]\?"),
        ("Hi [laugh there", r"the tag '\[laugh' is not closed"),
        ("[Anna [laugh] hi]", r"the tag '\[anna' is not closed"),
        ("<SE>[Sneeze]</SE>", r"unknown tag '\[Sneeze\]'"),
        ("[pause 3]", r"is no pause"),
        ("[sigh] [moan]", r"\(and 1 more\)$"),
    ],
)
def test_tags_that_were_meant_are_refused(text: str, message: str) -> None:
    """And are plain text for callers who do not want that."""
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse(text, names=NAMES)
    assert caught.value.details["errors"][0]["field"] == "text"
    assert "".join(each.text for each in parse(text, names=(), strict=False)) == text.replace(
        "[laugh]", LAUGH
    )


def test_what_was_perhaps_meant_is_told() -> None:
    """A few warnings, each once, of what is like a tag; of other brackets none."""
    assert doubts("Ha [lauhg], [Chorus] [laugh], [Ana], [lauhg] [pause 3]", names=NAMES) == (
        "'[lauhg]' was read as text; did you mean [laugh]?",
        "'[Ana]' was read as text; did you mean [Anna]?",
        "'[pause 3]' was read as text; did you mean [pause 500ms]?",
    )
    assert doubts("Dear [Your Name], [a][1] [x] [sic] list[laugh] [Verse 1] [") == ()
    assert len(doubts("".join(f"[laugh {n}]" for n in range(2000)))) == 5


@pytest.mark.parametrize("strict", [True, False])
def test_pauses_have_bounds(strict: bool) -> None:
    """Also where they add up, and always: nothing else can be meant by them."""
    for text in ("[pause 11s]", "[pause 6s][pause 6s]", "[pause 6s] [Anna] [pause 6s] Hi"):
        with pytest.raises(InvalidRequest, match="10s"):
            parse(text, names=NAMES, strict=strict)
    assert len(parse("a[pause 6s]b[pause 6s]c", strict=strict)) == 3


TAGS = [f"[{each}]" for each in (*NAMES, "anna", "SPEAKER3", "laugh", "Music Start", "pause 5ms")]
TEXTS = st.lists(
    st.sampled_from([*TAGS, "[", "]", "[sigh]", " ", "\n", ".", "Hi", "好", LAUGH, "e\u0301"])
    | st.text(max_size=5),
    max_size=25,
).map("".join)


@settings(deadline=None)
@given(TEXTS)
def test_nothing_is_lost_but_tags(text: str) -> None:
    """Passages joined are the text, events replaced, other tags gone; each has a voice."""
    passages = parse(text, names=NAMES, strict=False)
    expected = re.sub(r"\[laugh\]", LAUGH, text, flags=re.IGNORECASE)
    expected = re.sub(r"\[music start\]", EVENTS["music start"], expected, flags=re.IGNORECASE)
    expected = re.sub(
        r"\[(Anna|Old Bob|李雷|SPEAKER3|pause 5ms)\]", "", expected, flags=re.IGNORECASE
    )
    assert "".join(each.text for each in passages) == expected
    *others, last = passages or [Passage(None, "a")]
    assert all(is_speakable(each.text) for each in others)
    assert is_speakable(last.text) or not last.text or not others
    assert all(
        one.speaker != other.speaker or other.pause_s for one, other in itertools.pairwise(passages)
    )


@pytest.mark.parametrize(
    "unit",
    ["[", "]", "[]", "[laugh", "[sigh]", "[laugh]", "[SPEAKER1] a ", "<SE>[", "[pause 1ms]a"],
)
def test_time_grows_with_the_text_alone(unit: str) -> None:
    """Whatever is repeated, a longer text takes longer only in proportion."""
    check_linear(lambda num: (parse(unit * num, strict=False), doubts(unit * num)), 1500)


def test_a_flood_of_mistakes_stays_small() -> None:
    """Twenty thousand unknown tags give fifty sentences, at once."""
    with pytest.raises(InvalidRequest) as caught:
        parse("[sigh]" * 20_000)
    assert len(caught.value.details["errors"]) == 50
    assert caught.value.message.endswith("(and at least 49 more)")
    assert len(parse("[" * 100_000)) == 1
