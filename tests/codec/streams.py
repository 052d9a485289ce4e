"""Random codes for streams, and the PCM that they must give."""

from pathlib import Path

import numpy as np
import torch

from higgs_worker import demo
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.streaming import CodecPiece

DEMO_CODEC = Path(demo.__file__).parent / "codec"


def random_codes(seed: int, num_frames: int) -> np.ndarray:
    """Draw codes [F, K]."""
    return np.random.default_rng(seed).integers(0, 1024, (num_frames, 8))


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
