"""Words: how much a text is, and cuts that leave every visible character whole."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.text.tags import EVENT, EVENTS
from higgs_worker.text.words import can_cut, cuts_within_word, is_speakable, num_words


@pytest.mark.parametrize(
    ("text", "num"),
    [
        ("", 0),
        ("Hello, big world!", 3),
        ("a – b ... 😀 ***", 2),
        ("你好世界", 2),
        ("你好，世。", 2),
        ("我用iPhone", 2),
        ("한국어 문장입니다", 2),
        ("กำลัง", 2),
        ("x" * 32, 1),
        ("x" * 33, 2),
        ("x" + "!" * 100, 1),
        ("e" + "\u0301" * 100, 1),
        (EVENTS["laugh"], 1),
        (f"Ha {EVENTS['laugh']} ha", 3),
        ("مرحبا بالعالم", 2),
    ],
)
def test_words_are_counted(text: str, num: int) -> None:
    """By spaces, or two letters each where a script has none; what is silent does not count."""
    assert num_words(text) == num


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab'-,. ", max_size=50)).map(" ".join))
def test_plain_words_are_counted_as_any_others(text: str) -> None:
    """The quick way is taken for plain letters; a letter of another kind makes it the long way."""
    assert num_words(text) == num_words(text + " é") - 1


@pytest.mark.parametrize(
    "text",
    [
        "e\u0301",
        "👩\u200d👩",
        "👍\U0001f3fd",
        "❤\ufe0f",
        "🏴\U000e0067",
        "\u1112\u1161",
        "น\u0e33",
        "\r\n",
        " \u0301",
        "क\u093f",
    ],
)
def test_what_is_one_character_to_a_reader_is_not_cut(text: str) -> None:
    """Accents, joined emoji, skin tones, syllables, line ends."""
    assert not any(can_cut(text, at) for at in range(len(text) + 1))
    assert can_cut(f"a{text}", 1) == (text[0] != "\u0301")


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("x" * 70, ["x" * 32, "x" * 32, "x" * 6]),
        ("我用iPhone好", ["我", "用", "iPhone", "好"]),
        ("说「你好」(『他", ["说", "「你", "好」", "(『他"]),
        (f"ab{EVENTS['laugh']}好", ["ab", EVENTS["laugh"], "好"]),
        ("กำลัง", ["กำ", "ลั", "ง"]),
    ],
)
def test_long_words_are_cut(word: str, parts: list[str]) -> None:
    """Between letters of scripts without spaces, around events, and every 32 letters."""
    ends = [*cuts_within_word(word, 0, len(word)), len(word)]
    starts = [0, *ends[:-1]]
    parted = [word[start:end] for start, end in zip(starts, ends, strict=True)]
    assert parted == parts


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["a" * 20, "好", "e\u0301", "👩\u200d", "\u1161", "น\u0e33", "\u0e31", *EVENTS.values()]
        )
        | st.characters(exclude_categories=["Cs", "Cc", "Z"]),
        max_size=40,
    ).map("".join)
)
def test_parts_are_at_most_a_word_and_events_whole(word: str) -> None:
    """Whatever is written: no part counts more than one word, none begins with a mark."""
    ends = [*cuts_within_word(word, 0, len(word)), len(word)]
    starts = [0, *ends[:-1]]
    parts = [word[start:end] for start, end in zip(starts, ends, strict=True)]
    assert "".join(parts) == word
    assert all(num_words(part) <= 1 for part in parts)
    assert not any(unicodedata.category(part[0])[0] == "M" for part in parts[1:])
    for event in EVENT.finditer(word):
        assert not any(event.start() < end < event.end() for end in ends)


@settings(deadline=None)
@given(st.text())
def test_what_has_words_can_be_spoken(text: str) -> None:
    """And only that."""
    assert is_speakable(text) == (num_words(text) > 0)
