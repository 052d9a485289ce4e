"""Streaming: the joined pieces equal the whole decode, however the codes arrive."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.measure import OperatorCounter
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.stages import plan_stages
from higgs_worker.codec.streaming import MAX_ROWS, CodecPiece, StreamingDecoder
from tests.codec.streams import any_cuts, close, end_of, random_codes, stream_pcm, whole

HOP = 960
LAG = 9458
"""Samples that the decoder looks ahead. Source: its kernel shapes, 9.85 frames."""

NUM_SNAKES = 36


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 45), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)
def test_any_schedule_gives_the_whole(decoder: CodecDecoder, lengths: list[int], seed: int) -> None:
    """Streams of any length, fed in any pieces, side by side in any mix, equal the whole decode."""
    rng = np.random.default_rng(seed)
    streaming = StreamingDecoder(decoder, len(lengths))
    codes = [random_codes(seed + i, length) for i, length in enumerate(lengths)]
    cuts = [any_cuts(rng, length) for length in lengths]
    for pcm, each in zip(stream_pcm(streaming, codes, cuts, rng), codes, strict=True):
        close(pcm, whole(decoder, each))


def test_samples_are_final_as_early_as_can_be(decoder: CodecDecoder) -> None:
    """No samples after nine frames, 142 after ten, then one frame's samples per frame."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    assert streaming.lag == LAG
    assert streaming.num_lag_frames == 10
    sizes = [len(streaming.advance([CodecPiece(0, random_codes(i, 1))])[0]) for i in range(14)]
    assert sizes == [0] * 9 + [10 * HOP - LAG] + [HOP] * 4
    assert [len(pcm) for pcm in streaming.advance([end_of(0)])] == [LAG]


def test_a_stream_used_again_forgets(decoder: CodecDecoder) -> None:
    """Opening a stream again resets all its state."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    streaming.advance([CodecPiece(0, random_codes(1, 20))])
    streaming.open(0)
    codes = random_codes(2, 15)
    pcm = [*streaming.advance([CodecPiece(0, codes)]), *streaming.advance([end_of(0)])]
    close(np.concatenate(pcm), whole(decoder, codes))


def test_a_stream_without_frames_is_silent(decoder: CodecDecoder) -> None:
    """Ending at once gives no samples and no error."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    assert streaming.advance([CodecPiece(0, random_codes(0, 0))])[0].shape == (0,)
    assert streaming.advance([end_of(0)])[0].shape == (0,)


def test_state_is_small_and_fixed(decoder: CodecDecoder) -> None:
    """A stream's state does not grow with its length."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    sizes = set()
    for i in range(6):
        streaming.advance([CodecPiece(0, random_codes(i, 25))])
        sizes.add(streaming._states.numel())
    assert len(sizes) == 1


def test_more_streams_than_one_call_holds(decoder: CodecDecoder) -> None:
    """Streams beyond the rows of a call go into the next one, and each gets its own audio."""
    count = MAX_ROWS + 3
    streaming = StreamingDecoder(decoder, count)
    codes = [random_codes(i, 12) for i in range(count)]
    for stream in range(count):
        streaming.open(stream)
    pieces = [CodecPiece(i, each, is_last=True) for i, each in enumerate(codes)]
    for pcm, each in zip(streaming.advance(pieces), codes, strict=True):
        close(pcm, whole(decoder, each))


def test_an_inner_call_divides_nothing_and_joins_once(decoder: CodecDecoder) -> None:
    """A stage joins its state with its input once, and all states are read and written together."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    num_stages = len(plan_stages(decoder))
    counts = []
    for is_last in (False, False, True):
        with OperatorCounter() as operators:
            streaming.advance([CodecPiece(0, random_codes(1, 24), is_last=is_last)])
        counts.append(operators.by_name)
    first, inside, last = counts
    assert inside["reciprocal"] == first["reciprocal"] == 0
    assert inside["cat"] == first["cat"] == num_stages
    assert inside["index"] == inside["index_put_"] == 1
    # A snake makes one tensor and goes on in it.
    assert inside["mul"] == inside["sin_"] == inside["pow_"] == NUM_SNAKES
    # Each convolution, the four operators of each snake, and per stage: join, keep, add or nothing.
    assert inside.total() <= 250
    # One comparison per frame, one mask per rate, and products where no sum takes the mask in.
    assert first == last
    assert first.total() <= inside.total() + 18


def test_masks_change_no_bit_inside(decoder: CodecDecoder) -> None:
    """With masks that are all ones, a call gives the same bits as without any."""
    pcm = []
    for bounds in (None, torch.tensor([[-50, 100]])):
        streaming = StreamingDecoder(decoder, 1)
        streaming.open(0)
        streaming.advance([CodecPiece(0, random_codes(1, 24))])
        codes = torch.from_numpy(random_codes(2, 24).T.copy())[None]
        with torch.inference_mode():
            pcm.append(streaming._decode(torch.tensor([0]), codes, bounds))
    assert torch.equal(*pcm)


def test_frozen_snakes_change_no_bit(decoder: CodecDecoder) -> None:
    """Dividing once gives the same bits as dividing in every call."""
    snake = decoder.acoustic_decoder.snake1
    x = torch.randn(2, snake.alpha.shape[1], 100, generator=torch.Generator().manual_seed(0))
    assert torch.equal(snake.frozen()(x), snake(x))
    with torch.inference_mode():
        assert torch.equal(snake.frozen()(x), snake(x))
