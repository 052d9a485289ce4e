"""The language model as a network that learns: the engine's architecture, the checkpoint's names.

The engine's own passes write into caches and never keep what a gradient needs; this is the same
arithmetic over whole padded sequences. A test compares the two.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.model import rope_table


class RMSNorm(nn.Module):
    """Root mean square norm."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


class FeedForward(nn.Module):
    """Gate, up, down."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Attention(nn.Module):
    """Grouped causal attention; `guide` weighs what its first head looks at."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        size = config.head_dim
        self.q_proj = nn.Linear(config.width, config.num_heads * size, bias=False)
        self.k_proj = nn.Linear(config.width, config.num_kv_heads * size, bias=False)
        self.v_proj = nn.Linear(config.width, config.num_kv_heads * size, bias=False)
        self.o_proj = nn.Linear(config.num_heads * size, config.width, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, guide: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Attend over [B, T, D].

        Args:
            x: normed rows.
            cos, sin: [T, head_dim].
            guide: [B, T, T], the cost of looking somewhere; None where nothing is guided.

        Returns:
            [B, T, D] and the mean cost of what the first head looks at, [].
        """
        batch, length, _ = x.shape
        config = self.config

        def heads(rows: Tensor) -> Tensor:
            return rows.view(batch, length, -1, config.head_dim).transpose(1, 2)

        def rotated(rows: Tensor) -> Tensor:
            return rows * cos + rows.roll(config.head_dim // 2, -1) * sin

        queries, keys = rotated(heads(self.q_proj(x))), rotated(heads(self.k_proj(x)))
        values = heads(self.v_proj(x))
        cost = x.new_zeros(())
        if guide is not None:
            scores = queries[:, 0] @ keys[:, 0].transpose(1, 2) * config.head_dim**-0.5
            hidden = torch.ones(length, length, dtype=torch.bool).triu(1)
            looks = scores.float().masked_fill(hidden, -torch.inf).softmax(-1)
            cost = (looks * guide).sum(-1).sum() / (guide.amax(-1) > 0).sum().clamp(min=1)
        answer = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=True
        )
        return self.o_proj(answer.transpose(1, 2).flatten(2)), cost


class Layer(nn.Module):
    """Attention for all rows, norms and feed-forward for text and for audio."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config.width, config.mlp_width)
        self.audio_mlp = FeedForward(config.width, config.mlp_width)
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.audio_input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.audio_post_attention_layernorm = RMSNorm(config.width, config.norm_eps)

    def forward(
        self, x: Tensor, is_audio: Tensor, cos: Tensor, sin: Tensor, guide: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run [B, T, D]; `is_audio` is [B, T, 1]."""
        normed = torch.where(is_audio, self.audio_input_layernorm(x), self.input_layernorm(x))
        answer, cost = self.self_attn(normed, cos, sin, guide)
        x = x + answer
        audio, text = is_audio[..., 0], ~is_audio[..., 0]
        change = torch.empty_like(x)
        change[audio] = self.audio_mlp(self.audio_post_attention_layernorm(x[audio])).to(x.dtype)
        change[text] = self.mlp(self.post_attention_layernorm(x[text])).to(x.dtype)
        return x + change, cost


class Trunk(nn.Module):
    """Embeddings and layers, by the checkpoint's names."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.embed_audio_tokens = nn.Module()
        self.embed_audio_tokens.embed_audio_tokens = nn.Embedding(
            config.num_codebooks * config.codebook_size, config.width
        )
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.width, config.norm_eps)


class Network(nn.Module):
    """Everything that learns."""

    def __init__(self, config: ModelConfig, guided: tuple[int, ...] = (1, 2, 3)) -> None:
        """Make it.

        Args:
            config: its sizes.
            guided: layers whose first head is told where to look.
        """
        super().__init__()
        self.config = config
        self.guided = guided
        self.model = Trunk(config)
        self.audio_lm_head = nn.Linear(
            config.width, config.num_codebooks * config.codebook_size, bias=False
        )
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = (2 * config.num_layers) ** -0.5 if deep else 1.0
                nn.init.normal_(parameter, std=0.02 * scale if "embed" not in name else 0.05)
        rotation = rope_table(config.rope, config.head_dim, 1024)
        self.register_buffer("rotation", rotation, persistent=False)
        offsets = config.codebook_size * torch.arange(config.num_codebooks)
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(
        self, text_ids: Tensor, columns: Tensor, guide: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run whole sequences.

        Args:
            text_ids: [B, T] int64, -1 at audio rows.
            columns: [B, T, K] int64, of the audio rows.
            guide: [B, T, T] or None, as in `Attention`.

        Returns:
            hidden [B, T, D] after the last norm, and the cost of the guided heads, [].
        """
        is_audio = (text_ids < 0)[..., None]
        audio = self.model.embed_audio_tokens.embed_audio_tokens(columns + self.offsets).sum(2)
        x = torch.where(is_audio, audio, self.model.embed_tokens(text_ids.clamp(min=0)))
        cos, sin = self.rotation[: text_ids.shape[1]].unbind(1)
        cost = x.new_zeros(())
        for index, layer in enumerate(self.model.layers):
            x, part = layer(x, is_audio, cos, sin, guide if index in self.guided else None)
            cost = cost + part
        return self.model.norm(x), cost / max(1, len(self.guided))

    def logits(self, hidden: Tensor) -> Tensor:
        """[N, D] -> [N, K, V]."""
        return self.audio_lm_head(hidden).view(len(hidden), self.config.num_codebooks, -1)
