"""Where sentences meet within a chunk: in the pauses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.audio.borders import align

RATE = 24000
RNG = np.random.default_rng(5)


def speech(*parts: float) -> np.ndarray:
    """Make sound and pauses in turn, in seconds."""
    pieces = [
        RNG.uniform(-0.2, 0.2, round(seconds * RATE)) * (0.001 if number % 2 else 1)
        for number, seconds in enumerate(parts)
    ]
    return np.concatenate(pieces).astype(np.float32)


def test_a_border_lies_in_the_pause_near_its_due_align() -> None:
    """Estimates are half a second off; the pauses tell."""
    pcm = speech(2.0, 0.3, 3.0, 0.3, 1.0)
    at = [border / RATE for border in align(pcm, RATE, [2.5, 2.6, 1.2])]
    assert at == pytest.approx([2.15, 5.45], abs=0.02)


def test_a_longer_pause_is_preferred() -> None:
    """A breath within a sentence is nearer and shorter than the pause after it."""
    pcm = speech(1.9, 0.07, 0.4, 0.4, 2.0)
    (border,) = align(pcm, RATE, [2.0, 2.77])
    assert border / RATE == pytest.approx(2.57, abs=0.02)


def test_without_pauses_lengths_decide() -> None:
    """Sound without a pause is divided in proportion."""
    (border,) = align(speech(4.0), RATE, [1.0, 3.0])
    assert border / RATE == pytest.approx(1.0, abs=0.01)


def test_one_sentence_has_no_border() -> None:
    """Nothing to place, nothing placed."""
    assert align(speech(1.0), RATE, [1.0]) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.floats(0.02, 0.6), min_size=1, max_size=12),
    st.lists(st.floats(0.1, 5.0), min_size=1, max_size=8),
)
def test_borders_are_in_order_and_inside(parts: list[float], lengths: list[float]) -> None:
    """Whatever is heard, there is a border for each sentence but one, and they rise."""
    pcm = speech(*parts)
    found = align(pcm, RATE, lengths)
    assert len(found) == len(lengths) - 1
    assert found == sorted(found)
    assert all(0 <= border <= len(pcm) for border in found)
