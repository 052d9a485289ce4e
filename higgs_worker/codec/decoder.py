"""Codes -> PCM: the decoder half of the codec, whole sequences at once.

Everything before the convolutions is linear in the codes, so it is one table lookup: each of the
K x V codes has its own row, and a frame is the sum of K rows and a bias. Names and shapes of the
convolutional part are the checkpoint's own, so `loader.py` needs no map. The decoder keeps no state
between calls (`streaming.py` does). All arithmetic is float32.
Source: transformers `HiggsAudioV2TokenizerModel.decode` and `DacDecoder`.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higgs_worker.codec.config import CodecConfig

SNAKE_EPS = 1e-9
"""Keeps the division finite where a channel's alpha is zero."""

Activation = Callable[[Tensor], Tensor]
"""[B, C, S] -> [B, C, S]."""


class Snake(nn.Module):
    """Periodic activation, one frequency per channel: x + sin(alpha x)^2 / alpha.

    Source: https://arxiv.org/abs/2006.08195
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, S] -> [B, C, S]."""
        return _activate(x, self.alpha, self._reciprocal())

    def frozen(self) -> Activation:
        """Return the same function for weights that do not change any more: it has divided."""
        return partial(_activate, alpha=self.alpha.detach(), reciprocal=self._reciprocal().detach())

    def _reciprocal(self) -> Tensor:
        return (self.alpha + SNAKE_EPS).reciprocal()


def _activate(x: Tensor, alpha: Tensor, reciprocal: Tensor) -> Tensor:
    y = alpha * x
    if torch.is_grad_enabled():  # the gradient needs every step
        return torch.addcmul(x, y.sin().square(), reciprocal)
    return torch.addcmul(x, y.sin_().square_(), reciprocal, out=y)


class ResidualUnit(nn.Module):
    """A dilated convolution with 7 taps and a pointwise one, added to the input."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.snake1 = Snake(channels)
        self.conv1 = nn.Conv1d(channels, channels, 7, dilation=dilation, padding=3 * dilation)
        self.snake2 = Snake(channels)
        self.conv2 = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, S] -> [B, C, S]."""
        y: Tensor = self.conv1(self.snake1(x))
        y = self.conv2(self.snake2(y))
        return x + y


class UpsampleBlock(nn.Module):
    """Upsampling by `stride` to half as many channels, then three residual units."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.snake1 = Snake(channels_in)
        # With this padding and output padding the output is exactly `stride` times as long.
        self.conv_t1 = nn.ConvTranspose1d(
            channels_in,
            channels_out,
            2 * stride,
            stride,
            padding=math.ceil(stride / 2),
            output_padding=stride % 2,
        )
        self.res_unit1 = ResidualUnit(channels_out, dilation=1)
        self.res_unit2 = ResidualUnit(channels_out, dilation=3)
        self.res_unit3 = ResidualUnit(channels_out, dilation=9)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, S] -> [B, C / 2, S * stride]."""
        y: Tensor = self.conv_t1(self.snake1(x))
        for unit in (self.res_unit1, self.res_unit2, self.res_unit3):
            y = unit(y)
        return y


class AcousticDecoder(nn.Module):
    """Latents -> PCM; the checkpoint's `acoustic_decoder`, without a final tanh."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.decoder_hidden_size
        widths = [width >> halvings for halvings in range(len(config.upsampling_ratios) + 1)]
        self.conv1 = nn.Conv1d(config.acoustic_hidden_size, width, 7, padding=3)
        self.blocks = [
            UpsampleBlock(widths[index], widths[index + 1], ratio)
            for index, ratio in enumerate(config.upsampling_ratios)
        ]
        self.block = nn.ModuleList(self.blocks)
        self.snake1 = Snake(widths[-1])
        self.conv2 = nn.Conv1d(widths[-1], 1, 7, padding=3)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, acoustic_hidden, F] -> [B, S]."""
        x = self.conv1(latents)
        for block in self.blocks:
            x = block(x)
        pcm: Tensor = self.conv2(self.snake1(x))
        return pcm.squeeze(1)


class CodeTable(nn.Module):
    """Codes -> latents: residual codebooks, their projections and `fc2`, folded into one table."""

    table: Tensor
    """[K * V, acoustic_hidden] float32; codebook k starts at row k * V."""
    bias: Tensor
    """[acoustic_hidden] float32."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.num_codebooks = config.num_codebooks
        self.codebook_size = config.codebook_size
        rows = config.num_codebooks * config.codebook_size
        self.register_buffer("table", torch.zeros(rows, config.acoustic_hidden_size))
        self.register_buffer("bias", torch.zeros(config.acoustic_hidden_size))

    def forward(self, codes: Tensor) -> Tensor:
        """[B, K, F] int64 -> [B, acoustic_hidden, F].

        Raises:
            ValueError: the number of codebooks differs.
        """
        batch, num_codebooks, frames = codes.shape
        if num_codebooks != self.num_codebooks:
            raise ValueError(f"codes of {num_codebooks} codebooks, not {self.num_codebooks}")
        first_rows = torch.arange(0, len(self.table), self.codebook_size, device=codes.device)
        rows = (codes.transpose(1, 2) + first_rows).reshape(batch * frames, num_codebooks)
        latents = F.embedding_bag(rows, self.table, mode="sum") + self.bias
        return latents.view(batch, frames, len(self.bias)).transpose(1, 2)


def fold(
    codebooks: Tensor, projections: Tensor, offsets: Tensor, fc2_weight: Tensor, fc2_bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Fold the linear path from codes to latents into the `table` and `bias` of a CodeTable.

    Computed in float64, so that the fold rounds once.

    Args:
        codebooks: [K, V, codebook_dim].
        projections: [K, hidden, codebook_dim], each codebook's `project_out`.
        offsets: [K, hidden], the biases of the projections.
        fc2_weight: [acoustic_hidden, hidden].
        fc2_bias: [acoustic_hidden].

    Returns:
        [K * V, acoustic_hidden] float32 and [acoustic_hidden] float32.
    """
    matrix = fc2_weight.double()
    table = codebooks.double() @ (matrix @ projections.double()).transpose(1, 2)
    bias = matrix @ offsets.double().sum(0) + fc2_bias.double()
    return table.flatten(0, 1).float(), bias.float()


class CodecDecoder(nn.Module):
    """The complete decoder, codes -> PCM."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.code_table = CodeTable(config)
        self.acoustic_decoder = AcousticDecoder(config)

    def forward(self, codes: Tensor) -> Tensor:
        """Decode whole sequences.

        Nothing is clipped: PCM may leave [-1, 1]. No host sync.

        Args:
            codes: [B, K, F] int64, each in [0, codebook_size). Not checked, because that would wait
                for the device; a stream id would silently select a row of the next codebook.

        Returns:
            [B, S] float32, S = F * hop_length.

        Raises:
            ValueError: the number of codebooks differs.
        """
        latents: Tensor = self.code_table(codes)
        if latents.shape[-1] == 0:
            return latents.new_zeros(len(codes), 0)
        pcm: Tensor = self.acoustic_decoder(latents)
        return pcm
