"""Subtitles: exact formats, readable cues, in order, nothing lost, nothing interpreted."""

import html
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.text.subtitles import MAX_COLUMNS, MAX_LINES, TimedText, srt, vtt
from tests.text.timing import check_linear


@dataclass(frozen=True)
class SpokenSegment:
    """A segment as the worker's result has it."""

    text: str
    start_s: float = 0.0
    end_s: float = 1.0
    speaker: str | None = None


@dataclass(frozen=True)
class Cue:
    """A cue read back."""

    start_ms: int
    end_ms: int
    lines: list[str]


def read(document: str) -> list[Cue]:
    """Read cues of either format, the way a player does: blocks between blank lines."""
    cues = []
    for block in document.removeprefix("WEBVTT\n").strip("\n").split("\n\n"):
        if not block:
            continue
        lines = block.split("\n")
        if lines[0].isdecimal():
            del lines[0]
        times = re.fullmatch(
            r"(\d{2,}):([0-5]\d):([0-5]\d)[,.](\d{3}) --> (\d{2,}):([0-5]\d):([0-5]\d)[,.](\d{3})",
            lines[0],
        )
        assert times, lines[0]
        h, m, s, ms, h2, m2, s2, ms2 = map(int, times.groups())
        start_ms, end_ms = ((h * 60 + m) * 60 + s) * 1000 + ms, ((h2 * 60 + m2) * 60 + s2) * 1000
        cues.append(Cue(start_ms, end_ms + ms2, lines[1:]))
    return cues


TWO = [
    SpokenSegment("Hello [there], a < b & c.", 0.0, 1.5, "Anna"),
    SpokenSegment("Ho.", 3600.0005, 360_000.25, "Old\nBob <3"),
    SpokenSegment("…", 360_001, 360_002),
]


def test_srt() -> None:
    """Numbers, commas, names before what they say, a blank line after each."""
    assert srt(TWO) == (
        "1\n00:00:00,000 --> 00:00:01,500\nAnna: Hello [there], a < b & c.\n\n"
        "2\n01:00:00,000 --> 100:00:00,250\nOld Bob <3: Ho.\n\n"
        "3\n100:00:01,000 --> 100:00:02,000\n…\n\n"
    )


def test_vtt() -> None:
    """The signature, full stops, voices, and entities for what would be markup."""
    assert vtt(TWO) == (
        "WEBVTT\n"
        "\n00:00:00.000 --> 00:00:01.500\n<v Anna>Hello [there], a &lt; b &amp; c.\n"
        "\n01:00:00.000 --> 100:00:00.250\n<v Old Bob &lt;3>Ho.\n"
        "\n100:00:01.000 --> 100:00:02.000\n…\n"
    )


def test_nothing_said_gives_an_empty_document() -> None:
    """Which both formats have."""
    assert srt([]) == srt([SpokenSegment(" \n")]) == ""
    assert vtt([]) == vtt([SpokenSegment("")]) == "WEBVTT\n"


def test_long_text_becomes_several_cues() -> None:
    """They share the time by their length, without gaps."""
    cues = read(srt([SpokenSegment("word " * 40, 2.0, 12.0)]))
    assert [len(cue.lines) for cue in cues] == [2, 2, 1]
    assert (cues[0].start_ms, cues[-1].end_ms) == (2000, 12_000)
    assert [one.end_ms for one in cues[:-1]] == [other.start_ms for other in cues[1:]]
    shares = [sum(map(len, cue.lines)) for cue in cues]
    for cue, share in zip(cues, shares, strict=True):
        assert cue.end_ms - cue.start_ms == pytest.approx(10_000 * share / sum(shares), abs=2)


def test_two_lines_are_about_equally_long() -> None:
    """A full line over a single word is hard to read."""
    (cue,) = read(srt([SpokenSegment("One two three four five six seven eight nine ten.")]))
    assert cue.lines == ["One two three four five", "six seven eight nine ten."]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("好" * 30, ["好" * 15, "好" * 15]),
        ("他说「" + "好" * 18 + "」。", ["他说「" + "好" * 9, "好" * 9 + "」。"]),
        ("好" * 21 + "。" + "好" * 19, ["好" * 20, "好。" + "好" * 19]),
        ("x" * 50, ["x" * 42, "x" * 8]),
        ("e\u0301" * 43, ["e\u0301" * 42, "e\u0301"]),
        ("שלום עולם", ["שלום עולם"]),
    ],
)
def test_lines_of_any_script(text: str, lines: list[str]) -> None:
    """Wide characters take two columns, marks none, and neither is torn from its punctuation."""
    (cue,) = read(srt([SpokenSegment(text)]))
    assert cue.lines == lines


def test_events_are_shown_where_they_begin() -> None:
    """In brackets, as subtitles have them."""
    text = "Ha[laugh] [humming start]hm[humming end] so."
    assert read(srt([SpokenSegment(text)]))[0].lines == ["Ha [Laughter] [Humming] hm so."]


@pytest.mark.parametrize("write", [srt, vtt])
def test_a_text_cannot_forge_a_cue(write: Callable[[Iterable[TimedText]], str]) -> None:
    """Neither blank lines nor arrows nor a name get out of their place."""
    forged = "x\n\n9\n00:00:00,000 --> 00:00:09,000\n\nNOTE"
    for said in (SpokenSegment(forged), SpokenSegment("a", speaker=forged), SpokenSegment("-->")):
        document = write([said])
        assert document.count("-->") == len(read(document))
        assert "\nNOTE" not in document


@pytest.mark.parametrize("time_s", [-0.1, float("nan"), float("inf")])
def test_impossible_times_are_refused(time_s: float) -> None:
    """They have no spelling in either format."""
    with pytest.raises(ValueError, match="number of seconds from 0 on"):
        srt([SpokenSegment("a", time_s, 2.0)])
    with pytest.raises(ValueError, match="number of seconds from 0 on"):
        vtt([SpokenSegment("a", 0.0, time_s)])


TIMES = st.floats(0, 20)
SAID = st.builds(
    SpokenSegment,
    st.text(max_size=30)
    | st.lists(st.sampled_from(["word", "好", "。", "-->", "<b>", "x" * 60, " ", "\u0301"])).map(
        "".join
    ),
    TIMES,
    TIMES,
    st.none() | st.text(max_size=20) | st.just("n" * 100),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SAID, max_size=6))
def test_any_segments_give_a_readable_document(said: list[SpokenSegment]) -> None:
    """In order, never overlapping, within two lines of 42 columns, and with every word."""
    cues = read(vtt(said))
    assert all(cue.start_ms < cue.end_ms for cue in cues)
    assert all(one.end_ms <= other.start_ms for one, other in itertools.pairwise(cues))
    for cue in cues:
        cue.lines[0] = re.sub(r"\A<v [^>]*>", "", cue.lines[0])
        assert 1 <= len(cue.lines) <= MAX_LINES
        assert all(columns(html.unescape(line)) <= MAX_COLUMNS for line in cue.lines)
    written = "".join("".join(cue.lines) for cue in cues)
    spoken = "".join(each.text for each in sorted(said, key=lambda each: each.start_s))
    assert "".join(html.unescape(written).split()) == "".join(
        html.unescape(escaped(spoken)).split()
    )
    assert read(srt(said)) is not None


def escaped(text: str) -> str:
    """Protect a text from `html.unescape`."""
    return html.escape(text, quote=False)


def columns(text: str) -> int:
    """Count columns of a terminal."""
    return sum(
        0
        if unicodedata.category(each)[0] == "M"
        else 1 + (unicodedata.east_asian_width(each) in "WF")
        for each in text
    )


@pytest.mark.parametrize("unit", ["word ", "x", "好", "「", ".", "[lau", "[laugh]", "\u0301"])
def test_time_grows_with_the_text_alone(unit: str) -> None:
    """Whatever is repeated, a longer text takes longer only in proportion."""

    def run(num_characters: int) -> None:
        vtt([SpokenSegment(unit * (num_characters // len(unit)), 0, 1000)])

    check_linear(run, 3000)
