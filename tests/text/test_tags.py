"""Tags: every known one in any spelling, clear sentences for those that were meant, text left."""

import pytest

from higgs_worker.errors import InvalidRequest
from higgs_worker.text.tags import EVENT, EVENTS, EventTag, PauseTag, SpeakerTag, Tags


@pytest.mark.parametrize(
    ("inner", "form"),
    [
        ("laugh", "<SE>[Laughter]</SE>"),
        ("humming start", "<SE_s>[Humming]</SE_s>"),
        ("humming end", "<SE_e>[Humming]</SE_e>"),
        ("music start", "<SE_s>[Music]</SE_s>"),
        ("music end", "<SE_e>[Music]</SE_e>"),
        ("music", "<SE>[Music]</SE>"),
        ("sing start", "<SE_s>[Singing]</SE_s>"),
        ("sing end", "<SE_e>[Singing]</SE_e>"),
        ("applause", "<SE>[Applause]</SE>"),
        ("cheering", "<SE>[Cheering]</SE>"),
        ("cough", "<SE>[Cough]</SE>"),
    ],
)
def test_events_are_upstream_s(inner: str, form: str) -> None:
    """Case and spaces do not matter, and EVENT finds exactly the form."""
    for spelled in (inner, inner.upper(), f" {inner.title()} ", inner.replace(" ", "  ")):
        assert Tags().read(spelled) == EventTag(form)
    assert EVENT.fullmatch(form)
    assert not EVENT.search(form.replace("[", ""))


def test_events_are_all_there() -> None:
    """Upstream replaces eleven tags; a twelfth needs a line in the test above."""
    assert len(EVENTS) == 11


@pytest.mark.parametrize(
    ("inner", "duration_ms"),
    [
        ("pause 500ms", 500),
        ("pause 1.5s", 1500),
        ("Pause 2 S", 2000),
        ("pause .25s", 250),
        ("pause 1ms", 1),
        ("pause 10s", 10_000),
    ],
)
def test_pauses(inner: str, duration_ms: int) -> None:
    """A number and ms or s, up to ten seconds."""
    assert Tags().read(inner) == PauseTag(duration_ms)


@pytest.mark.parametrize(
    "inner", ["pause 0s", "pause 0ms", "pause 0.1ms", "pause 10.1s", f"pause {'9' * 5000}s"]
)
def test_pauses_out_of_bounds_are_refused(inner: str) -> None:
    """Nothing, too much and infinity all get the same short sentence."""
    with pytest.raises(InvalidRequest, match=r"a pause takes from 1ms to 10s$") as caught:
        Tags().read(inner)
    assert len(caught.value.message) < 150


@pytest.mark.parametrize(
    "inner",
    ["pause", "pause 3", "pause -1s", "pause 1e3s", "pause:1s", "pause 1,5s", "pause nan s"],
)
def test_broken_pauses_are_no_text(inner: str) -> None:
    """A pause that cannot be read is never read aloud."""
    assert Tags().read(inner) is None
    assert "write [pause 500ms]" in (Tags().mistake(inner, "", "") or "")


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        ("SPEAKER0", "SPEAKER0"),
        ("speaker12", "SPEAKER12"),
        ("anna", "Anna"),
        ("  ANNA ", "Anna"),
        ("dr.  müller-lüdenscheidt", "Dr. Müller-Lüdenscheidt"),
        ("dr. mu\u0308ller-lu\u0308denscheidt", "Dr. Müller-Lüdenscheidt"),
        ("李雷", "李雷"),
        ("שרה", "שרה"),
        ("Wolf 2", "wolf 2"),
    ],
)
def test_speakers(inner: str, name: str) -> None:
    """Numbered ones always, named ones in the spelling of the list."""
    tags = Tags(["Anna", "Dr. Müller-Lüdenscheidt", "李雷", "שרה", "wolf 2"])
    assert tags.read(inner) == SpeakerTag(name)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([""], "must not be empty"),
        (["a]"], "square brackets"),
        (["a\nb"], "line breaks"),
        (["Laugh"], "is another tag"),
        (["pause 3"], "is another tag"),
        (["Anna", "ANNA"], "cannot be told apart"),
    ],
)
def test_names_that_cannot_be_tags_are_refused(names: list[str], message: str) -> None:
    """Nobody has to guess what [Laugh] means."""
    with pytest.raises(InvalidRequest, match=message):
        Tags(names)


def test_a_name_may_be_a_number_s() -> None:
    """`speakers` usually has SPEAKER0 itself."""
    assert Tags(["SPEAKER0", "speaker1"]).read("Speaker1") == SpeakerTag("speaker1")


@pytest.mark.parametrize(
    ("inner", "near"),
    [
        ("SPEKER1", "SPEAKER1"),
        ("Speaker 12", "SPEAKER12"),
        ("laughs", "laugh"),
        ("laughter", "laugh"),
        ("Applaus", "applause"),
        ("humming_start", "humming start"),
        ("Ana", "Anna"),
        ("Мари", "Мария"),
    ],
)
def test_a_typo_gets_the_nearest_tag(inner: str, near: str) -> None:
    """The sentence names what was probably meant, names included."""
    tags = Tags(["Anna", "Мария"])
    assert tags.read(inner) is None
    assert f"did you mean [{near}]?" in (tags.mistake(inner, "", "") or "")


@pytest.mark.parametrize("inner", ["sigh", "clears throat", "MOURNFUL", "out of breath", "笑声"])
def test_what_looks_like_a_tag_gets_the_list(inner: str) -> None:
    """Something the model cannot do is not read aloud by accident."""
    message = Tags(["Bob"]).mistake(inner, "", "") or ""
    assert message.startswith(f"unknown tag '[{inner}]'; there are [laugh], ")
    assert "[Bob]" in message


@pytest.mark.parametrize(
    ("inner", "before", "after"),
    [
        ("", "", ""),
        (" ", "", ""),
        ("x", "", ""),
        ("1", "", ""),
        ("2024", "", ""),
        ("12, 13", "", ""),
        ("1st", "", ""),
        ("sic", "", ""),
        ("Citation needed", "", ""),
        ("...", "", ""),
        ("he left, slowly", "", ""),
        ("and this is what they told me", "", ""),
        ("a" * 40, "", ""),
        ("label", "", "("),
        ("int", "t", ""),
    ],
)
def test_other_brackets_are_text(inner: str, before: str, after: str) -> None:
    """Numbers, prose, links and code were not meant as tags."""
    assert Tags().read(inner) is None
    assert Tags().mistake(inner, before, after) is None


@pytest.mark.parametrize(
    ("rest", "tag"),
    [
        ("laugh Hello", "laugh"),
        ("Humming  Start", "humming start"),
        ("SPEAKER1 hi", "speaker1"),
        ("pause 1s hi", "pause"),
        ("Anna Maria says", "anna maria"),
        ("laughing", None),
        ("see below", None),
        ("", None),
        ("\nlaugh", None),
    ],
)
def test_an_open_bracket_is_a_mistake_only_before_a_tag(rest: str, tag: str | None) -> None:
    """A stray bracket alone is text."""
    found = Tags(["Anna Maria"]).unclosed(rest)
    assert found == (tag and f"the tag '[{tag}' is not closed; add a ']'")
