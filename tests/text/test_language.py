"""The language of a text is found, by script or by words; what is unclear is English."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.text.language import detect


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The quick brown fox jumps over the lazy dog.", "en"),
        ("Der schnelle Fuchs springt über den faulen Hund und ist nicht müde.", "de"),
        ("Guten Morgen!", "de"),
        ("Wie geht es dir?", "de"),
        ("Le renard saute par-dessus le chien et il est dans la maison.", "fr"),
        ("Bonjour, comment ça va ?", "fr"),
        ("El zorro salta sobre el perro y está en la casa con los niños.", "es"),
        ("¿Qué tal?", "es"),
        ("La volpe è veloce e non dorme mai nella casa.", "it"),
        ("O gato está na casa e não dorme muito.", "pt"),
        ("De kat zit in het huis en slaapt niet.", "nl"),
        ("Jag är inte trött och det är bra.", "sv"),
        ("Zażółć gęślą jaźń", "pl"),
        ("빠른 갈색 여우", "ko"),
        ("敏捷的棕色狐狸", "zh"),
        ("すばやい茶色のきつね", "ja"),
        ("東京タワーへ行く", "ja"),
        ("Быстрая лиса", "ru"),
        ("Привіт, її ліс", "uk"),
        ("الثعلب السريع", "ar"),
        ("שועל מהיר", "he"),
        ("Γρήγορη αλεπού", "el"),
        ("तेज़ लोमड़ी", "hi"),
        ("สุนัขจิ้งจอก", "th"),
    ],
)
def test_the_language_is_found(text: str, language: str) -> None:
    """By script, or by the words that few languages share."""
    assert detect(text) == language


@pytest.mark.parametrize("text", ["", " ", "Hi", "12345", "😀", "xyz", "naïve café résumé", "Anna"])
def test_what_is_unclear_is_english(text: str) -> None:
    """Too short, or in no language in particular."""
    assert detect(text) == "en"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("我们使用 PyTorch 框架", "zh"),
        ("우리는 PyTorch를 사용한다", "ko"),
        ("The Russian word кот means cat, and the fox is red.", "en"),
        ("She said that the fiancé went to the café in São Paulo.", "en"),
    ],
)
def test_foreign_words_do_not_decide(text: str, language: str) -> None:
    """A text is in the language that most of it is in."""
    assert detect(text) == language


@settings(deadline=None)
@given(st.text())
def test_any_text_has_a_language(text: str) -> None:
    """It is a primary tag."""
    language = detect(text)
    assert language.isascii()
    assert language.islower()
    assert 2 <= len(language) <= 3


@pytest.mark.parametrize("part", ["a", "ä ", "中", "the ", "'", "a'"])
def test_a_long_text_is_no_work(part: str) -> None:
    """Only its beginning is looked at."""
    started = time.process_time()
    detect(part * 1_000_000)
    assert time.process_time() - started < 2
