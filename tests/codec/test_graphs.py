"""Captured calls: replayed at few shapes, with the PCM of eager ones."""

import numpy as np
import pytest
import torch

from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.graphs import CAPTURED_FRAMES
from higgs_worker.codec.loader import load_decoder
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder
from higgs_worker.cuda import cuda_capture
from tests.codec.streams import DEMO_CODEC, close, random_codes, whole
from tests.fakes.twin_capture import TwinCapture

SCHEDULE = (
    ((0, 1, 2), 10),
    ((0, 1, 2), 8),  # three rows of four
    ((1, 2), 24),
    ((0,), 16),
    ((2,), 5),  # of a size that is not captured
    ((0, 1, 2), 24),
    ((0, 1), 8),
)
"""Which streams advance, and by how many frames; the first piece of each is its beginning."""
NUM_REPLAYS = 5


def decode_streams(streaming: StreamingDecoder) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Decode three streams by `SCHEDULE`; returns codes and PCM of each."""
    codes: list[list[np.ndarray]] = [[], [], []]
    pcm: list[list[np.ndarray]] = [[], [], []]
    for stream in range(3):
        streaming.open(stream)
    ends = ((0, 3), (1, 0), (2, 8))
    pieces = [
        [CodecPiece(stream, random_codes(100 * number + stream, size)) for stream in streams]
        for number, (streams, size) in enumerate(SCHEDULE)
    ]
    pieces.append(
        [CodecPiece(stream, random_codes(stream, size), is_last=True) for stream, size in ends]
    )
    for together in pieces:
        for piece, part in zip(together, streaming.advance(together), strict=True):
            codes[piece.stream].append(piece.codes)
            pcm[piece.stream].append(part)
    return [np.concatenate(each) for each in codes], [np.concatenate(each) for each in pcm]


def test_replayed_audio_is_the_whole(decoder: CodecDecoder) -> None:
    """Padded rows and replays change nothing; beginnings, ends and odd sizes run eagerly."""
    capture = TwinCapture()
    streaming = StreamingDecoder(decoder, 5, capture=capture)
    assert len(capture.captured) == len({1, 2, 4, 5}) * len(CAPTURED_FRAMES)
    for round_number in (1, 2):
        for codes, pcm in zip(*decode_streams(streaming), strict=True):
            close(pcm, whole(decoder, codes))
        assert capture.num_replays == round_number * NUM_REPLAYS


def test_without_capture_nothing_is_captured(decoder: CodecDecoder) -> None:
    """On a CPU the same pieces run eagerly."""
    for codes, pcm in zip(*decode_streams(StreamingDecoder(decoder, 3)), strict=True):
        close(pcm, whole(decoder, codes))


def test_state_stays_where_it_is(decoder: CodecDecoder) -> None:
    """A graph keeps addresses: neither a piece nor a new stream moves a tensor."""
    streaming = StreamingDecoder(decoder, 3)
    places = [kept.data_ptr() for kept in streaming._states]
    decode_streams(streaming)
    assert [kept.data_ptr() for kept in streaming._states] == places


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to capture on")
def test_real_graphs_give_the_whole() -> None:
    """On CUDA: streams through real graphs equal the whole decode, twice over."""
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device("cuda")
    decoder, _ = load_decoder(DEMO_CODEC, device)
    streaming = StreamingDecoder(decoder, 5, capture=cuda_capture(device))
    with streaming.own_cuda_stream():
        for _ in range(2):
            for codes, pcm in zip(*decode_streams(streaming), strict=True):
                close(pcm, whole(decoder, codes))
