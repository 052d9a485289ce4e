"""Who speaks in a text, as the page and the server read it; tags that the page puts in."""

import random
import re
from typing import TYPE_CHECKING

from higgs_worker.api.voice_spec import parse_speakers
from higgs_worker.errors import InvalidRequest
from higgs_worker.text.markup import check_tags, parse
from higgs_worker.text.tags import EDITORIAL, EVENTS, PauseTag, Tags

if TYPE_CHECKING:
    from playwright.sync_api import Page

SPEAKERS_IN = """async (texts) => {
    const { speakersIn } = await import("/page/dialogue.js");
    return texts.map(speakersIn);
}"""
TAGS = """async () => {
    const { EVENT_TAGS } = await import("/page/dialogue.js");
    const { strings } = await import("/page/strings.js");
    return [EVENT_TAGS, Object.keys(strings.tags)];
}"""
GIVE_VOICES = """async (all) => {
    const { giveVoices } = await import("/page/dialogue.js");
    return all.map((each) => giveVoices(...each));
}"""
INSERT_TAG = """async (all) => {
    const { insertTag } = await import("/page/dialogue.js");
    return all.map((each) => insertTag(...each));
}"""

NUM_TEXTS = 250
NAMES = (
    *(
        "Anna",
        "Bert",
        "Mary Ann",
        "Dr O'Neill",
        "Jean-Luc",
        "Speaker 2",
        "Nurse 3",
        "Maße",
        "MASSE",
    ),
    *("Zoë", "Zoe\u0308", "Νίκος", "ΝΊΚΟΣ", "李雷", "Kız", "KIZ", "Éva", "ANNA", "Laura", "Pauser"),
    *("SPEAKER0", "speaker1", "Speaker12", " Anna ", "Mary\u00a0Ann", "राम"),
)
WORDS = ("Did you hear that?", "No.", "It was the wind, I think.", "…", "Oh", "好的。", "«Ja!»")
SOUNDS = (
    "[laugh]",
    "[Cough]",
    "[music start] la la [music end]",
    "[pause 300ms]",
    "[ PAUSE 1.5 s ]",
)
TEXTS = (
    *("[12]", "[x]", "[A 1]", "[2024]", "[...]", "list[int]", "[Label](https://a.example)", "[^1]"),
    *("[Wikipedia][1]", "[Label][]", "- [x] done", "[he left, slowly]", "[Redacted]", "[]", "[ ]"),
    *("<SE>[Laughter]</SE>", "<SE_s>[Music]</SE_s>", "[one two three four]", "[Sic]", "a ] b"),
    *("[Doc]: https://a.example/x\nsee [Doc] and [this][Doc]", "[A name of more than 32 letters]"),
)
"""What the server takes as text or as a sound, whoever speaks."""
MISTAKES = ("[sihg]", "[whispers]", "he met [Carla] there", "as [Dora Li], or", "[laugh", "[")
MISTAKES += (
    "[pause]",
    "[Pause 5]",
    "[Pause button]",
    "[Anna",
    "[[Emil]]",
    "[First name][Last name]",
    "[ﬁne]",
    "[ß]",
)


def texts(seed: int, fragments: tuple[str, ...]) -> list[str]:
    """Return dialogues with fragments in them; every speaker has something to say."""
    draw = random.Random(seed)
    made = []
    for _ in range(NUM_TEXTS):
        parts = ["Once there were two."] if draw.random() < 0.2 else []
        for _ in range(draw.randint(0, 5)):
            parts += [f"[{draw.choice(NAMES)}]", "So."]
            parts += draw.choices((*WORDS, *SOUNDS, *fragments), k=draw.randint(0, 3))
        parts += draw.choices(fragments, k=draw.randint(0, 2))
        made.append("".join(part + draw.choice((" ", "\n", " \n\n  ")) for part in parts))
    return made


def unknown(text: str, names: list[str]) -> list[str]:
    """Return what brackets hold that the server refuses as unknown tags."""
    try:
        check_tags(text, names=names)
    except InvalidRequest as error:
        told = [each["message"] for each in error.details["errors"]]
        places = [re.match(r"at position (\d+): unknown tag", each) for each in told]
        return [text[int(each[1]) + 1 :].partition("]")[0] for each in places if each]
    return []


def test_the_server_finds_the_same_speakers(blank_page: "Page") -> None:
    """With the page's names, the server accepts a text and hears the same speakers, in order."""
    made = texts(1, TEXTS)
    for text, names in zip(made, blank_page.evaluate(SPEAKERS_IN, made), strict=True):
        passages = parse(text, names=parse_speakers(dict.fromkeys(names)))
        heard = dict.fromkeys(each.speaker for each in passages if each.speaker)
        assert names == list(heard), text


def test_names_are_what_the_server_would_refuse(blank_page: "Page") -> None:
    """No more: without a name the text is refused. No less: what is still refused is a mistake."""
    made = texts(2, TEXTS + MISTAKES)
    for text, names in zip(made, blank_page.evaluate(SPEAKERS_IN, made), strict=True):
        parse_speakers(dict.fromkeys(names))
        own = [each for each in names if not re.fullmatch("SPEAKER[0-9]+", each)]
        for name in own:
            others = [each for each in names if each != name]
            assert set(unknown(text, others)) - set(unknown(text, names)), (text, name)
        rest = unknown(text, names)
        assert not own or all(each.strip()[0].islower() for each in rest), (text, rest)


def test_who_speaks(blank_page: "Page") -> None:
    """A name begins a turn, with a capital where its script has any."""
    expected = {
        "": [],
        "Nobody speaks here.": [],
        "[Anna] Hello. [SPEAKER0] Hello. [anna] And you?": ["Anna", "SPEAKER0"],
        "[Anna] hello [Bert] hi": ["Anna", "Bert"],
        "Once there were two. [Anna] Hello.": ["Anna"],
        "[laugh] [Bert] No. [pause 800ms] What was it?": ["Bert"],
        "He met [Anna] there, and [Bert].": [],
        "He met [Anna] there.\n[Bert] Really?": ["Anna", "Bert"],
        "He met [SPEAKER1] there.": ["SPEAKER1"],
        "[whispers] Come here.": [],
        "[__proto__] Hello.": [],
        "See [Anna](https://a.example), [Bert][1] and list[Int].": [],
    }
    found = blank_page.evaluate(SPEAKERS_IN, [*expected])
    assert dict(zip(expected, found, strict=True)) == expected


def test_words_of_editors_name_nobody(blank_page: "Page") -> None:
    """The page knows the same ones as the server."""
    made = [f"[{each.title()}] Hello." for each in EDITORIAL]
    assert blank_page.evaluate(SPEAKERS_IN, made) == [[]] * len(made)


def test_a_long_text_is_read_at_once(blank_page: "Page") -> None:
    """Time grows with the length, not with its square, also where brackets stay open."""
    made = [part * 100_000 for part in ("[Anna] Hi. ", "[", "a [", "[a][", " " * 5)]
    found = blank_page.evaluate(SPEAKERS_IN, made)
    assert found == [["Anna"], [], [], [], []]


def test_tags_are_those_of_the_server(blank_page: "Page") -> None:
    """Every sound can be put in, and one pause; each has a name that people can read."""
    tags, named = blank_page.evaluate(TAGS)
    assert sorted(each["name"] for each in tags) == sorted(named)
    inner = [each[key][1:-1] for each in tags for key in ("start", "end") if key in each]
    pauses = [each for each in inner if isinstance(Tags().read(each), PauseTag)]
    assert pauses == ["pause 500ms"]
    assert sorted(inner) == sorted([*EVENTS, *pauses])


def test_voices_are_given(blank_page: "Page") -> None:
    """Who has chosen keeps the voice; the others get one that nobody has, while there are any."""
    in_words = {"description": "old"}
    cases: list[tuple[list[str], list[str], object, object]] = [
        (["A", "B"], ["clara", "bram"], {}, {"A": "clara", "B": "bram"}),
        (["A", "B"], ["clara", "bram"], {"B": "clara"}, {"A": "bram", "B": "clara"}),
        (["A", "B"], ["clara", "bram"], {"A": None, "C": "bram"}, {"A": "clara", "B": "bram"}),
        (["A", "B", "C"], ["clara"], {}, {"A": "clara", "B": "clara", "C": "clara"}),
        (["A"], [], {"A": in_words}, {"A": in_words}),
        (["A", "toString"], [], {}, {"A": None, "toString": None}),
        ([], ["clara"], {"A": "clara"}, {}),
    ]
    given = blank_page.evaluate(GIVE_VOICES, [each[:3] for each in cases])
    assert given == [each[3] for each in cases]


def test_a_tag_is_put_in(blank_page: "Page") -> None:
    """With one space around it, and the cursor where one goes on; `|` marks the selection."""
    laugh = {"start": "[laugh]"}
    music = {"start": "[music start]", "end": "[music end]"}
    cases = [
        ("|", laugh, "[laugh] |"),
        ("Oh|", laugh, "Oh [laugh] |"),
        ("Oh |", laugh, "Oh [laugh] |"),
        ("Oh| no", laugh, "Oh [laugh] |no"),
        ("Oh|.", laugh, "Oh [laugh]|."),
        ("Oh |no", laugh, "Oh [laugh] |no"),
        ("“|Oh”", laugh, "“[laugh] |Oh”"),
        ("Oh.\n|\nNo.", laugh, "Oh.\n[laugh]|\nNo."),
        ("Oh |no| yes", laugh, "Oh [laugh] |no yes"),
        ("|", music, "[music start] | [music end]"),
        ("Oh|la|la", music, "Oh [music start] |la| [music end] la"),
        ("Oh| la la |oh", music, "Oh [music start] |la la| [music end] oh"),
        ("|La la|.", music, "[music start] |La la| [music end]."),
        ("Oh | | no", music, "Oh  [music start] | [music end] no"),
    ]
    put = blank_page.evaluate(INSERT_TAG, [[*unmarked(each), tag] for each, tag, _ in cases])
    assert [marked(**each) for each in put] == [after for _, _, after in cases]


def unmarked(shown: str) -> tuple[str, int, int]:
    """Return a text without its marks, and where they stood."""
    first, *selected, last = shown.split("|")
    return (
        "".join((first, *selected, last)),
        len(first),
        len(first) + sum(map(len, selected)),
    )


def marked(text: str, start: int, end: int) -> str:
    """Return a text with marks around what is selected, or with one mark."""
    parts = (text[:start], text[start:end], text[end:])
    return "|".join(parts) if start < end else "|".join((text[:start], text[end:]))
