"""PCM -> codes: the encoder half of the codec.

An acoustic and a semantic path each compute half of every frame's latent. The two halves are mixed,
then quantised by K codebooks, each of which quantises the residual that the one before left. What
is large for a long waveform is computed piece by piece, so memory hardly grows with the length
(`encoder_memory.py`). Names and shapes are the checkpoint's own; `encoder_loader.py` reads it. The
encoder keeps no state between calls. All arithmetic is float32; `encoder_loader.py` turns TF32 off,
or near-ties would fall the other way.
Source: transformers `HiggsAudioV2TokenizerModel.encode`, `DacEncoder`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.decoder import ResidualUnit, Snake
from higgs_worker.codec.encoder_config import SEMANTIC_PADDING_SAMPLES, EncoderConfig
from higgs_worker.codec.hubert import Hubert
from higgs_worker.codec.resample import resample


class DownsampleBlock(nn.Module):
    """Three residual units, then downsampling by `stride` to twice as many channels."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.res_unit1 = ResidualUnit(channels, dilation=1)
        self.res_unit2 = ResidualUnit(channels, dilation=3)
        self.res_unit3 = ResidualUnit(channels, dilation=9)
        self.snake1 = Snake(channels)
        self.conv1 = nn.Conv1d(
            channels, 2 * channels, 2 * stride, stride, padding=math.ceil(stride / 2)
        )

    @property
    def layers(self) -> tuple[Callable[[Tensor], Tensor], ...]:
        """What to apply in order, [B, C, S] -> [B, 2 C, S / stride]."""
        return self.res_unit1, self.res_unit2, self.res_unit3, self._downsample

    def _downsample(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1(self.snake1(x))
        return y


PIECE_FRAMES = 250
"""Frames that the acoustic path computes at once: 10 s, and 300 MB at the published sizes. The
frames beside a piece, which it needs as well, cost a fifth more time. Most recordings are one."""


class AcousticEncoder(nn.Module):
    """PCM -> acoustic half of the latents; the checkpoint's `acoustic_encoder`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.piece_frames = PIECE_FRAMES
        width = config.acoustic_width
        ratios = config.downsampling_ratios
        self._hop = math.prod(ratios)
        self.conv1 = nn.Conv1d(1, width, 7, padding=3)
        self._blocks = [
            DownsampleBlock(width << index, ratio) for index, ratio in enumerate(ratios)
        ]
        self.block = nn.ModuleList(self._blocks)
        self.snake1 = Snake(width << len(ratios))
        self.conv2 = nn.Conv1d(
            width << len(ratios), config.codec.acoustic_hidden_size, 3, padding=1
        )
        self.margin_frames = math.ceil(_reach(self) / self._hop)
        """Frames on each side of a frame that it depends on; 24 in the published codec."""

    def forward(self, pcm: Tensor) -> Tensor:
        """[B, S] -> [B, acoustic_hidden, F], piece by piece.

        A piece is computed with its margin on both sides. The convolutions pad what is cut there
        with zeros, but what that changes lies within the margin, and is left out.
        """
        pieces = []
        for first in range(0, math.ceil(pcm.shape[-1] / self._hop), self.piece_frames):
            start = max(0, first - self.margin_frames)
            end = first + self.piece_frames + self.margin_frames
            latents = self._encode(pcm[:, start * self._hop : end * self._hop])
            pieces.append(latents[..., first - start :][..., : self.piece_frames])
        return torch.cat(pieces, dim=-1)

    def _encode(self, pcm: Tensor) -> Tensor:
        x = self.conv1(pcm[:, None])
        # Layer by layer: a block that is called as a whole would keep its input to its end, 370 MB
        # for a minute.
        for block in self._blocks:
            for layer in block.layers:
                x = layer(x)
        y: Tensor = self.conv2(self.snake1(x))
        return y


def _reach(network: nn.Module) -> int:
    """Return how many input samples on each side an output of convolutions in a row depends on."""
    reach, stride = 0, 1
    for conv in network.modules():
        if isinstance(conv, nn.Conv1d):
            before = int(conv.padding[0])
            after = conv.dilation[0] * (conv.kernel_size[0] - 1) - before
            reach += stride * max(before, after)
            stride *= conv.stride[0]
    return reach


class SemanticUnit(nn.Module):
    """A dilated convolution and a pointwise one, added to the input."""

    def __init__(self, channels: int, kernel: int, dilation: int) -> None:
        super().__init__()
        padding = kernel // 2 * dilation
        self.conv1 = nn.Conv1d(
            channels, channels, kernel, dilation=dilation, padding=padding, bias=False
        )
        self.conv2 = nn.Conv1d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F] -> [B, C, F]."""
        y: Tensor = self.conv2(F.elu(self.conv1(F.elu(x))))
        return x + y


class SemanticBlock(nn.Module):
    """Residual units, then downsampling by `stride` to another width."""

    def __init__(
        self, config: EncoderConfig, channels_in: int, channels_out: int, stride: int
    ) -> None:
        super().__init__()
        self.res_units = nn.ModuleList(
            SemanticUnit(channels_in, config.unit_kernel, dilation)
            for dilation in config.unit_dilations
        )
        kernel = 3 if stride == 1 else 2 * stride
        self.conv = nn.Conv1d(channels_in, channels_out, kernel, stride, padding=(kernel - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, F] -> [B, C', F / stride]."""
        for unit in self.res_units:
            x = unit(x)
        y: Tensor = self.conv(x)
        return y


class SemanticEncoder(nn.Module):
    """HuBERT features -> semantic half of the latents; the checkpoint's `encoder_semantic`."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width, kernel = config.hubert.hidden_size, config.semantic_kernel
        widths = (width, *config.semantic_channels)
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, bias=False)
        self.conv_blocks = nn.ModuleList(
            SemanticBlock(config, widths[index], widths[index + 1], stride)
            for index, stride in enumerate(config.semantic_strides)
        )

    def forward(self, features: Tensor) -> Tensor:
        """[B, D, features] -> [B, D, F]."""
        x: Tensor = self.conv(features)
        for block in self.conv_blocks:
            x = block(x)
        return x


class Codebook(nn.Module):
    """The entries of one codebook, and the search for the nearest."""

    embed: Tensor
    """[V, codebook_dim] float32."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.register_buffer("embed", torch.zeros(config.codebook_size, config.codebook_dim))

    def nearest(self, x: Tensor) -> Tensor:
        """Return the codes of the nearest entries: [..., codebook_dim] -> [...] int64.

        The squared distance is summed in upstream's order, so that near-ties fall the same way.
        """
        square = x.square().sum(-1, keepdim=True)
        entries = self.embed.t()
        closeness = 2 * x @ entries - square - entries.square().sum(0)
        return closeness.max(-1).indices


class VectorQuantizer(nn.Module):
    """One level: a codebook, and the projections into and out of its few dimensions."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.project_in = nn.Linear(config.hidden_size, config.codebook_dim)
        self.codebook = Codebook(config)
        self.project_out = nn.Linear(config.codebook_dim, config.hidden_size)

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """[B, F, hidden] -> codes [B, F] int64 and the residual [B, F, hidden]."""
        codes = self.codebook.nearest(self.project_in(residual))
        return codes, residual - self.project_out(F.embedding(codes, self.codebook.embed))


class ResidualQuantizer(nn.Module):
    """All levels: each quantises the residual of the one before."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(
            VectorQuantizer(config) for _ in range(config.num_codebooks)
        )

    def forward(self, latents: Tensor) -> Tensor:
        """[B, F, hidden] -> [B, K, F] int64."""
        levels = []
        for quantizer in self.quantizers:
            codes, latents = quantizer(latents)
            levels.append(codes)
        return torch.stack(levels, dim=1)


class CodecEncoder(nn.Module):
    """The complete encoder, PCM -> codes."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.acoustic_encoder = AcousticEncoder(config)
        self.semantic_model = Hubert(config.hubert)
        self.encoder_semantic = SemanticEncoder(config)
        self.fc = nn.Linear(config.codec.hidden_size, config.codec.hidden_size)
        self.quantizer = ResidualQuantizer(config.codec)

    def forward(self, pcm: Tensor) -> Tensor:
        """Encode whole waveforms of one length.

        Rows cannot be padded to a common length: padding changes HuBERT's features. No host sync.

        Args:
            pcm: [B, S] float32 at the codec's `sample_rate`.

        Returns:
            [B, K, F] int64, each in [0, codebook_size), F = `config.num_frames(S)`.

        Raises:
            ValueError: S is too small for one frame (119 samples, 5 ms, in the published codec).
        """
        codes: Tensor = self.quantizer(self.latents(pcm))
        return codes

    def latents(self, pcm: Tensor) -> Tensor:
        """Return what `forward` quantises: [B, S] -> [B, F, hidden]."""
        config = self.config
        padding = config.num_padding_samples(pcm.shape[-1])
        acoustic = self.acoustic_encoder(F.pad(pcm, (padding, padding)))
        semantic = self.encoder_semantic(self.features(pcm).transpose(1, 2))
        latents: Tensor = self.fc(torch.cat([acoustic, semantic], dim=1).transpose(1, 2))
        return latents

    def features(self, pcm: Tensor) -> Tensor:
        """Return every `feature_stride`-th HuBERT feature: [B, S] -> [B, features, D]."""
        config = self.config
        resampled = resample(pcm, config.codec.sample_rate, config.semantic_sample_rate)
        padded = F.pad(resampled, (SEMANTIC_PADDING_SAMPLES, SEMANTIC_PADDING_SAMPLES))
        features: Tensor = self.semantic_model(padded)
        return features[:, :: config.feature_stride]
