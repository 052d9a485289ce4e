"""How long a text takes to speak follows from its characters."""

import pytest

from higgs_worker.text.duration import expected_duration_s, max_duration_s


def test_expected_durations() -> None:
    """Syllabic scripts, digits and events take longer per character than letters."""
    assert expected_duration_s("") == 0
    assert expected_duration_s("a" * 140) == pytest.approx(10)
    assert expected_duration_s("語" * 45) == pytest.approx(10)
    assert expected_duration_s("1984") > expected_duration_s("word")
    assert expected_duration_s("<SE>[Laughter]</SE>") == pytest.approx(1.5)


def test_the_cap_is_above_twice_the_estimate() -> None:
    """A slow reader is never cut off, and a very short text still gets two seconds."""
    for text in ("a", "Hello there.", "語" * 45):
        assert max_duration_s(text) == pytest.approx(2 + 2 * expected_duration_s(text))
