"""What is wrong with a take is found, and what is only unusual is not."""

import numpy as np
import pytest

from higgs_worker.speech.quality import AttemptAudio, judge, longest_loop_s

RATE, FRAMES = 24000, 25
RNG = np.random.default_rng(1)


def said(
    duration_s: float = 5.0,
    *,
    expected_s: float = 5.0,
    level: float = 0.3,
    codes: np.ndarray | None = None,
    hit_cap: bool = False,
    fell_silent: bool = False,
) -> AttemptAudio:
    """Describe a take; a good one, unless it says otherwise."""
    num_frames = round(duration_s * FRAMES)
    return AttemptAudio(
        pcm=(level * RNG.uniform(-1, 1, round(duration_s * RATE))).astype(np.float32),
        sample_rate=RATE,
        frame_rate=FRAMES,
        codes=RNG.integers(0, 1024, (num_frames, 8)) if codes is None else codes,
        expected_s=expected_s,
        hit_cap=hit_cap,
        fell_silent=fell_silent,
    )


@pytest.mark.parametrize("duration_s", [2.5, 5.0, 9.5])
def test_a_good_take_has_no_fault(duration_s: float) -> None:
    """Half as long and twice as long as expected are both within what readers do."""
    assert judge(said(duration_s)) == []


def test_short_texts_are_not_judged_by_length() -> None:
    """Nothing follows from a word that takes a third of a second."""
    assert judge(said(0.1, expected_s=0.5)) == []


@pytest.mark.parametrize(
    ("take", "kind"),
    [
        (said(1.0), "early_end"),
        (said(hit_cap=True), "runaway"),
        (said(fell_silent=True), "silence"),
        (said(0.0), "silent"),
        (said(codes=np.tile(RNG.integers(0, 1024, (30, 8)), (4, 1))), "repetition"),
    ],
)
def test_each_fault_is_found(take: AttemptAudio, kind: str) -> None:
    """What is broken is named, and nothing else with it."""
    assert [fault.kind for fault in judge(take)] == [kind]


def test_clipping_is_found() -> None:
    """Samples at full scale, more than mastering leaves, are distortion."""
    take = said()
    take.pcm[::100] = 1.0
    assert [fault.kind for fault in judge(take)] == ["clipping"]
    take.pcm[::100] = 0.5
    take.pcm[::2000] = 1.0
    assert judge(take) == []


def test_worse_faults_come_first_and_weigh_more() -> None:
    """The less was said of a text, the worse."""
    worst, *_ = judge(said(0.5, hit_cap=True))
    assert worst.kind == "early_end"
    assert judge(said(0.5))[0].weight > judge(said(1.5))[0].weight


def test_held_tones_and_silence_are_no_loops() -> None:
    """Codes that hardly change are a vowel or a pause; a loop has something to repeat."""
    assert longest_loop_s(np.full((200, 8), 5), FRAMES) == 0
    assert longest_loop_s(np.tile([[1] * 8, [2] * 8], (100, 1)), FRAMES) == 0


def test_a_word_said_twice_is_no_loop() -> None:
    """Once again is emphasis; again and again for more than a second is not."""
    word = RNG.integers(0, 1024, (20, 8))
    rest = RNG.integers(0, 1024, (80, 8))
    assert judge(said(codes=np.concatenate([rest, word, word, rest]))) == []


def test_the_length_of_a_loop_is_measured() -> None:
    """Three further rounds of a second and a bit."""
    rest = RNG.integers(0, 1024, (80, 8))
    loop = np.tile(RNG.integers(0, 1024, (30, 8)), (4, 1))
    assert longest_loop_s(np.concatenate([rest, loop]), FRAMES) == pytest.approx(3.6)
