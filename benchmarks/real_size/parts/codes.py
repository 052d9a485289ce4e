"""The codec from the file against transformers': codes of a sound, and the sound of codes."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.real_size.setup import Setup
from higgs_worker.codec.encoder_loader import load_encoder
from higgs_worker.codec.loader import load_decoder
from tests.oracles import codec

CPU = torch.device("cpu")
MAX_ERROR = 1e-4
"""Of a sample, whose RMS is 0.3. Rounding alone gives some 3e-6."""


@torch.inference_mode()
def codes(setup: Setup) -> Iterator[dict[str, Any]]:
    """The codec against transformers'"""
    directory = setup.directory("codec")
    encoder, decoder = load_encoder(directory, CPU)[0], load_decoder(directory, CPU)[0]
    pcm = codec.random_pcm(1, setup.codec_s * encoder.config.codec.sample_rate)
    ours = encoder(pcm)
    theirs = codec.load(directory)
    wanted = codec.encode(theirs, pcm)
    error = float((decoder(wanted) - codec.decode(theirs, wanted)).abs().max())
    num_equal = int((ours == wanted).sum())
    yield {
        "audio s": setup.codec_s,
        "codes": wanted.numel(),
        "equal": num_equal,
        "different codes used": len(wanted.unique()),
        "error of samples": error,
    }
    if num_equal < wanted.numel() or error > MAX_ERROR:
        raise RuntimeError("the codec is not transformers'")


MEASUREMENTS = (codes,)
