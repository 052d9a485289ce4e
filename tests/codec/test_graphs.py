"""Calls at fixed shapes, captured by a stand-in: every piece of a stream runs through them."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch

from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.graphs import call_sizes
from higgs_worker.codec.piece_schedule import PIECE_FRAMES
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder
from tests.codec.streams import any_cuts, close, random_codes, scheduled_cuts, stream_pcm, whole
from tests.fakes.twin_capture import TwinCapture, TwinReplay

NUM_STREAMS = 3
NUM_GRAPHS = len({1, 2, 3}) * len(PIECE_FRAMES)


class BreakingCapture(TwinCapture):
    """Captures some graphs and then no more, like a device whose memory is full."""

    def __init__(self, num_good: int) -> None:
        super().__init__()
        self.num_good = num_good
        self.num_asked = 0

    def __call__(self, computation: Callable[[], None]) -> TwinReplay:
        """Store the computation, or fail."""
        self.num_asked += 1
        if self.num_asked > self.num_good:
            raise RuntimeError("CUDA error: out of memory")
        return super().__call__(computation)


def prepared(decoder: CodecDecoder, capture: TwinCapture) -> StreamingDecoder:
    """Return a streaming decoder whose calls are captured, and which fails in any other one."""
    streaming = StreamingDecoder(decoder, NUM_STREAMS, capture=capture)
    streaming.prepare()

    def eager(*_: object) -> torch.Tensor:
        raise AssertionError("a call at a shape that is not captured")

    streaming._decode = eager
    return streaming


@pytest.fixture(scope="module")
def capture() -> TwinCapture:
    """The stand-in of `captured`."""
    return TwinCapture()


@pytest.fixture(scope="module")
def captured(decoder: CodecDecoder, capture: TwinCapture) -> StreamingDecoder:
    """One for all tests; each opens its streams anew."""
    return prepared(decoder, capture)


def check(streaming: StreamingDecoder, decoder: CodecDecoder, seed: int) -> None:
    """Compare streams of random lengths, in pieces of the schedule, with their whole decodes."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 90, NUM_STREAMS).tolist()
    codes = [random_codes(seed + i, length) for i, length in enumerate(lengths)]
    cuts = [scheduled_cuts(rng, length) for length in lengths]
    for pcm, each in zip(stream_pcm(streaming, codes, cuts, rng), codes, strict=True):
        close(pcm, whole(decoder, each))


@pytest.mark.parametrize("seed", range(6))
def test_every_piece_of_a_schedule_is_replayed(
    captured: StreamingDecoder, capture: TwinCapture, decoder: CodecDecoder, seed: int
) -> None:
    """First and last pieces too: none runs eagerly, and the audio is the whole decode."""
    before = capture.num_replays
    check(captured, decoder, seed)
    assert len(capture.captured) == NUM_GRAPHS
    assert capture.num_replays > before


@pytest.mark.parametrize(
    ("num_frames", "sizes"),
    [(1, [8]), (8, [8]), (9, [16]), (17, [24]), (24, [24]), (25, [24, 8]), (34, [24, 16])],
)
def test_frames_are_filled_up_to_the_fewest_calls(num_frames: int, sizes: list[int]) -> None:
    """The longest last piece, 24 frames and 10 behind it, takes two calls."""
    assert call_sizes(num_frames) == sizes


@pytest.mark.parametrize("sizes", [(1, 7, 8), (9, 10, 14), (15, 22, 24)])
def test_first_and_last_pieces_of_any_size_are_exact(
    captured: StreamingDecoder, decoder: CodecDecoder, sizes: tuple[int, ...]
) -> None:
    """A first piece is filled up in front, a last one behind, and one that is both behind."""
    rng = np.random.default_rng(0)
    for inside in ([16], []):
        cuts = [[size, *inside, size] if inside else [size] for size in sizes]
        codes = [random_codes(sum(each), sum(each)) for each in cuts]
        for pcm, each in zip(stream_pcm(captured, codes, cuts, rng), codes, strict=True):
            close(pcm, whole(decoder, each))


def test_ends_and_inner_pieces_share_a_call(
    captured: StreamingDecoder, capture: TwinCapture
) -> None:
    """What matters is the number of frames, not where in their audio the streams are."""
    for stream in range(NUM_STREAMS):
        captured.open(stream)
    captured.advance([CodecPiece(stream, random_codes(stream, 16)) for stream in (0, 1)])
    before = capture.num_replays
    captured.advance(
        [
            CodecPiece(0, random_codes(0, 16)),
            CodecPiece(1, random_codes(1, 5), is_last=True),
            CodecPiece(2, random_codes(2, 10)),
        ]
    )
    assert capture.num_replays == before + 1


def test_other_sizes_run_eagerly(decoder: CodecDecoder) -> None:
    """Pieces of any sizes, which no schedule makes, are exact as well."""
    streaming = StreamingDecoder(decoder, NUM_STREAMS, capture=TwinCapture())
    streaming.prepare()
    rng = np.random.default_rng(1)
    codes = [random_codes(i, 60) for i in range(NUM_STREAMS)]
    cuts = [any_cuts(rng, 60) for _ in codes]
    for pcm, each in zip(stream_pcm(streaming, codes, cuts, rng), codes, strict=True):
        close(pcm, whole(decoder, each))


@pytest.mark.parametrize("num_good", [0, 4])
def test_a_capture_that_fails_is_the_last(
    decoder: CodecDecoder, num_good: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once; graphs captured before are used, and the other calls keep their shapes."""
    caplog.set_level(logging.ERROR)
    capture = BreakingCapture(num_good)
    streaming = prepared(decoder, capture)
    assert capture.num_asked == num_good + 1
    assert len(caplog.records) == 1
    for seed in range(2):
        check(streaming, decoder, seed)
    # The largest come first: with four graphs, all of 24 frames and the first of 16.
    assert bool(capture.num_replays) == bool(num_good)


def test_without_capture_nothing_is_filled_up(decoder: CodecDecoder) -> None:
    """On a CPU nothing is prepared, and calls have the sizes of their pieces."""

    class RecordingSizes(StreamingDecoder):
        def _decode(
            self, rows: torch.Tensor, codes: torch.Tensor, bounds: torch.Tensor | None
        ) -> torch.Tensor:
            sizes.append((len(rows), codes.shape[-1]))
            return super()._decode(rows, codes, bounds)

    sizes: list[tuple[int, int]] = []
    streaming = RecordingSizes(decoder, 3)
    streaming.prepare()
    assert sizes == []
    for stream in range(3):
        streaming.open(stream)
    streaming.advance([CodecPiece(stream, random_codes(0, 10)) for stream in range(3)])
    streaming.advance([CodecPiece(0, random_codes(0, 5), is_last=True)])
    assert sizes == [(3, 10), (1, 15)]


def test_state_stays_where_it_is(captured: StreamingDecoder, decoder: CodecDecoder) -> None:
    """A graph keeps addresses: neither a piece nor a new stream moves the state."""
    place = captured._states.data_ptr()
    check(captured, decoder, 0)
    assert captured._states.data_ptr() == place
