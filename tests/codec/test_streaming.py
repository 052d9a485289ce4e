"""Streaming: the joined pieces equal the whole decode, however the codes arrive."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.streaming import MAX_ROWS, CodecPiece, StreamingDecoder
from tests.codec.streams import close, end_of, random_codes, whole

HOP = 960
LAG = 9458
"""Samples that the decoder looks ahead. Source: its kernel shapes, 9.85 frames."""


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
    pcm: list[list[np.ndarray]] = [[] for _ in lengths]
    fed = [0] * len(lengths)
    open_streams = set(range(len(lengths)))
    for stream in open_streams:
        streaming.open(stream)
    while open_streams:
        chosen = [s for s in sorted(open_streams) if rng.random() < 0.7]
        pieces = []
        for stream in chosen:
            size = int(rng.choice([0, 1, 3, 7, 8, 13, 16, 24]))
            taken = codes[stream][fed[stream] : fed[stream] + size]
            fed[stream] += len(taken)
            is_last = fed[stream] == lengths[stream] and rng.random() < 0.5
            pieces.append(CodecPiece(stream, taken, is_last=bool(is_last)))
        for piece, part in zip(pieces, streaming.advance(pieces), strict=True):
            pcm[piece.stream].append(part)
            if piece.is_last:
                open_streams.discard(piece.stream)
    for stream, parts in enumerate(pcm):
        close(np.concatenate(parts), whole(decoder, codes[stream]))


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
        sizes.add(sum(kept.numel() for kept in streaming._states))
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
