"""Frames as they are completed: all of them, in order, as early as they are of use."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.engine.delay import delay
from higgs_worker.engine.frame_feed import FrameFeed
from higgs_worker.engine.sequence import Codes, Sampling, Submission
from higgs_worker.errors import EngineFailed
from tests.engine.pairs import GREEDY, NUM_CODEBOOKS, Pairs
from tests.oracles.language_model import random_prompt


@settings(max_examples=40, deadline=None, derandomize=True)
@given(num_frames=st.integers(1, 40), sizes=st.lists(st.integers(1, 9), min_size=50, max_size=50))
def test_pieces_join_to_the_whole(num_frames: int, sizes: list[int]) -> None:
    """However the columns come, the frames before the end come once each, in order."""
    codes = np.arange(num_frames * 8).reshape(num_frames, 8) % 1024
    columns = delay(codes, 1024, 1025)
    received: list[Codes] = []
    feed = FrameFeed(received.append, num_first_frames=1)
    while len(columns):
        size = sizes.pop() if sizes else 9
        feed.push(columns[:size], 1024, 1025)
        columns = columns[size:]
    assert np.array_equal(np.concatenate(received), codes)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=3, temperature=1.0)])
def test_frames_fed_are_those_of_the_result(pairs: Pairs, sampling: Sampling) -> None:
    """Sequences that end by themselves and at the cap, side by side, feed exactly their codes."""
    pair = pairs(1, "narrow", end=1.0, num_slots=3)
    rng = np.random.default_rng(1)
    received: list[list[Codes]] = [[] for _ in range(5)]
    handles = [
        pair.engine.submit(
            Submission(random_prompt(rng, 9 + i), sampling, 30), on_frames=received[i].append
        )
        for i in range(5)
    ]
    for handle, pieces in zip(handles, received, strict=True):
        codes = handle.result(60).codes
        fed = np.concatenate([np.zeros((0, NUM_CODEBOOKS), dtype=np.int64), *pieces])
        assert np.array_equal(fed, codes)


def test_the_first_frames_come_with_the_column_that_completes_them(pairs: Pairs) -> None:
    """Ten frames need eighteen columns: the first call brings exactly them, without a wait."""
    pair = pairs(1, "narrow", end=0.0)
    received: list[Codes] = []
    prompt = random_prompt(np.random.default_rng(1), 9)
    handle = pair.engine.submit(
        Submission(prompt, GREEDY, 40), on_frames=received.append, num_first_frames=10
    )
    handle.result(60)
    sizes = np.cumsum([len(frames) for frames in received])
    assert 10 in sizes
    assert sizes[-1] == 40


def test_a_listener_that_fails_fails_alone(pairs: Pairs) -> None:
    """An exception in the callback ends its own sequence with an error."""
    pair = pairs(1, "narrow", end=0.0)
    prompt = random_prompt(np.random.default_rng(1), 9)

    def refuse(_: Codes) -> None:
        raise RuntimeError("cannot")

    bad = pair.engine.submit(Submission(prompt, GREEDY, 40), on_frames=refuse)
    good = pair.engine.submit(Submission(prompt, GREEDY, 40))
    assert len(good.result(60).codes) == 40
    with pytest.raises(EngineFailed):
        bad.result(60)
