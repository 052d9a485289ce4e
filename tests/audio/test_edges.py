"""Where chunks meet: quiet is cut to a breath, edges are faded, however the PCM comes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.audio.edges import (
    FADE_S,
    LEAD_S,
    MAX_GAIN_DB,
    TAIL_S,
    Edges,
    matching_gain,
)
from higgs_worker.audio.shape import loudness_lufs

RATE = 24000
RNG = np.random.default_rng(3)


def noise(seconds: float, level: float = 0.1) -> np.ndarray:
    """Make a sound that is never quiet for long."""
    return (level * RNG.uniform(-1, 1, round(seconds * RATE))).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    """Make quiet, not zeros: a codec gives none."""
    return noise(seconds, 0.001)


def cut(pieces: list[np.ndarray]) -> np.ndarray:
    """Feed pieces and join what comes out."""
    edges = Edges(RATE)
    return np.concatenate([*(edges.feed(piece) for piece in pieces), edges.finish()])


def test_quiet_ends_are_cut_to_a_breath() -> None:
    """Two seconds of quiet at each end become a tenth and a quarter of one."""
    speech = noise(1.0)
    out = cut([silence(2.0), speech, silence(2.0)])
    assert len(out) / RATE == pytest.approx(1.0 + LEAD_S + TAIL_S, abs=0.001)
    lead = round(LEAD_S * RATE)
    assert np.array_equal(out[lead : lead + len(speech)], speech)


def test_no_quiet_within_is_touched() -> None:
    """A pause between two words stays as it is, to the sample."""
    whole = np.concatenate([noise(0.5), silence(1.2), noise(0.5)])
    fade = round(FADE_S * RATE)
    out = cut([whole])
    assert len(out) == len(whole)
    assert np.array_equal(out[fade:-fade], whole[fade:-fade])


def test_edges_rise_and_fall() -> None:
    """Sound that begins and ends at full level is faded: no click."""
    out = cut([np.full(RATE, 0.5, np.float32)])
    assert abs(out[0]) < 1e-3
    assert abs(out[-1]) < 1e-3
    assert np.all(np.diff(out[: round(FADE_S * RATE)]) > 0)


def test_what_was_never_loud_is_nothing() -> None:
    """Quiet alone gives no sample."""
    assert not len(cut([silence(3.0)]))


def test_quiet_is_counted_from_the_last_sound() -> None:
    """How long it has been quiet is known at any time, and quiet before speech does not count."""
    edges = Edges(RATE)
    edges.feed(silence(3.0))
    assert edges.quiet_s == 0.0
    edges.feed(noise(0.5))
    edges.feed(silence(1.0))
    assert edges.quiet_s == pytest.approx(1.0, abs=0.01)
    edges.feed(noise(0.1))
    assert edges.quiet_s == pytest.approx(0.0, abs=0.01)


def test_sound_is_passed_on_at_once() -> None:
    """Of sound, only what a fade would need is held back."""
    edges = Edges(RATE)
    assert len(edges.feed(noise(0.4))) >= 0.4 * RATE - FADE_S * RATE - 20


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 9000)), max_size=6),
    st.lists(st.integers(1, 12000), min_size=1, max_size=12),
)
def test_any_pieces_give_the_same(parts: list[tuple[bool, int]], sizes: list[int]) -> None:
    """However the PCM is cut, the same samples come out."""
    rng = np.random.default_rng(0)
    levels = [(0.1 if loud else 0.0005) * rng.uniform(-1, 1, n) for loud, n in parts]
    whole = np.concatenate([np.zeros(0), *levels]).astype(np.float32)
    pieces, start = [], 0
    while start < len(whole):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(whole[start : start + size])
        start += size
    # Faded twice where so short that both fades meet; the order of the factors may round.
    np.testing.assert_allclose(cut(pieces), cut([whole]), atol=1e-9)


def test_loudness_is_matched_within_bounds() -> None:
    """A little too quiet is raised all the way, a whisper only so far, and nothing clips."""
    target = loudness_lufs(noise(1.0, 0.2), RATE)
    near = noise(1.0, 0.15)
    assert loudness_lufs(near * matching_gain(near, RATE, target), RATE) == pytest.approx(
        target, abs=0.1
    )
    assert matching_gain(noise(1.0, 0.02), RATE, target) == pytest.approx(10 ** (MAX_GAIN_DB / 20))
    spiky = noise(1.0, 0.1)
    spiky[100] = 0.9
    assert np.abs(spiky * matching_gain(spiky, RATE, target)).max() <= 0.97
    assert matching_gain(silence(1.0) * 0, RATE, target) == 1.0
