"""How much memory the encoder takes on its device, known before it is loaded.

The engine takes what is free at the start, and leaves this: the encoder comes with the first new
voice.
"""

import math

import torch

from higgs_worker.codec.encoder import PIECE_FRAMES, AcousticEncoder
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.encoder_loader import tensor_shapes
from higgs_worker.codec.hubert import PIECE_FEATURES

FLOAT32_BYTES = 4
HELD_PER_BYTE = 1.4
"""Bytes that the allocator holds for each that an encoder's tensors take at once: it keeps blocks
of sizes that are not asked for again, and workspaces (measured on an H100: 2.99 GB for 2.14, when
a reference was one piece; pieces of one size can only take less)."""


def encoder_bytes(config: EncoderConfig, max_reference_s: float) -> int:
    """Return the bytes of a `CodecEncoder` at work: weights, and the most of one reference.

    0.96 GB for a minute, published sizes, and from 10 s to 3 minutes hardly more or less: what is
    large is computed piece by piece. The most is there in the first residual units of a piece
    (their input, the first convolution's output and two more of this size in the activation), where
    HuBERT normalises the output of its first convolution, or, beyond 4 minutes, in its attention
    (what the layer was given and makes of it, the sum of all layers, queries, keys, values, and
    what each head found, mixed). The PCM and the acoustic latents are there throughout. The pairs
    that attention compares are not counted: its kernels hold none.

    Args:
        config: of the encoder.
        max_reference_s: the longest reference, in seconds.
    """
    weights = sum(math.prod(shape) for shape in tensor_shapes(config).values())
    hop, hubert = config.codec.hop_length, config.hubert
    num_samples = math.ceil(max_reference_s * config.codec.sample_rate) + hop
    num_resampled = math.ceil(num_samples * config.semantic_sample_rate / config.codec.sample_rate)
    num_features = num_resampled // hubert.feature_hop + 1
    piece_features = min(num_features, PIECE_FEATURES)
    with torch.device("meta"):
        margin_frames = AcousticEncoder(config).margin_frames
    piece_samples = min(num_samples, (PIECE_FRAMES + 2 * margin_frames) * hop)
    latents = 2 * config.codec.acoustic_hidden_size * (num_samples // hop)
    acoustic = num_samples + 4 * config.acoustic_width * piece_samples
    first_conv = hubert.conv_channels[0] * (piece_features * hubert.feature_hop)
    extractor = 2 * first_conv // hubert.conv_strides[0] + hubert.conv_channels[-1] * num_features
    feed_forward = 2 * hubert.intermediate_size * piece_features
    transformer = 8 * hubert.hidden_size * num_features + feed_forward
    semantic = 2 * num_resampled + max(extractor, transformer)
    return FLOAT32_BYTES * (weights + num_samples + latents + max(acoustic, semantic))


def held_bytes(config: EncoderConfig, max_reference_s: float) -> int:
    """Return what the allocator holds for an encoder at work, see `encoder_bytes`."""
    return round(HELD_PER_BYTE * encoder_bytes(config, max_reference_s))
