"""Random codes for streams, and the PCM that they must give."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.scale import REAL
from higgs_worker import demo
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.piece_schedule import PieceSchedule
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder

DEMO_CODEC = Path(demo.__file__).parent / "codec"
RMS = 0.3
CALIBRATION_FRAMES = 12


def random_codes(seed: int, num_frames: int) -> np.ndarray:
    """Draw codes [F, K]."""
    return np.random.default_rng(seed).integers(0, 1024, (num_frames, 8))


def random_decoder() -> CodecDecoder:
    """Return a decoder of the published sizes on the CPU, whose audio is as loud as speech."""
    generator = torch.Generator().manual_seed(0)
    with torch.device("meta"):  # skips initial values, which are not used
        decoder = CodecDecoder(REAL.codec.codec)
    decoder = decoder.to_empty(device="cpu").requires_grad_(False).eval()
    for name, tensor in decoder.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("alpha"):
            tensor.copy_(0.5 + noise.abs())
        elif name == "code_table.table":
            tensor.copy_(noise * decoder.config.num_codebooks**-0.5)
        elif "conv_t1.weight" in name:  # two taps of each input reach a sample
            tensor.copy_(0.7 * noise * (2 * tensor.shape[0]) ** -0.5)
        elif tensor.dim() == 3:
            gain = 0.3 if "conv2" in name and "res_unit" in name else 0.7
            tensor.copy_(gain * noise * tensor[0].numel() ** -0.5)
        else:
            tensor.copy_(0.1 * noise)
    last = decoder.acoustic_decoder.conv2
    rms = whole(decoder, random_codes(0, CALIBRATION_FRAMES)).std()
    last.weight *= RMS / rms
    last.bias *= RMS / rms
    return decoder


def end_of(stream: int) -> CodecPiece:
    """Return the piece that ends a stream."""
    return CodecPiece(stream, random_codes(0, 0), is_last=True)


def whole(decoder: CodecDecoder, codes: np.ndarray) -> np.ndarray:
    """Return the whole decode of codes [F, K]."""
    with torch.inference_mode():
        batch = torch.from_numpy(codes.T.copy())[None].to(decoder.code_table.table.device)
        return decoder(batch)[0].cpu().numpy()


def close(streamed: np.ndarray, expected: np.ndarray) -> None:
    """Check equal length, and equality to less than 1 LSB of 16 bits."""
    assert streamed.shape == expected.shape
    assert np.abs(streamed - expected).max(initial=0) < 3e-5


def any_cuts(rng: np.random.Generator, num_frames: int) -> list[int]:
    """Cut a stream into pieces of any sizes, some of them empty."""
    cuts: list[int] = []
    while sum(cuts) < num_frames:
        cuts.append(int(rng.choice([0, 1, 3, 7, 8, 13, 16, 24])))
    cuts[-1] -= sum(cuts) - num_frames
    return cuts + [0] * int(rng.integers(2))


def scheduled_cuts(rng: np.random.Generator, num_frames: int) -> list[int]:
    """Cut a stream into pieces as its schedule does, for frames that arrive at random."""
    schedule = PieceSchedule(sample_rate=1, num_first_frames=10, is_live=True)
    cuts: list[int] = []
    while sum(cuts) < num_frames:
        left = num_frames - sum(cuts)
        pending = min(left, int(rng.integers(10, 40)))
        cuts.append(schedule.take(pending, pending == left))
    return cuts


def stream_pcm(
    streaming: StreamingDecoder,
    codes: Sequence[np.ndarray],
    cuts: Sequence[Sequence[int]],
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Return the PCM of streams that advance side by side, in any mix.

    Args:
        streaming: has enough streams.
        codes: of each stream, [F, K].
        cuts: the sizes of each stream's pieces.
        rng: chooses which streams advance together.
    """
    waiting = []
    for stream, sizes in enumerate(cuts):
        streaming.open(stream)
        parts = np.split(codes[stream], np.cumsum(sizes)[:-1])
        waiting.append([CodecPiece(stream, part) for part in parts])
        waiting[-1][-1] = replace(waiting[-1][-1], is_last=True)
    pcm: list[list[np.ndarray]] = [[] for _ in codes]
    while any(waiting):
        chosen = [pieces.pop(0) for pieces in waiting if pieces and rng.random() < 0.7]
        for piece, part in zip(chosen, streaming.advance(chosen), strict=True):
            pcm[piece.stream].append(part)
    return [np.concatenate(parts) for parts in pcm]
