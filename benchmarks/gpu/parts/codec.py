"""The codec's decoder: pieces inside a stream, which are captured, and its ends."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.gpu.devices import free_mb, median_seconds, seconds
from benchmarks.gpu.models import random_decoder
from benchmarks.gpu.scale import Scale
from benchmarks.roofline import FRAME_RATE
from higgs_worker.codec.piece_schedule import FIRST_SOUND_FRAMES, PIECE_FRAMES
from higgs_worker.codec.streaming import MAX_ROWS, CodecPiece, StreamingDecoder
from higgs_worker.cuda import cuda_capture

NUM_STREAMS = 16
ROWS = (1, 2, 4, MAX_ROWS)
LAST_FRAMES = (3, 5, 8, 20)


def codec(scale: Scale) -> Iterator[dict[str, Any]]:
    """The codec's pieces inside streams, ms by streams and frames; audio seconds per second"""
    streaming = _streaming(scale)
    before = free_mb(scale.device)
    with streaming.own_stream():
        took = seconds(scale.device, streaming.prepare)
        used = before - free_mb(scale.device)
        for num_rows in ROWS:
            _open(streaming, num_rows)
            row: dict[str, Any] = {"streams": num_rows}
            for num_frames in PIECE_FRAMES:
                pieces = _pieces(num_rows, num_frames)
                streaming.advance(pieces)
                took_s = median_seconds(
                    scale.device, lambda pieces=pieces: streaming.advance(pieces), scale.repeats
                )
                row[f"{num_frames}_frames_ms"] = 1e3 * took_s
            row["audio_s_per_s"] = num_rows * PIECE_FRAMES[-1] / FRAME_RATE / took_s
            yield row
    yield {"streams": NUM_STREAMS, "note": f"captures took {took:.2f} s, {used:.0f} MB"}


def codec_ends(scale: Scale) -> Iterator[dict[str, Any]]:
    """First and last pieces of streams, ms the first time and again"""
    streaming = _streaming(scale)
    with streaming.own_stream():
        streaming.prepare()
        for num_rows in (1, MAX_ROWS):
            num_frames = streaming.num_lag_frames + FIRST_SOUND_FRAMES

            def first(num_rows: int = num_rows, num_frames: int = num_frames) -> float:
                for stream in range(num_rows):
                    streaming.open(stream)
                pieces = _pieces(num_rows, num_frames)
                return 1e3 * seconds(scale.device, lambda: streaming.advance(pieces))

            times = {"new_ms": first(), "again_ms": first()}
            yield {"piece": "first", "streams": num_rows, "frames": num_frames} | times
        for num_rows, num_frames in ((1, each) for each in LAST_FRAMES):

            def last(num_rows: int = num_rows, num_frames: int = num_frames) -> float:
                _open(streaming, num_rows)
                pieces = _pieces(num_rows, num_frames, is_last=True)
                return 1e3 * seconds(scale.device, lambda: streaming.advance(pieces))

            times = {"new_ms": last(), "again_ms": last()}
            yield {"piece": "last", "streams": num_rows, "frames": num_frames} | times


def _streaming(scale: Scale) -> StreamingDecoder:
    return StreamingDecoder(random_decoder(scale), NUM_STREAMS, capture=cuda_capture(scale.device))


def _pieces(num_rows: int, num_frames: int, *, is_last: bool = False) -> list[CodecPiece]:
    codes = np.random.default_rng(0).integers(0, 1024, (num_rows, num_frames, 8))
    return [CodecPiece(stream, codes[stream], is_last) for stream in range(num_rows)]


def _open(streaming: StreamingDecoder, num_rows: int) -> None:
    """Bring streams past their beginning."""
    for stream in range(num_rows):
        streaming.open(stream)
    streaming.advance(_pieces(num_rows, streaming.num_lag_frames))


MEASUREMENTS = (codec, codec_ends)
