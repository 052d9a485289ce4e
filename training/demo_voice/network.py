"""The language model as a trainable network: the engine's architecture, the checkpoint's names.

The engine's forward passes write into caches and keep nothing for gradients. This is the same
arithmetic over whole padded sequences; a test compares the two.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.model import rope_table

NUM_HEARD = 3
"""How many of the last sounds the network learns to recognise."""
READING = 0
"""The layer where text ids attend to the ids before them."""
LISTENING = (2, 3)
"""The layers where audio rows attend to their position in the text."""


class RMSNorm(nn.Module):
    """Root mean square norm."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


class GatedFeedForward(nn.Module):
    """Gate, up, down."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class GuidedAttention(nn.Module):
    """Grouped-query causal attention; `guide` tells its first heads where to attend."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        size = config.head_dim
        self.q_proj = nn.Linear(config.width, config.num_heads * size, bias=False)
        self.k_proj = nn.Linear(config.width, config.num_kv_heads * size, bias=False)
        self.v_proj = nn.Linear(config.width, config.num_kv_heads * size, bias=False)
        self.o_proj = nn.Linear(config.num_heads * size, config.width, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, future: Tensor, guide: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Attend over [B, T, D].

        Args:
            x: normed rows.
            cos, sin: [T, head_dim].
            future: [T, T], -inf where a row must not attend, else 0.
            guide: [B, H', T, T], for the first heads, the logarithm of how right each position is;
                None if no head is guided.

        Returns:
            [B, T, D], and the cost: minus the logarithm of the attention that the guide accepts,
            [B, H', T].
        """
        batch, length, _ = x.shape
        config = self.config

        def heads(rows: Tensor) -> Tensor:
            return rows.view(batch, length, -1, config.head_dim).transpose(1, 2)

        def rotated(rows: Tensor) -> Tensor:
            return rows * cos + rows.roll(config.head_dim // 2, -1) * sin

        groups = config.num_heads // config.num_kv_heads
        queries, keys = rotated(heads(self.q_proj(x))), rotated(heads(self.k_proj(x)))
        values = heads(self.v_proj(x))
        # At these lengths faster on a CPU than the fused kernel and its gradient.
        queries = queries.unflatten(1, (-1, groups)).flatten(2, 3)
        scores = (queries @ keys.transpose(2, 3) * config.head_dim**-0.5).float()
        scores = scores.unflatten(2, (groups, length)) + future
        cost = x.new_zeros(())
        if guide is not None:  # the guided heads share their keys
            guided = scores[:, 0, : guide.shape[1]]
            cost = guided.logsumexp(-1) - (guided + guide).logsumexp(-1)
        looks = scores.softmax(-1).flatten(2, 3).to(values.dtype)
        answer = (looks @ values).unflatten(2, (groups, length))
        return self.o_proj(answer.flatten(1, 2).transpose(1, 2).flatten(2)), cost


class DecoderLayer(nn.Module):
    """Attention for all rows; separate norms and feed-forward for text and audio."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = GuidedAttention(config)
        self.mlp = GatedFeedForward(config.width, config.mlp_width)
        self.audio_mlp = GatedFeedForward(config.width, config.mlp_width)
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.audio_input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.audio_post_attention_layernorm = RMSNorm(config.width, config.norm_eps)

    def forward(
        self,
        x: Tensor,
        is_audio: Tensor,
        places: tuple[Tensor, Tensor],
        cos: Tensor,
        sin: Tensor,
        future: Tensor,
        guide: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Run [B, T, D].

        Args:
            x: the rows.
            is_audio: [B, T, 1].
            places: of the text rows and of the audio rows in [B x T].
            cos, sin, future, guide: as in `GuidedAttention`.
        """
        normed = _normed(x, is_audio, self.audio_input_layernorm, self.input_layernorm)
        answer, cost = self.self_attn(normed, cos, sin, future, guide)
        x = x + answer
        norms = self.audio_post_attention_layernorm, self.post_attention_layernorm
        normed = _normed(x, is_audio, *norms).flatten(0, 1)
        text, audio = places
        change = torch.empty_like(normed)
        change = change.index_copy(0, text, self.mlp(normed[text]))
        change = change.index_copy(0, audio, self.audio_mlp(normed[audio]))
        return x + change.view_as(x), cost


def _normed(x: Tensor, is_audio: Tensor, audio: RMSNorm, text: RMSNorm) -> Tensor:
    """Return all rows normed, each with the weights of its kind."""
    weight = torch.where(is_audio, audio.weight, text.weight)
    return (x * (x.square().mean(-1, keepdim=True) + audio.eps).rsqrt() * weight).to(_matrix_type())


def _matrix_type() -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


class Trunk(nn.Module):
    """Embeddings and layers, with the checkpoint's names."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.embed_audio_tokens = nn.Module()
        self.embed_audio_tokens.embed_audio_tokens = nn.Embedding(
            config.num_codebooks * config.codebook_size, config.width
        )
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.width, config.norm_eps)


class Network(nn.Module):
    """The whole language model, and a head that recognises sounds."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.audio_lm_head = nn.Linear(
            config.width, config.num_codebooks * config.codebook_size, bias=False
        )
        self.listener = nn.Linear(config.width, NUM_HEARD * config.vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = (2 * config.num_layers) ** -0.5 if deep else 1.0
                nn.init.normal_(parameter, std=0.02 * scale if "embed" not in name else 0.05)
        rotation = rope_table(config.rope, config.head_dim, 1024)
        self.register_buffer("rotation", rotation, persistent=False)
        offsets = config.codebook_size * torch.arange(config.num_codebooks)
        self.register_buffer("offsets", offsets, persistent=False)

    def compile_parts(self) -> None:
        """Compile the parts that take most of the time; needs a C++ compiler."""
        for layer in self.model.layers:
            layer.compile(dynamic=True)
        self.surprise = torch.compile(self.surprise, dynamic=True)

    def forward(
        self, text_ids: Tensor, columns: Tensor, guide: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run whole sequences.

        Args:
            text_ids: [B, T] int64, -1 at audio rows.
            columns: [B, T, K] int64, of the audio rows.
            guide: [2, B, H', T, T] or None, as in `GuidedAttention`: for reading and for listening.

        Returns:
            hidden [B, T, D] after the last norm, the same before the first listening layer, and the
            cost of each guided layer, as in `GuidedAttention`, [L, B, H', T].
        """
        is_audio = (text_ids < 0)[..., None]
        audio = self.model.embed_audio_tokens.embed_audio_tokens(columns + self.offsets).sum(2)
        x = torch.where(is_audio, audio, self.model.embed_tokens(text_ids.clamp(min=0)))
        length = text_ids.shape[1]
        flat = is_audio.flatten()
        places = (~flat).nonzero()[:, 0], flat.nonzero()[:, 0]
        cos, sin = self.rotation[:length].to(_matrix_type()).unbind(1)
        future = torch.full((length, length), -torch.inf).triu(1)
        costs, early = [], x
        for index, layer in enumerate(self.model.layers):
            if index == LISTENING[0]:
                early = x
            told = None
            if guide is not None and index in (READING, *LISTENING):
                told = guide[0 if index == READING else 1]
            x, cost = layer(x, is_audio, places, cos, sin, future, told)
            if told is not None:
                costs.append(cost)
        return self.model.norm(x), early, torch.stack(costs) if costs else x.new_zeros(0)

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, D] -> [N, K, V]."""
        return self.audio_lm_head(hidden).view(len(hidden), self.config.num_codebooks, -1)

    def surprise(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross entropy of each codebook.

        Args:
            hidden: [N, D].
            targets: [N, K], below 0 where there is none.

        Returns:
            [K], nats.
        """
        logits = self.logits(hidden).float()
        known = targets >= 0
        right = logits.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        costs = (logits.logsumexp(-1) - right) * known
        return costs.sum(0) / known.sum(0).clamp(min=1)

    def heard(self, early: Tensor) -> Tensor:
        """Return the logits of the last sounds, [N, D] -> [N, NUM_HEARD, vocab]."""
        return self.listener(early).view(len(early), NUM_HEARD, -1)
