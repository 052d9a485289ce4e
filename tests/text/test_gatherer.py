"""Text in fragments: pieces are its sentences, whatever the fragments, and nothing is lost."""

import itertools
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from higgs_worker.text.gatherer import MAX_OPEN_CHARS, Gatherer, Piece
from higgs_worker.text.split import sentences
from higgs_worker.text.words import num_words
from tests.text.timing import check_linear

SNIPPETS = (
    "Hello there. ", "Dr. ", "3.", "14 ", "I ", "he said", "No. ", "5", " ", "\n", "\n\n", "- a",
    "1. One", "U.S. ", "The ", "“Go!” ", "他走了……", "你好。", "世界", "「行け！」と", "e\u0301",
    ", ", "… ", "?!", "— ", " - ", "-", "[laugh] ", "<SE>[Laughter]</SE>", "<SE>[La", "😀 ", "\r\n",
    "« Va ! »", "z. B. ", "Am 3. Mai kam er. ", "word " * 40, "x" * 300, " " * 70, "." * 90, "A",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(SNIPPETS) | st.text(max_size=5), max_size=40).map("".join)


def parts(fragments: Iterable[str], language: str | None = "en", end: bool = True) -> list[str]:
    """Return the smallest pieces of a text, taken when all of it has been written."""
    gatherer: Gatherer[str] = Gatherer(language, max_words=1)
    for fragment in fragments:
        gatherer.push(fragment)
    if end:
        gatherer.end("end")
    return [piece.text for piece in taken(gatherer)]


def taken(gatherer: Gatherer[str], *, may_be_clause: bool = True) -> Iterator[Piece[str]]:
    """Take what there is."""
    while (piece := gatherer.take(may_be_clause=may_be_clause)) is not None:
        yield piece


def cut(text: str, ends: Iterable[int]) -> list[str]:
    """Cut a text at some places."""
    places = [0, *sorted(min(each, len(text)) for each in ends), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.lists(st.integers(0, 3000), max_size=20), st.sampled_from(["en", "de", None]))
@example("word " * 198 + "and so it.  Ends " + "here.", [], "en")
@example("x" * (MAX_OPEN_CHARS - 3) + ". " + "y" * 90, [], "en")
def test_parts_do_not_depend_on_fragments(text: str, ends: list[int], language: str | None) -> None:
    """One character at a time, all at once, anything between: the same parts, and all the text."""
    whole = parts([text], language)
    assert "".join(whole) == text
    assert parts(text, language) == whole
    assert parts(cut(text, ends), language) == whole
    assert parts(cut(text, ends), language, end=False) == parts(text, language, end=False)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.data())
def test_nothing_is_lost_whenever_it_is_taken(text: str, data: st.DataObject) -> None:
    """Pieces that are taken while the text is written, settled or not, are the text."""
    gatherer: Gatherer[str] = Gatherer()
    said = ""
    for fragment in cut(text, data.draw(st.lists(st.integers(0, 500), max_size=20))):
        gatherer.push(fragment)
        if data.draw(st.booleans()):
            gatherer.settle()
        if data.draw(st.booleans()):
            is_clause = data.draw(st.booleans())
            said += "".join(piece.text for piece in taken(gatherer, may_be_clause=is_clause))
        assert len(said) + gatherer.num_chars <= len(text)
    gatherer.end("end")
    rest = list(taken(gatherer))
    assert said + "".join(piece.text for piece in rest) == text
    assert [piece.mark for piece in rest if piece.mark] == ["end"]
    assert gatherer.num_chars == gatherer.num_marks == 0


@pytest.mark.parametrize(
    ("language", "marked"),
    [
        # A bar stands where the first part of what follows can be told from it.
        ("en", "Hello there. |How are you? |I am Mr. Smith. |Good."),
        ("en", "Pi is 3.14. |See Fig. 3 of it. |It is 5 p.m. |We leave."),
        ("de", "Am 3. Oktober kam Dr. Müller. |Dann ging er."),
        ("zh", "你好。|今天很好！|真的吗？|好的。"),
        ("ja", "「行け！」と彼は言った。|そうです。|次。"),
        ("hi", "यह है। |वह था॥ |ठीक है।"),
        ("en", "hello there. |i am mr. smith. |how are you?"),
        ("en", "A title\n\n|Some text. |- First\n|- Second"),
    ],
)
def test_sentences_are_those_of_the_whole_text(language: str, marked: str) -> None:
    """Languages end sentences as they do in a text that is known from the start."""
    text = marked.replace("|", "")
    assert parts(text, language) == marked.split("|")
    assert sentences(text, language) == marked.split("|")


@pytest.mark.parametrize(
    ("text", "is_sure"),
    [
        ("It is so good. ", False),  # "It is so good. he said"
        ("It is so good. So ", True),
        ("It is so good. (S", False),
        ("It is so good? S", True),
        ("He is the Dr. Smith ", False),
        ("We had pi: it was 3.", False),
        ("We had pi: it was 3.5", False),
        ("Das war am 3. Oktober", False),
        ("他今天说他非常好。", False),
        ("他今天说他非常好。然", True),
    ],
)
def test_a_sentence_waits_for_what_shows_its_end(text: str, is_sure: bool) -> None:
    """Not longer: the first letter behind it is enough in most cases, else the next word."""
    gatherer: Gatherer[str] = Gatherer("de" if "Oktober" in text else "en")
    gatherer.push(text)
    assert (gatherer.take(may_be_clause=False) is not None) == is_sure


@pytest.mark.parametrize(
    ("text", "is_over"),
    [
        ("It is so good! ", True),
        ("It is so good.", False),
        ("It is the No. ", False),
        ("It is so very good, ", False),
        ("We saw old Dr. ", False),
        ("It was nice, etc. ", False),
        ("他今天说他非常好。", True),
        ("What a fine headline\n\n", True),
    ],
)
def test_who_stops_between_sentences_is_not_waited_for(text: str, is_over: bool) -> None:
    """`settle` ends what looks like a sentence, and never one that a number may continue."""
    gatherer: Gatherer[str] = Gatherer("en")
    gatherer.push(text)
    gatherer.settle()
    piece = gatherer.take(may_be_clause=False)
    assert (piece is not None) == is_over


def test_sentences_that_wait_come_together() -> None:
    """As many as there are, up to the bound; the rest stays for the next piece."""
    gatherer: Gatherer[str] = Gatherer("en", max_words=12)
    gatherer.push("One two three four. Five six seven eight. Nine ten eleven twelve. Thirteen a b")
    first = gatherer.take(may_be_clause=False)
    assert first == Piece("One two three four. Five six seven eight. Nine ten eleven twelve. ")
    assert gatherer.take(may_be_clause=True) is None
    gatherer.end("end")
    assert gatherer.take(may_be_clause=False) == Piece("Thirteen a b", "end")
    assert gatherer.take(may_be_clause=True) is None


def test_the_first_piece_may_be_a_clause() -> None:
    """Where nothing is heard; but no tiny one, and no half sentence where a whole one is there."""
    gatherer: Gatherer[str] = Gatherer("en")
    gatherer.push("Well, let me see")
    assert gatherer.take(may_be_clause=True) is None
    gatherer.push(" now, I ")
    assert gatherer.take(may_be_clause=False) is None
    assert gatherer.take(may_be_clause=True) == Piece("Well, let me see now, ")
    gatherer.push("think that it is red. But, as I said, it ")
    assert gatherer.take(may_be_clause=True) == Piece("I think that it is red. ")


def test_short_sentences_wait_for_more() -> None:
    """The model speaks one word badly; a mark says that no more comes."""
    gatherer: Gatherer[str] = Gatherer("en")
    gatherer.push("Yes. It ")
    assert gatherer.take(may_be_clause=True) is None
    gatherer.end("end")
    assert gatherer.take(may_be_clause=True) == Piece("Yes. It ", "end")


def test_marks_keep_texts_apart() -> None:
    """Each comes once, in order, also where there was no text."""
    gatherer: Gatherer[int] = Gatherer("en")
    for number, text in enumerate(["One. ", "", "Two", " \n"]):
        gatherer.push(text)
        gatherer.end(number)
    assert gatherer.num_marks == 4
    expected = [Piece("One. ", 0), Piece("", 1), Piece("Two", 2), Piece(" \n", 3)]
    assert [gatherer.take(may_be_clause=False) for _ in expected] == expected
    assert gatherer.take(may_be_clause=True) is None


def test_clear_drops_everything() -> None:
    """Parts, what may go on, marks; the language stays known."""
    gatherer: Gatherer[str] = Gatherer()
    gatherer.push("Das ist nicht so gut, wie ich es mir gedacht habe. Und ")
    gatherer.end("one")
    gatherer.push("Noch etwas")
    gatherer.clear()
    assert (gatherer.num_chars, gatherer.num_marks) == (0, 0)
    assert gatherer.take(may_be_clause=True) is None
    assert gatherer.language == "de"
    gatherer.push("Neu.")
    gatherer.end("two")
    assert gatherer.take(may_be_clause=True) == Piece("Neu.", "two")


def test_a_text_without_stops_comes_as_well() -> None:
    """In pieces that are cut at spaces, without waiting for an end that may never come."""
    gatherer: Gatherer[str] = Gatherer("en")
    gatherer.push("word " * 1000)
    pieces = list(taken(gatherer, may_be_clause=False))
    assert len(pieces) > 3
    assert {piece.text[-1] for piece in pieces} == {" "}
    assert max(num_words(piece.text) for piece in pieces) <= MAX_OPEN_CHARS / 5


@pytest.mark.parametrize(
    "unit", ["Good day. ", "a", "a, ", ".", " ", "你好。", "- ", "e.g. ", "\n"]
)
def test_time_is_linear(unit: str) -> None:
    """One character at a time, taken as it comes, whatever is written."""

    def gather(length: int) -> None:
        gatherer: Gatherer[str] = Gatherer("en")
        for character in (unit * length)[:length]:
            gatherer.push(character)
            gatherer.take(may_be_clause=True)

    check_linear(gather, 1500)
