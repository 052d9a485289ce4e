"""The codec's decoder: pieces inside a stream, which are captured, its ends, and its precisions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gpu.devices import free_mb, median_seconds, seconds
from benchmarks.gpu.models import random_decoder
from benchmarks.gpu.scale import Scale
from benchmarks.roofline import FRAME_RATE
from higgs_worker import demo
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.loader import load_decoder
from higgs_worker.codec.piece_schedule import FIRST_SOUND_FRAMES, PIECE_FRAMES
from higgs_worker.codec.streaming import MAX_ROWS, CodecPiece, StreamingDecoder
from higgs_worker.cuda import cuda_capture

NUM_STREAMS = 16
ROWS = (1, 2, 4, MAX_ROWS)
LAST_FRAMES = (3, 5, 8, 20)
ALLOW_TF32 = {"exact": False, "tf32": True}
"""By the value of HIGGS_CODEC_PRECISION."""
NUM_COMPARED = 10
"""Pieces of a stream whose PCM is compared, 10 s of audio."""


def codec(scale: Scale) -> Iterator[dict[str, Any]]:
    """The codec's pieces inside streams, ms by streams and frames; audio seconds per second"""
    decoder = random_decoder(scale)
    for precision in ALLOW_TF32:
        streaming = _streaming(scale, decoder, precision)
        before = free_mb(scale.device)
        with streaming.own_stream():
            took = seconds(scale.device, streaming.prepare)
            used = before - free_mb(scale.device)
            for num_rows in ROWS:
                row: dict[str, Any] = {"precision": precision, "streams": num_rows}
                yield row | _inside(scale, streaming, num_rows)
        note = f"captures took {took:.2f} s, {used:.0f} MB"
        yield {"precision": precision, "streams": NUM_STREAMS, "note": note}


def _inside(scale: Scale, streaming: StreamingDecoder, num_rows: int) -> dict[str, Any]:
    """Time the pieces inside `num_rows` streams."""
    _open(streaming, num_rows)
    row: dict[str, Any] = {}
    for num_frames in PIECE_FRAMES:
        pieces = _pieces(num_rows, num_frames)
        streaming.advance(pieces)
        took_s = median_seconds(
            scale.device, lambda pieces=pieces: streaming.advance(pieces), scale.repeats
        )
        row[f"{num_frames}_frames_ms"] = 1e3 * took_s
    return row | {"audio_s_per_s": num_rows * PIECE_FRAMES[-1] / FRAME_RATE / took_s}


def codec_error(scale: Scale) -> Iterator[dict[str, Any]]:
    """What TF32 costs: the PCM of both precisions, captured, on the same codes"""
    decoders = {
        "random, of this scale": random_decoder(scale),
        "embedded, trained": load_decoder(Path(demo.__file__).parent / "codec", scale.device)[0],
    }
    for name, decoder in decoders.items():
        exact, rounded = (_sound(scale, decoder, precision) for precision in ALLOW_TF32)
        error = rounded - exact
        power = float(np.square(exact - exact.mean()).sum())
        error_power = float(np.square(error).sum())
        yield {
            "codec": name,
            "snr_db": 10 * np.log10(power / error_power) if error_power else None,
            "error_max": float(np.abs(error).max()),
            "equal": not error_power,
        }


def _sound(scale: Scale, decoder: CodecDecoder, precision: str) -> NDArray[np.float64]:
    """Decode a stream."""
    streaming = _streaming(scale, decoder, precision)
    with streaming.own_stream():
        streaming.prepare()
        streaming.open(0)
        codes = np.random.default_rng(0).integers(0, 1024, (NUM_COMPARED, PIECE_FRAMES[-1], 8))
        pcm = [streaming.advance([CodecPiece(0, each)])[0] for each in codes]
    return np.concatenate(pcm).astype(np.float64)


def codec_ends(scale: Scale) -> Iterator[dict[str, Any]]:
    """First and last pieces of streams, ms the first time and again"""
    streaming = _streaming(scale, random_decoder(scale), "exact")
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


def _streaming(scale: Scale, decoder: CodecDecoder, precision: str) -> StreamingDecoder:
    capture = cuda_capture(scale.device)
    allow_tf32 = ALLOW_TF32[precision]
    return StreamingDecoder(decoder, NUM_STREAMS, allow_tf32=allow_tf32, capture=capture)


def _pieces(num_rows: int, num_frames: int, *, is_last: bool = False) -> list[CodecPiece]:
    codes = np.random.default_rng(0).integers(0, 1024, (num_rows, num_frames, 8))
    return [CodecPiece(stream, codes[stream], is_last) for stream in range(num_rows)]


def _open(streaming: StreamingDecoder, num_rows: int) -> None:
    """Bring streams past their beginning."""
    for stream in range(num_rows):
        streaming.open(stream)
    streaming.advance(_pieces(num_rows, streaming.num_lag_frames))


MEASUREMENTS = (codec, codec_error, codec_ends)
