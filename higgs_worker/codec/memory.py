"""How much memory the codec needs on its device, known before anything is allocated there.

The engine takes what is left, so these numbers come first. Each is a count of the tensors that are
there at the same time; handles, plans and workspaces of cuDNN and cuBLAS are not in it, nor the
decoder's weights, which are loaded by then.
"""

import math
from functools import cache

import torch

from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.encoder_loader import tensor_shapes
from higgs_worker.codec.piece_schedule import MAX_PIECE_FRAMES
from higgs_worker.codec.stages import StagePlan, plan_stages
from higgs_worker.codec.streaming import MAX_ROWS

FLOAT32_BYTES = 4


def state_bytes(config: CodecConfig, num_streams: int) -> int:
    """Return the bytes of a `StreamingDecoder`'s state, exactly: 0.32 MB a stream, published sizes.

    One stream more than there are is counted, as it has.
    """
    return (num_streams + 1) * _stream_bytes(config)


def graph_bytes(config: CodecConfig) -> int:
    """Return what a `StreamingDecoder` needs for its calls on a GPU: 197 MB, published sizes.

    Twice its largest call: once in the pool that all graphs share, and once what the allocator
    keeps of the eager calls that come before the captures.
    """
    return 2 * call_bytes(config, MAX_ROWS, MAX_PIECE_FRAMES)


def call_bytes(config: CodecConfig, num_rows: int, num_frames: int) -> int:
    """Return the bytes that one call needs beside weights and state.

    The most is there in a residual unit: its input, the output of its first convolution, and two
    more of this size in the activation. The rows' states and the masks of all rates are there
    throughout.
    """
    plans = _plans(config)
    largest = max(
        plan.stage.channels
        * (plan.stage.state_size + num_frames * plan.rate // plan.stage.rate_factor)
        for plan in plans
    )
    num_lag_frames = -(-plans[-1].lag // config.hop_length)
    masks = sum({plan.rate for plan in plans}) * (num_lag_frames + num_frames)
    return num_rows * (FLOAT32_BYTES * (4 * largest + masks) + _stream_bytes(config))


def encoder_bytes(config: EncoderConfig, max_reference_s: float) -> int:
    """Return the bytes of a `CodecEncoder` at work: weights, and the most of one reference.

    0.65 GB and 25 MB a second, published sizes. The most is there in the first residual units (see
    `call_bytes`) or where HuBERT normalises the output of its first convolution; the PCM is there
    throughout, in three forms. Attention is not counted: its memory-efficient kernels need less.

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


def _stream_bytes(config: CodecConfig) -> int:
    return FLOAT32_BYTES * sum(plan.num_state_values for plan in _plans(config))


@cache
def _plans(config: CodecConfig) -> list[StagePlan]:
    """Return the decoder's stages without values."""
    with torch.device("meta"):
        return plan_stages(CodecDecoder(config))
