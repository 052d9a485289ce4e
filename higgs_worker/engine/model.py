"""The language model's forward passes: a Llama trunk with two feed-forwards per layer.

Rows are positions of any mix of sequences. Text rows come first, audio rows after them, so that
each kind runs through its own norms and matrices as a slice; a decode step has audio rows only and
never touches a text weight. Knows nothing of delays, sampling or slots' owners.
Source: transformers `modeling_higgs_audio_v2.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from higgs_worker.engine.config import ModelConfig, Rope
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.weights import FeedForward, Layer, Weights

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, queries [N, H, head_dim], keys, values [N, H_kv, head_dim]) -> [N, H, head_dim]."""


@dataclass(frozen=True, slots=True)
class PromptRows:
    """One sequence's share of a packed prefill."""

    slot: int
    start: int
    """Its first position; what lies before is in the cache already."""
    rows: Tensor
    """[T] int64, its rows of the packed batch in the order of their positions."""


class LanguageModel:
    """Weights plus the two passes over them. Not thread-safe; writes only into the cache."""

    def __init__(self, config: ModelConfig, weights: Weights, max_length: int) -> None:
        self.config = config
        self.weights = weights
        self.device = weights.norm.device
        self.dtype = weights.norm.dtype
        cos, sin = rope_table(config.rope, config.head_dim, max_length)
        self._cos = cos.to(self.device, self.dtype)
        self._sin = sin.to(self.device, self.dtype)
        self._offsets = config.codebook_size * torch.arange(
            config.num_codebooks, device=self.device
        )
        self._scale = config.head_dim**-0.5

    def decode(
        self, columns: Tensor, positions: Tensor, mask: Tensor, cache: KVCache, length: int
    ) -> Tensor:
        """Run one column per slot, for the first B slots.

        Args:
            columns: [B, K] int64, the columns to read.
            positions: [B] int64, where they stand; written to the cache.
            mask: [B, 1, 1, length] bool, which positions each slot may see.
            cache: holds all earlier positions.
            length: how many positions attention covers; at least the largest position + 1.

        Returns:
            logits [B, K, V] float32.
        """
        slots = slice(0, columns.shape[0])
        index = torch.arange(columns.shape[0], device=self.device)
        groups = (
            self.config.num_kv_heads,
            self.config.num_heads // self.config.num_kv_heads,
            self.config.head_dim,
        )

        def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            cache.write(layer, index, positions, keys, values)
            seen_keys, seen_values = cache.read(layer, slots, length)
            # The query heads that share a KV head stand as if they were positions of it: grouped
            # attention without repeating keys and values.
            grouped = queries.view(-1, *groups)
            out = F.scaled_dot_product_attention(
                grouped, seen_keys, seen_values, attn_mask=mask, scale=self._scale
            )
            return out.flatten(1, 2)

        hidden = self._forward(self._embed_audio(columns), 0, positions, attend)
        return self._logits(hidden)

    def prefill(
        self,
        text_ids: Tensor,
        columns: Tensor,
        positions: Tensor,
        slots: Tensor,
        sequences: list[PromptRows],
        cache: KVCache,
    ) -> Tensor:
        """Run prompts of any lengths, packed, and write their keys and values.

        Args:
            text_ids: [N_text] int64.
            columns: [N_audio, K] int64.
            positions, slots: [N_text + N_audio] int64, of the text rows, then the audio rows.
            sequences: who owns which rows.
            cache: holds earlier positions of sequences that do not start at 0.

        Returns:
            logits [len(sequences), K, V] float32 after each sequence's last row.
        """
        x = torch.cat([F.embedding(text_ids, self.weights.embed_text), self._embed_audio(columns)])

        def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            cache.write(layer, slots, positions, keys, values)
            out = torch.empty_like(queries)
            for part in sequences:
                # Alone, so that nothing of a sequence depends on its neighbours.
                end = part.start + part.rows.shape[0]
                own = slice(part.slot, part.slot + 1)
                seen_keys, seen_values = cache.read(layer, own, end)
                mask = None
                if part.start:
                    at = torch.arange(end, device=self.device)
                    mask = at <= at[part.start :, None]
                answer = F.scaled_dot_product_attention(
                    queries[part.rows].transpose(0, 1).unsqueeze(0),
                    seen_keys,
                    seen_values,
                    attn_mask=mask,
                    is_causal=mask is None,
                    scale=self._scale,
                    enable_gqa=True,
                )
                out[part.rows] = answer.squeeze(0).transpose(0, 1)
            return out

        hidden = self._forward(x, text_ids.shape[0], positions, attend)
        last = torch.stack([part.rows[-1] for part in sequences])
        return self._logits(hidden[last])

    def _embed_audio(self, columns: Tensor) -> Tensor:
        return F.embedding_bag(columns + self._offsets, self.weights.embed_audio, mode="sum")

    def _forward(self, x: Tensor, num_text: int, positions: Tensor, attend: Attend) -> Tensor:
        """Run all layers over rows [N, D], of which the first `num_text` are text."""
        cos, sin = self._cos[positions].unsqueeze(1), self._sin[positions].unsqueeze(1)
        for index, layer in enumerate(self.weights.layers):
            x = x + self._attention(index, layer, x, num_text, cos, sin, attend)
            if num_text:
                text = self._mlp(layer.text, x[:num_text])
                x = x + torch.cat([text, self._mlp(layer.audio, x[num_text:])])
            else:
                x = x + self._mlp(layer.audio, x)
        return x

    def _attention(
        self,
        index: int,
        layer: Layer,
        x: Tensor,
        num_text: int,
        cos: Tensor,
        sin: Tensor,
        attend: Attend,
    ) -> Tensor:
        config = self.config
        if num_text:
            normed = torch.cat(
                [
                    self._norm(x[:num_text], layer.text.input_norm),
                    self._norm(x[num_text:], layer.audio.input_norm),
                ]
            )
        else:
            normed = self._norm(x, layer.audio.input_norm)
        qkv = F.linear(normed, layer.qkv).view(len(x), -1, config.head_dim)
        num_rotated = config.num_heads + config.num_kv_heads
        rotated = rotate(qkv[:, :num_rotated], cos, sin)
        out = attend(
            index,
            rotated[:, : config.num_heads],
            rotated[:, config.num_heads :],
            qkv[:, num_rotated:],
        )
        return F.linear(out.flatten(1), layer.out)

    def _mlp(self, part: FeedForward, x: Tensor) -> Tensor:
        gate, up = F.linear(self._norm(x, part.post_norm), part.gate_up).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, part.down)

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.config.norm_eps)

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = F.linear(self._norm(hidden, self.weights.norm), self.weights.head)
        return logits.view(
            len(hidden), self.config.num_codebooks, self.config.codebook_size
        ).float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary embedding in the half-split form; `sin` has its first half negated.

    Args:
        x: [N, H, head_dim].
        cos, sin: [N, 1, head_dim] from `rope_table`.
    """
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


def rope_table(rope: Rope, head_dim: int, max_length: int) -> tuple[Tensor, Tensor]:
    """Make cosine and sine per position, [T, head_dim] float32 each, the sine's first half negated.

    Source: transformers `modeling_rope_utils._compute_llama3_parameters`.
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float) / head_dim
    frequencies = 1.0 / (rope.theta**exponents)
    if rope.factor != 1.0:
        wavelengths = 2 * math.pi / frequencies
        smooth = (rope.original_positions / wavelengths - rope.low_freq_factor) / (
            rope.high_freq_factor - rope.low_freq_factor
        )
        blended = (1 - smooth) * frequencies / rope.factor + smooth * frequencies
        is_long = wavelengths > rope.original_positions / rope.low_freq_factor
        is_short = wavelengths < rope.original_positions / rope.high_freq_factor
        frequencies = torch.where(
            is_long, frequencies / rope.factor, torch.where(is_short, frequencies, blended)
        )
    angles = torch.arange(max_length).float()[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
