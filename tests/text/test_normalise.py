"""Texts become what is said: a table of cases, and what must hold for any text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.text.language import detect
from higgs_worker.text.normalise import normalise

# By kind; readings after The Chicago Manual of Style (numbers, dates), upstream's own rules
# (boson-ai/higgs-audio `examples/generation.py`: degrees, brackets, full stop) and usage.
CASES = [
    ("en", "Dr. Smith paid $3.50.", "Doctor Smith paid three dollars and fifty cents."),
    (
        "en",
        "Due 12/25/2026.",
        "Due December twenty-fifth, twenty twenty-six.",
    ),
    ("en", "Due 2026-12-25.", "Due December twenty-fifth, twenty twenty-six."),
    ("en", "At 10:30 p.m. sharp.", "At ten thirty PM sharp."),
    ("en", "Born in 1984.", "Born in nineteen eighty-four."),
    ("en", "The 21st century.", "The twenty-first century."),
    ("en", "25°C outside", "twenty-five degrees Celsius outside."),
    ("en", "77°F outside", "seventy-seven degrees Fahrenheit outside."),
    ("en", "It costs €1,200.", "It costs one thousand two hundred euros."),
    ("en", "It costs £5m.", "It costs five million pounds."),
    ("en", "10–20 km/h", "ten to twenty kilometers per hour."),
    ("en", "5kg of rice", "five kilograms of rice."),
    ("en", "50% off", "fifty percent off."),
    ("en", "1/2 of it", "one half of it."),
    ("en", "3½ hours", "three and one half hours."),
    ("en", "-5 degrees", "minus five degrees."),
    ("en", "0.05 of it", "zero point zero five of it."),
    ("en", "Agent 007.", "Agent zero zero seven."),
    ("en", "you & me", "you and me."),
    ("en", "Chapter IV.", "Chapter four."),
    ("en", "Henry VIII.", "Henry the eighth."),
    ("en", "I am.", "I am."),
    ("en", "user@example.com", "user at example dot com."),
    ("en", "https://example.com", "example dot com."),
    ("en", "C++ and v2.0.1.", "C plus plus and version two point zero point one."),
    ("en", "**bold** and `code`", "bold and code."),
    ("en", "# Heading", "Heading."),
    ("en", "[label](http://example.com)", "label."),
    ("en", "Hello... world…", "Hello, world."),
    ("en", "He said “no”.", 'He said "no".'),
    ("en", "😀", ""),
    ("en", "*** --- !!!", ""),
    ("en", "Hi <SE>[Laughter]</SE> there", "Hi <SE>[Laughter]</SE> there."),
    ("en", "One.\n\nTwo.", "One.\n\nTwo."),
    ("en", "Ｆｕｌｌ width", "Full width."),
    ("de", "Am 3. Oktober.", "Am dritten Oktober."),
    ("de", "50 % mehr", "fünfzig Prozent mehr."),
    ("fr", "à 15h30", "à quinze heures trente."),
    ("fr", "Le 14/07/1789.", "Le quatorze juillet mille sept cent quatre-vingt-neuf."),
    ("es", "Cuesta 3,50 €.", "Cuesta tres euros con cincuenta céntimos."),
    ("ko", "오후 3시 30분", "오후 세 시 삼십분."),
    ("zh", "50%的人。", "百分之五十的人."),
    ("zh", "温度25℃", "温度二十五摄氏度."),
    ("ja", "よし。", "よし."),
    ("xx", "«Salut»", '"Salut"'),
]


@pytest.mark.parametrize(("language", "text", "said"), CASES)
def test_cases(language: str, text: str, said: str) -> None:
    """Each kind of text is read as people read it."""
    assert normalise(text, language) == said


@pytest.mark.parametrize(("language", "text", "said"), CASES)
def test_what_was_normalised_stays(language: str, text: str, said: str) -> None:
    """A second time changes nothing."""
    assert normalise(said, language) == said


PIECES = st.one_of(
    st.text(max_size=8),
    st.text(alphabet="0123456789.,:/-–$€%° ()[]*_#@&'\"\n", max_size=10),
    st.sampled_from(
        ["Mr. ", "No. 5", "10 a.m.", "http://a.b/c", "3/4", "IV", "2nd", "<SE>[Music]</SE>"]
    ),
)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(
    st.lists(PIECES, max_size=6).map("".join), st.sampled_from(["en", "de", "fr", "es", "ko", "zh"])
)
def test_any_text_twice_is_as_once(text: str, language: str) -> None:
    """Whatever the text, what is to be said is said as it stands."""
    once = normalise(text, language)
    assert normalise(once, language) == once


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="abcdefghijklmnoprstuvwz", min_size=6, max_size=10), min_size=1))
def test_no_word_is_lost(words: list[str]) -> None:
    """Plain words arrive as they are, all of them, in order."""
    assert normalise(" ".join(words), "en").rstrip(".").split() == words


@pytest.mark.parametrize(
    "part", ["1", "(", ".", "a@", "1/", "$1 ", "word ", "[a", "http://", "1.", "-1", "&", "<SE>"]
)
def test_time_grows_with_the_text(part: str) -> None:
    """Four times the text takes about four times as long, not sixteen."""

    def cost(repeats: int) -> float:
        text = part * repeats
        started = time.process_time()
        normalise(text, "en")
        return time.process_time() - started

    cost(100)
    small, large = min(cost(2000) for _ in range(3)), cost(8000)
    assert large < 10 * small + 0.05


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The quick brown fox jumps over the lazy dog.", "en"),
        ("Der schnelle Fuchs springt über den faulen Hund und ist nicht müde.", "de"),
        ("Le renard saute par-dessus le chien et il est dans la maison.", "fr"),
        ("El zorro salta sobre el perro y está en la casa con los niños.", "es"),
        ("빠른 갈색 여우", "ko"),
        ("敏捷的棕色狐狸", "zh"),
        ("すばやい茶色のきつね", "ja"),
        ("Hi", "en"),
        ("", "en"),
    ],
)
def test_the_language_is_found(text: str, language: str) -> None:
    """By script, or by the words that only one language has."""
    assert detect(text) == language
