"""HuBERT: 16 kHz waveform -> semantic features, 50 per second.

The base variant: group norm in the first convolution only, layer norms after each sublayer. The
output is the mean of all hidden states, which is what the codec uses. Names and shapes are the
checkpoint's own, except for one weight norm (see `encoder_loader.py`). All arithmetic is float32.
What needs much memory at each feature is computed piece by piece; attention sees all of them.
Source: transformers `HubertModel`; https://arxiv.org/abs/2106.07447
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higgs_worker.codec.encoder_config import HubertConfig

PIECE_FEATURES = 500
"""Features that are computed at once where that is exact: 10 s, and 130 MB at the published sizes.
Where pieces meet, no convolution is computed twice but for a few samples."""


class NormalisedConv(nn.Module):
    """The convolution that reads the waveform; its outputs are normalised over the whole of it."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        channels = config.conv_channels[0]
        self.conv = nn.Conv1d(
            1, channels, config.conv_kernels[0], config.conv_strides[0], bias=config.conv_bias
        )
        self.layer_norm = nn.GroupNorm(channels, channels)

    def normalisation(self, pcm: Tensor) -> tuple[Tensor, Tensor]:
        """Return the factor and the offset that normalise the outputs: [B, S] -> twice [B, C, 1].

        An output is linear in the few samples that it sees. So the means and variances of outputs
        follow from those samples' means and covariances, and no output needs to be there. In
        float64, as those are large beside the variance of a channel that hears little.
        """
        seen = pcm.double().unfold(-1, self.conv.kernel_size[0], self.conv.stride[0])
        means = seen.mean(1, keepdim=True)
        seen = seen - means
        covariances = seen.mT @ seen / seen.shape[1]
        taps = self.conv.weight[:, 0].double()
        variances = ((taps @ covariances) * taps).sum(-1)
        factor = self.layer_norm.weight / (variances + self.layer_norm.eps).sqrt()
        middle = (means @ taps.t())[:, 0]
        if self.conv.bias is not None:
            middle = middle + self.conv.bias
        offset = self.layer_norm.bias - factor * middle
        return factor.float()[..., None], offset.float()[..., None]

    def forward(self, pcm: Tensor, factor: Tensor, offset: Tensor) -> Tensor:
        """[B, S] -> [B, C, S / stride]; `normalisation` of the whole waveform is given."""
        return F.gelu(torch.addcmul(offset, self.conv(pcm[:, None]), factor))


class FeatureConv(nn.Module):
    """One of the other convolutions, without padding."""

    def __init__(self, config: HubertConfig, index: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            config.conv_channels[index - 1],
            config.conv_channels[index],
            config.conv_kernels[index],
            config.conv_strides[index],
            bias=config.conv_bias,
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, S] -> [B, C', S / stride]."""
        return F.gelu(self.conv(x))


class FeatureExtractor(nn.Module):
    """Waveform -> local features."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.piece_features = PIECE_FEATURES
        self._hop, self._span = config.feature_hop, config.feature_span
        first = NormalisedConv(config)
        others = [FeatureConv(config, index) for index in range(1, len(config.conv_channels))]
        self._layers = first, others
        self.conv_layers = nn.ModuleList([first, *others])

    def forward(self, pcm: Tensor) -> Tensor:
        """[B, S] -> [B, features, C], piece by piece."""
        first, others = self._layers
        normalisation = first.normalisation(pcm)
        step = self.piece_features * self._hop
        pieces = []
        for start in range(0, pcm.shape[-1] - self._span + 1, step):
            x = first(pcm[:, start : start + step - self._hop + self._span], *normalisation)
            for layer in others:
                x = layer(x)
            pieces.append(x.transpose(1, 2))
        return torch.cat(pieces, dim=1)


class FeatureProjection(nn.Module):
    """Local features -> the width of the transformer."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.conv_channels[-1], config.layer_norm_eps)
        self.projection = nn.Linear(config.conv_channels[-1], config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, features, C] -> [B, features, D]."""
        projected: Tensor = self.projection(self.layer_norm(x))
        return projected


class PositionConv(nn.Module):
    """Position embeddings: a wide convolution over the features."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            config.hidden_size,
            config.hidden_size,
            config.position_kernel,
            padding=config.position_kernel // 2,
            groups=config.position_groups,
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, features, D] -> [B, features, D]."""
        # An even kernel gives one position too many, at the end.
        y: Tensor = self.conv(x.transpose(1, 2))[..., : x.shape[1]]
        return F.gelu(y).transpose(1, 2)


class HubertAttention(nn.Module):
    """Self-attention without a mask."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.num_heads = config.num_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, features, D] -> [B, features, D]."""
        q, k, v = (
            projection(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        mixed: Tensor = self.out_proj(y)
        return mixed


class HubertFeedForward(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output_dense = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[B, features, D] -> [B, features, D], piece by piece: it sees each feature alone."""
        pieces = torch.split(x, PIECE_FEATURES, dim=1)
        return torch.cat(
            [self.output_dense(F.gelu(self.intermediate_dense(piece))) for piece in pieces], dim=1
        )


class HubertLayer(nn.Module):
    """Attention and feed-forward, each followed by a residual sum and a layer norm."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.attention = HubertAttention(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.feed_forward = HubertFeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """[B, features, D] -> [B, features, D]."""
        x = self.layer_norm(x + self.attention(x))
        y: Tensor = self.final_layer_norm(x + self.feed_forward(x))
        return y


class HubertTransformer(nn.Module):
    """Local features -> the mean of all hidden states, the first one included."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.pos_conv_embed = PositionConv(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.layers = nn.ModuleList(HubertLayer(config) for _ in range(config.num_layers))

    def forward(self, x: Tensor) -> Tensor:
        """[B, features, D] -> [B, features, D]."""
        x = self.layer_norm(x + self.pos_conv_embed(x))
        total = x
        for layer in self.layers:
            x = layer(x)
            total = total + x
        return total / (len(self.layers) + 1)


class Hubert(nn.Module):
    """The complete model, waveform -> features."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = HubertTransformer(config)

    def forward(self, pcm: Tensor) -> Tensor:
        """Return the mean of all hidden states.

        Every feature depends on the whole waveform, so shorter rows cannot be padded.

        Args:
            pcm: [B, S] float32 at the rate of the checkpoint, 16 kHz.

        Returns:
            [B, features, D] float32; `HubertConfig.num_features` counts the features.
        """
        features: Tensor = self.encoder(self.feature_projection(self.feature_extractor(pcm)))
        return features
