"""The schedule: when a stream's frames are due, on a simulated clock."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.codec.piece_schedule import (
    MARGIN_S,
    MAX_PIECE_FRAMES,
    NEVER,
    NOW,
    PIECE_FRAMES,
    PieceSchedule,
)

RATE, HOP, LAG = 24_000, 960, 9458


def schedule(*, is_live: bool = True, has_begun: bool = False) -> PieceSchedule:
    """Return the schedule of a stream of the published rates."""
    made = PieceSchedule(sample_rate=RATE, num_first_frames=10, is_live=is_live)
    if has_begun:
        made.take(10, False)
    return made


@pytest.mark.parametrize("is_live", [True, False])
def test_the_end_is_due_at_once(is_live: bool) -> None:
    """Nothing waits once all frames are there, not even a stream without any."""
    assert schedule(is_live=is_live).due(0, True) == NOW
    assert schedule(is_live=is_live).due(3, True) == NOW


def test_the_first_piece_waits_for_the_first_sound() -> None:
    """Frames too few for a sound are never due; one more is due at once."""
    assert schedule().due(9, False) == NEVER
    assert schedule().due(10, False) == NOW


def test_without_a_listener_only_size_counts() -> None:
    """A stream that is not live is decoded in full pieces; at least a frame is left for the end."""
    assert schedule(is_live=False).due(MAX_PIECE_FRAMES, False) == NEVER
    assert schedule(is_live=False).due(MAX_PIECE_FRAMES + 1, False) == NOW


def test_due_is_a_margin_before_silence() -> None:
    """Delivered audio adds up; a listener that ran out starts again at the next delivery."""
    listened = schedule(has_begun=True)
    listened.record_delivery(RATE, 100.0)
    assert listened.due(8, False) == 101.0 - MARGIN_S
    listened.record_delivery(RATE, 100.2)
    assert listened.due(8, False) == 102.0 - MARGIN_S
    assert listened.due(0, False) == NEVER
    listened.record_delivery(RATE, 200.0)
    assert listened.due(8, False) == 201.0 - MARGIN_S


def test_after_the_first_piece_the_smallest_size_is_waited_for() -> None:
    """Too few frames are not due, even for a listener that has run out; the end always is."""
    begun = schedule(has_begun=True)
    assert begun.due(7, False) == NEVER
    assert begun.due(8, False) == NOW  # nothing was heard yet
    assert begun.due(7, True) == NOW


@pytest.mark.parametrize("is_live", [True, False])
def test_pieces_between_the_ends_have_few_sizes(is_live: bool) -> None:
    """The first piece and the last may have any size, up to a full one."""
    for num_pending in range(10, 60):
        first = schedule(is_live=is_live)
        assert first.take(num_pending, False) == min(num_pending, 24)
        for inside in range(8, 60):
            assert first.take(inside, False) == max(each for each in PIECE_FRAMES if each <= inside)
        assert first.take(num_pending, True) == min(num_pending, 24)
    with pytest.raises(ValueError, match="empty"):
        schedule(is_live=is_live, has_begun=True).take(7, False)


def test_pieces_without_a_listener_depend_on_the_number_of_frames_alone() -> None:
    """However frames arrive: full pieces, and a last one that is not empty."""
    for num_frames in range(1, 80):
        wanted = [24] * ((num_frames - 1) // 24) + [(num_frames - 1) % 24 + 1]
        for arrival in (1, 5, 8, 24, 33):
            stream, pending, sizes = schedule(is_live=False), 0, []
            for arrived in range(arrival, num_frames + arrival, arrival):
                pending += arrival - max(0, arrived - num_frames)
                is_complete = arrived >= num_frames
                while pending and stream.due(pending, is_complete) == NOW:
                    sizes.append(stream.take(pending, is_complete))
                    pending -= sizes[-1]
            assert sizes == wanted


def simulate(
    num_frames: int, *, frame_s: float, call_s: float, each_s: float
) -> tuple[list[int], float]:
    """Simulate generating and decoding; returns the pieces' sizes and the seconds of silence.

    Args:
        num_frames: in all; eight arrive at a time, the first ten together.
        frame_s: to generate a frame.
        call_s: to decode, per piece.
        each_s: to decode, per frame.
    """
    stream = schedule()
    arrivals = [(10 + 8 * i) * frame_s for i in range(1 + math.ceil((num_frames - 10) / 8))]
    now, arrived, decoded = 0.0, 0, 0
    runs_out_at, silent_s = None, 0.0
    sizes: list[int] = []
    while decoded < num_frames:
        while arrivals and arrivals[0] <= now:
            arrived = min(num_frames, arrived + (8 if arrived else 10))
            arrivals.pop(0)
        due = stream.due(arrived - decoded, arrived == num_frames)
        if due > now:
            now = min([due, *arrivals[:1]])
            continue
        sizes.append(stream.take(arrived - decoded, arrived == num_frames))
        decoded += sizes[-1]
        now += call_s + each_s * sizes[-1]
        num_samples = HOP * sizes[-1] - (LAG if len(sizes) == 1 else 0)
        if runs_out_at is not None:
            silent_s += max(0.0, now - runs_out_at)
        runs_out_at = max(now, runs_out_at or 0.0) + num_samples / RATE
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
    """Twice as fast as real time: silence only before the second piece, and pieces grow to full."""
    sizes, silent_s = simulate(num_frames, frame_s=frame_s, call_s=call_s, each_s=each_s)
    # The first piece holds 6 ms of sound, so the second one can only come later.
    assert silent_s <= 8 * frame_s + call_s + MAX_PIECE_FRAMES * each_s + 1e-9
    assert sum(sizes) == num_frames
    assert {*sizes[1:-1]} <= {*PIECE_FRAMES}
    if num_frames > 100:
        assert MAX_PIECE_FRAMES in sizes


def test_a_slow_model_is_heard_as_it_goes() -> None:
    """Slower than real time, nothing waits: each arrival is a piece."""
    sizes, _ = simulate(90, frame_s=0.05, call_s=0.001, each_s=0.001)
    assert sizes == [10] + [8] * 10
