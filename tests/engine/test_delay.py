"""The delay pattern as a table, and the tail rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.engine.delay import delay, undelay

BOS, EOS = 1024, 1025


def clip(num_frames: int, num_codebooks: int = 8) -> np.ndarray:
    """Codes that name their own place."""
    return np.arange(num_frames * num_codebooks).reshape(num_frames, num_codebooks) % 1024


def test_layout_is_upstreams() -> None:
    """Codebook k is shifted by k between BOS and EOS. Source: facts of the published format."""
    columns = delay(np.array([[1, 2, 3], [4, 5, 6]]), 8, 9)
    assert columns.tolist() == [
        [8, 8, 8],
        [1, 8, 8],
        [4, 2, 8],
        [9, 5, 3],
        [9, 9, 6],
        [9, 9, 9],
    ]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(num_frames=st.integers(0, 40), num_codebooks=st.integers(1, 8))
def test_undelay_inverts_delay(num_frames: int, num_codebooks: int) -> None:
    """Laying out and taking back changes nothing, at any length."""
    codes = clip(num_frames, num_codebooks)
    columns = delay(codes, BOS, EOS)
    assert columns.shape == (num_frames + num_codebooks + 1, num_codebooks)
    assert np.array_equal(undelay(columns, BOS, EOS), codes)


def test_truncated_columns_give_all_complete_frames() -> None:
    """Of n columns without an end, n - 8 frames can be decoded."""
    columns = delay(clip(20), BOS, EOS)[:15]
    assert np.array_equal(undelay(columns, BOS, EOS), clip(20)[:7])


def test_fewer_columns_than_codebooks_give_no_frame() -> None:
    """The ramp alone holds no complete frame."""
    assert undelay(delay(clip(20), BOS, EOS)[:8], BOS, EOS).shape == (0, 8)


@pytest.mark.parametrize("codebook", range(8))
def test_the_first_end_code_of_any_codebook_cuts(codebook: int) -> None:
    """Whichever codebook ends first, no frame with an end code in it is decoded."""
    columns = delay(clip(20), BOS, EOS)
    columns[12, codebook] = EOS  # frame 12 - 1 - codebook
    assert np.array_equal(undelay(columns, BOS, EOS), clip(20)[: 11 - codebook])


def test_an_end_in_the_last_codebook_not_seven_rows_later() -> None:
    """Where upstream keeps one mixed frame and clips its end codes, the frame is dropped."""
    columns = delay(clip(10), BOS, EOS)
    columns[11, 1] = 5  # codebook 1 ends one row late: a tenth frame of seven codes and an end
    assert len(undelay(columns, BOS, EOS)) == 10


def test_stray_stream_bos_is_refused() -> None:
    """A start code inside the audio is a defect of the sampler, not a sound."""
    columns = delay(clip(10), BOS, EOS)
    columns[9, 3] = BOS
    with pytest.raises(ValueError, match="stream BOS"):
        undelay(columns, BOS, EOS)
