"""Whether a listener would have run dry, told by a clock that the test moves."""

import pytest

from higgs_worker.speech.simulated_listener import MIN_DRY_S, SimulatedListener

RATE = 1000


def test_sound_that_comes_in_time_is_no_underrun() -> None:
    """Nor is the wait for the first sound, however long."""
    listener = SimulatedListener(RATE)
    assert listener.give(500, 30.0) == 0.0
    assert listener.give(500, 30.4) == 0.0
    assert listener.give(500, 31.0) == 0.0


def test_a_late_piece_is_an_underrun_of_its_length() -> None:
    """A player that ran dry goes on with the late piece, so the next one may come later too."""
    listener = SimulatedListener(RATE)
    listener.give(500, 0.0)
    assert listener.give(500, 0.8) == pytest.approx(0.3)
    assert listener.give(500, 1.3) == 0.0
    assert listener.give(500, 2.0) == pytest.approx(0.2)


def test_a_wait_that_nobody_hears_does_not_count() -> None:
    """Up to the least that counts; many of them do not add up."""
    listener = SimulatedListener(RATE)
    now = 0.0
    listener.give(100, now)
    for _ in range(20):
        now += 0.1 + 0.9 * MIN_DRY_S
        assert listener.give(100, now) == 0.0


def test_a_slow_reader_is_no_underrun() -> None:
    """Sound that nobody asked for may wait: only what is missing once they ask is ours."""
    listener = SimulatedListener(RATE)
    listener.give(500, 0.0)
    listener.ask(60.0)
    assert listener.give(500, 60.05) == 0.0
    listener.ask(60.05)
    assert listener.give(500, 60.8) == pytest.approx(0.25)
