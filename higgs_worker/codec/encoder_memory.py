"""How much memory the encoder takes on its device, known before it is loaded.

The engine takes what is free at the start, and leaves this: the encoder comes with the first new
voice.
"""

import math

from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.encoder_loader import tensor_shapes

FLOAT32_BYTES = 4
HELD_PER_BYTE = 1.4
"""Bytes that the allocator holds for each that an encoder's tensors take at once: it keeps blocks
of sizes that are not asked for again, and workspaces (measured on an H100: 2.99 GB for 2.14)."""


def encoder_bytes(config: EncoderConfig, max_reference_s: float) -> int:
    """Return the bytes of a `CodecEncoder` at work: weights, and the most of one reference.

    0.65 GB and 25 MB a second, published sizes. The most is there in the first residual units
    (their input, the first convolution's output and two more of this size in the activation) or
    where HuBERT normalises the output of its first convolution; the PCM is there throughout, in
    three forms. Attention is not counted: its memory-efficient kernels need less.

    Args:
        config: of the encoder.
        max_reference_s: the longest reference, in seconds.
    """
    weights = sum(math.prod(shape) for shape in tensor_shapes(config).values())
    num_samples = math.ceil(max_reference_s * config.codec.sample_rate) + config.codec.hop_length
    acoustic = 4 * config.acoustic_width * num_samples
    num_resampled = math.ceil(num_samples * config.semantic_sample_rate / config.codec.sample_rate)
    hubert = config.hubert
    semantic = 2 * hubert.conv_channels[0] * (num_resampled // hubert.conv_strides[0])
    return FLOAT32_BYTES * (weights + 3 * num_samples + max(acoustic, semantic))


def held_bytes(config: EncoderConfig, max_reference_s: float) -> int:
    """Return what the allocator holds for an encoder at work, see `encoder_bytes`."""
    return round(HELD_PER_BYTE * encoder_bytes(config, max_reference_s))
