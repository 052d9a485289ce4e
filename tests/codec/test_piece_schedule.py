"""Pace: when a stream's frames are due, in a world of numbers."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.codec.piece_schedule import MARGIN_S, MAX_PIECE_FRAMES, NEVER, NOW, PieceSchedule

RATE, HOP, LAG = 24_000, 960, 9458


def pace(*, is_live: bool = True) -> PieceSchedule:
    """Begin a stream of the published rates."""
    return PieceSchedule(sample_rate=RATE, num_first_frames=10, is_live=is_live)


@pytest.mark.parametrize("is_live", [True, False])
def test_the_end_is_due_at_once(is_live: bool) -> None:
    """Nothing waits once all frames are there, not even a stream without any."""
    assert pace(is_live=is_live).due(0, True) == NOW
    assert pace(is_live=is_live).due(3, True) == NOW


def test_the_first_piece_waits_for_the_first_sound() -> None:
    """Fewer frames than give a sound are never due, one more is due at once."""
    assert pace().due(9, False) == NEVER
    assert pace().due(10, False) == NOW


def test_without_a_listener_only_size_counts() -> None:
    """A stream that nobody hears yet is decoded in full pieces; the end keeps a frame at least."""
    assert pace(is_live=False).due(MAX_PIECE_FRAMES, False) == NEVER
    assert pace(is_live=False).due(MAX_PIECE_FRAMES + 1, False) == NOW


def test_due_is_a_margin_before_silence() -> None:
    """Audio passed on counts from when it was heard; who ran dry begins anew."""
    listened = pace()
    listened.record_delivery(RATE, 100.0)
    assert listened.due(1, False) == 101.0 - MARGIN_S
    listened.record_delivery(RATE, 100.2)
    assert listened.due(1, False) == 102.0 - MARGIN_S
    assert listened.due(0, False) == NEVER
    listened.record_delivery(RATE, 200.0)
    assert listened.due(1, False) == 201.0 - MARGIN_S


def listen(
    num_frames: int, *, frame_s: float, call_s: float, each_s: float
) -> tuple[list[int], float]:
    """Generate and decode on one clock; sizes of the pieces, and how long it was silent between.

    Args:
        num_frames: in all; they come eight at a time, the first ten together.
        frame_s: generating one.
        call_s: decoding, per piece.
        each_s: the same, per frame.
    """
    stream = pace()
    arrivals = [(10 + 8 * i) * frame_s for i in range(1 + math.ceil((num_frames - 10) / 8))]
    now, arrived, taken = 0.0, 0, 0
    dry_at, silent_s = None, 0.0
    sizes: list[int] = []
    while taken < num_frames:
        while arrivals and arrivals[0] <= now:
            arrived = min(num_frames, arrived + (8 if arrived else 10))
            arrivals.pop(0)
        due = stream.due(arrived - taken, arrived == num_frames)
        if due > now:
            now = min([due, *arrivals[:1]])
            continue
        sizes.append(min(MAX_PIECE_FRAMES, arrived - taken))
        taken += sizes[-1]
        now += call_s + each_s * sizes[-1]
        num_samples = HOP * sizes[-1] - (LAG if len(sizes) == 1 else 0)
        if dry_at is not None:
            silent_s += max(0.0, now - dry_at)
        dry_at = max(now, dry_at or 0.0) + num_samples / RATE
        stream.record_delivery(num_samples, now)
    return sizes, silent_s


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    num_frames=st.integers(30, 400),
    frame_s=st.floats(0.001, 0.02),
    call_s=st.floats(0, 0.02),
    each_s=st.floats(0, 0.005),
)
def test_a_fast_model_never_lets_its_listener_wait(
    num_frames: int, frame_s: float, call_s: float, each_s: float
) -> None:
    """Twice as fast as real time: no silence but for the second piece, and pieces grow to full."""
    sizes, silent_s = listen(num_frames, frame_s=frame_s, call_s=call_s, each_s=each_s)
    # The first piece holds 6 ms of sound, so the second one can only come later.
    assert silent_s <= 8 * frame_s + call_s + MAX_PIECE_FRAMES * each_s + 1e-9
    assert sum(sizes) == num_frames
    if num_frames > 100:
        assert MAX_PIECE_FRAMES in sizes


def test_a_slow_model_is_heard_as_it_goes() -> None:
    """Slower than real time, nothing is held back: each arrival is a piece."""
    sizes, _ = listen(90, frame_s=0.05, call_s=0.001, each_s=0.001)
    assert sizes == [10] + [8] * 10
