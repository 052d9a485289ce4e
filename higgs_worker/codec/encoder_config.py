"""The sizes of the codec's encoder, read from the same `config.json` as the decoder's.

Two paths see the waveform: convolutions at its own rate (acoustic), and HuBERT with a few more
convolutions at 16 kHz (semantic). Both must give the same number of frames, so the lengths along
both paths are computed here. The tensors are read by `encoder_loader.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from higgs_worker.checkpoint.config_file import MAX_SIZE, ConfigSection, read_config
from higgs_worker.codec.config import MAX_HZ, SOURCE, CodecConfig, ratios

SEMANTIC_PADDING_SAMPLES = 160
"""Zeros on both sides of HuBERT's input: half its hop. Upstream's constant, whatever the sizes."""

MAX_RESAMPLING = 1000
"""Of either side of the ratio of both rates: the resampler's filter has their product of taps."""
MAX_LAYERS = 200
"""Far more than any HuBERT has."""

# Defaults of keys that the file lacks. Source: transformers `HubertConfig`.
DEFAULT_CONV_CHANNELS = (512,) * 7
DEFAULT_CONV_KERNELS = (10, 3, 3, 3, 3, 2, 2)
DEFAULT_CONV_STRIDES = (5, 2, 2, 2, 2, 2, 2)
ONLY_HUBERT = {
    "model_type": "hubert",
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "feat_extract_norm": "group",
    "feat_proj_layer_norm": True,
    "do_stable_layer_norm": False,
    "conv_pos_batch_norm": False,
}
"""The one supported variant of HuBERT; these values are also the defaults."""


@dataclass(frozen=True, slots=True)
class HubertConfig:
    """Sizes of the semantic model."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    layer_norm_eps: float
    conv_channels: tuple[int, ...]
    conv_kernels: tuple[int, ...]
    conv_strides: tuple[int, ...]
    conv_bias: bool
    position_kernel: int
    """Taps of the convolution that computes position embeddings."""
    position_groups: int

    @property
    def feature_hop(self) -> int:
        """Samples from one feature to the next."""
        return math.prod(self.conv_strides)

    @property
    def feature_span(self) -> int:
        """Samples that one feature sees before the transformer."""
        span = 1
        for kernel, stride in zip(self.conv_kernels[::-1], self.conv_strides[::-1], strict=True):
            span = (span - 1) * stride + kernel
        return span

    def num_features(self, num_samples: int) -> int:
        """Return the number of features; 0 when the samples are too few for one."""
        for kernel, stride in zip(self.conv_kernels, self.conv_strides, strict=True):
            num_samples = max(0, (num_samples - kernel) // stride + 1)
        return num_samples


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Sizes of everything between PCM and codes."""

    codec: CodecConfig
    acoustic_width: int
    """Channels before the first downsampling; each block doubles them."""
    downsampling_ratios: tuple[int, ...]
    hubert: HubertConfig
    semantic_sample_rate: int
    """HuBERT's sampling rate in Hz."""
    feature_stride: int
    """1 in so many features of HuBERT is used."""
    semantic_kernel: int
    semantic_channels: tuple[int, ...]
    """Channels after each block of the semantic encoder."""
    semantic_strides: tuple[int, ...]
    unit_kernel: int
    unit_dilations: tuple[int, ...]
    """One residual unit per dilation in each of these blocks."""

    def num_frames(self, num_samples: int) -> int:
        """Return the number of frames of PCM; 0 when the samples are too few for one."""
        resampled = -(-num_samples * self.semantic_sample_rate // self.codec.sample_rate)
        features = self.hubert.num_features(resampled + 2 * SEMANTIC_PADDING_SAMPLES)
        frames = -(-features // self.feature_stride)
        for stride in self.semantic_strides:
            frames = frames if stride == 1 else (frames + stride - 2) // stride
        return frames

    def num_padding_samples(self, num_samples: int) -> int:
        """Return the zeros on each side with which the acoustic path gives `num_frames` frames.

        That is half a hop or none.

        Raises:
            ValueError: too few samples for one frame.

        Source: transformers `HiggsAudioV2TokenizerModel.encode`. The original code pads by 320
        samples instead of half a hop, 480.
        """
        frames = self.num_frames(num_samples)
        for padding in (0, self.codec.hop_length // 2):
            if frames > 0 and self._num_acoustic_frames(num_samples + 2 * padding) == frames:
                return padding
        raise ValueError(f"{num_samples} samples of PCM are too few to encode")

    def _num_acoustic_frames(self, num_samples: int) -> int:
        for ratio in self.downsampling_ratios:
            num_samples = (num_samples + ratio % 2) // ratio
        return num_samples

    @classmethod
    def from_directory(cls, directory: Path) -> "EncoderConfig":
        """Read `config.json`.

        Raises:
            WeightsNotFound: the file cannot be read.
            InvalidCheckpoint: it is not the configuration of a Higgs Audio V2 codec.
        """
        return cls.from_dict(read_config(directory, SOURCE), str(directory / "config.json"))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], path: str = "config.json") -> "EncoderConfig":
        """Check and convert a parsed `config.json`; `path` is for the error text.

        Raises:
            InvalidCheckpoint: names the file, the key and what to do.

        Source: transformers `HiggsAudioV2TokenizerConfig`, its properties included.
        """
        codec = CodecConfig.from_dict(raw, path)
        top = ConfigSection(path, SOURCE, raw)
        acoustic = top.section("acoustic_model_config")
        semantic = top.section("semantic_model_config")
        hubert = _hubert(semantic)
        semantic_sample_rate = top.integer("semantic_sample_rate", 16000, most=MAX_HZ)
        divisor = math.gcd(codec.sample_rate, semantic_sample_rate)
        if max(codec.sample_rate, semantic_sample_rate) // divisor > MAX_RESAMPLING:
            raise top.wrong("semantic_sample_rate", f"in a simple ratio to {codec.sample_rate} Hz")
        # In floating point, as upstream does it; less than one means that every feature is used.
        feature_stride = int(
            codec.hop_length
            / (codec.sample_rate / semantic_sample_rate)
            / top.integer("downsample_factor", 320)
        )
        strides = top.integers("strides", (1, 1))
        acoustic_width = acoustic.integer("encoder_hidden_size", 64)
        downsampling = ratios(acoustic, "downsampling_ratios")
        if acoustic_width << len(downsampling) > MAX_SIZE:
            raise acoustic.wrong(
                "encoder_hidden_size", f"few enough to double {len(downsampling)} times"
            )
        config = cls(
            codec=codec,
            acoustic_width=acoustic_width,
            downsampling_ratios=downsampling,
            hubert=hubert,
            semantic_sample_rate=semantic_sample_rate,
            feature_stride=max(1, feature_stride),
            semantic_kernel=_odd(top, "kernel_size"),
            semantic_channels=_channels(top, hubert.hidden_size, len(strides)),
            semantic_strides=strides,
            unit_kernel=_odd(top, "unit_kernel_size"),
            unit_dilations=top.integers("block_dilations", (1, 1)),
        )
        semantic_hop = math.prod(hubert.conv_strides + strides) * config.feature_stride
        if semantic_hop * codec.sample_rate != codec.hop_length * semantic_sample_rate:
            raise acoustic.wrong(
                "downsampling_ratios",
                f"{semantic_hop} samples at {semantic_sample_rate} Hz per frame, as the semantic "
                "model has",
            )
        return config


def _hubert(section: ConfigSection) -> HubertConfig:
    for key, wanted in ONLY_HUBERT.items():
        section.require(key, wanted)
    channels = section.integers("conv_dim", DEFAULT_CONV_CHANNELS)
    kernels = section.integers("conv_kernel", DEFAULT_CONV_KERNELS)
    strides = section.integers("conv_stride", DEFAULT_CONV_STRIDES)
    for key, values in {"conv_kernel": kernels, "conv_stride": strides}.items():
        if len(values) != len(channels):
            raise section.wrong(key, f"one for each of the {len(channels)} convolutions")
    hidden_size = section.integer("hidden_size", 768)
    num_heads = section.integer("num_attention_heads", 12)
    groups = section.integer("num_conv_pos_embedding_groups", 16)
    for key, parts in {
        "num_attention_heads": num_heads,
        "num_conv_pos_embedding_groups": groups,
    }.items():
        if hidden_size % parts:
            raise section.wrong(key, f"a divisor of the width {hidden_size}")
    return HubertConfig(
        hidden_size=hidden_size,
        intermediate_size=section.integer("intermediate_size", 3072),
        num_layers=section.integer("num_hidden_layers", 12, most=MAX_LAYERS),
        num_heads=num_heads,
        layer_norm_eps=section.number("layer_norm_eps", 1e-5, below=1),
        conv_channels=channels,
        conv_kernels=kernels,
        conv_strides=strides,
        conv_bias=section.boolean("conv_bias", False),
        position_kernel=section.integer("num_conv_pos_embeddings", 128),
        position_groups=groups,
    )


def _odd(section: ConfigSection, key: str) -> int:
    """Return a kernel size; an even one would change the number of frames."""
    value = section.integer(key, 3)
    if value % 2 == 0:
        raise section.wrong(key, "odd")
    return value


def _channels(section: ConfigSection, width: int, num_blocks: int) -> tuple[int, ...]:
    """Return the channels after each semantic block; after the last, they equal HuBERT's width."""
    factors = section.integers("channel_ratios", (1, 1))
    if len(factors) != num_blocks or factors[-1] != 1:
        raise section.wrong("channel_ratios", f"{num_blocks} integers of which the last is 1")
    if width * max(factors) > MAX_SIZE:
        raise section.wrong(
            "channel_ratios", f"at most {MAX_SIZE} channels with a width of {width}"
        )
    return tuple(width * factor for factor in factors)
