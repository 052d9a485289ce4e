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
from higgs_worker.engine.kv_cache import CacheWindow, KVCache
from higgs_worker.engine.linear import Linear, best_storage
from higgs_worker.engine.parameters import FeedForwardWeights, LayerWeights, Weights

Attend = Callable[[int, Tensor], Tensor]
"""(layer, rows [N, H + 2 H_kv, head_dim], queries and keys rotated) -> [N, H x head_dim]."""


@dataclass(frozen=True, slots=True)
class PackedRows:
    """One sequence's share of a packed prefill."""

    slot: int
    start: int
    """Its first position in this pass; what lies before is in the cache already."""
    rows: Tensor
    """[T] int64, its rows of the batch in the order of their positions."""


@dataclass(frozen=True, slots=True)
class _Half:
    """A layer's feed-forward for text or for audio, as it is used."""

    input_norm: Tensor
    post_norm: Tensor
    gate_up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class _Block:
    """A layer as it is used."""

    qkv: Linear
    out: Linear
    text: _Half
    audio: _Half


class LanguageModel:
    """Weights plus the two passes over them. Not thread-safe; writes only into the cache."""

    def __init__(self, config: ModelConfig, weights: Weights, max_length: int) -> None:
        self.config = config
        self.weights = weights
        self.device = weights.norm.device
        self.dtype = weights.norm.dtype
        # Queries and keys are rotated, values are not; laid out so, one gather by position and one
        # by kind of head serve a whole pass, and keys and values can be written together.
        rotated = rope_table(config.rope, config.head_dim, max_length)
        unrotated = torch.stack([torch.ones(config.head_dim), torch.zeros(config.head_dim)])
        table = torch.stack([rotated, unrotated.expand_as(rotated)], dim=1)
        self._rotation = table.to(self.device, self.dtype)
        num_rotated = config.num_heads + config.num_kv_heads
        kinds = torch.arange(num_rotated + config.num_kv_heads, device=self.device) >= num_rotated
        self._kinds = kinds.long()
        self._positions = torch.arange(max_length, device=self.device)
        self._offsets = config.codebook_size * torch.arange(
            config.num_codebooks, device=self.device
        )
        self._scale = config.head_dim**-0.5
        # On a CPU a layer norm is one kernel and an RMS norm eight.
        self._norms_by_layer_norm = self.device.type == "cpu"
        num_bytes = sum(tensor.nbytes for tensor in weights.by_name(config).values())
        self._storage = best_storage(num_bytes, self.device, self.dtype)
        self._blocks = [self._block(layer) for layer in weights.layers]
        self._last_norm = self._norm_weight(weights.norm)
        self._head = Linear(weights.head, self._storage)
        self._seen = torch.zeros((), device=self.device, dtype=self.dtype)
        self._unseen = torch.full_like(self._seen, -torch.inf)

    def decode(
        self, columns: Tensor, positions: Tensor, cache: KVCache, window: CacheWindow
    ) -> Tensor:
        """Run one column per slot, for the slots of a window.

        Args:
            columns: [B, K] int64, the columns to read.
            positions: [B] int64, where they stand; written to the cache, seen with all before.
            cache: holds all earlier positions.
            window: the first B slots, and at least as many positions as are in use.

        Returns:
            logits [B, K, V] float32.
        """
        config, num_rows = self.config, columns.shape[0]
        last = positions[:, None]
        places = window.places + last
        # Additive and made once: a boolean mask would be converted in every layer.
        hidden = window.positions > last[:, None, None]
        mask = torch.where(hidden, self._unseen, self._seen)
        # Query heads that share a KV head stand as if they were positions of it: grouped attention
        # without repeating keys and values.
        grouped = (num_rows, config.num_kv_heads, -1, config.head_dim)

        def attend(layer: int, heads: Tensor) -> Tensor:
            cache.write(layer, places, heads[:, config.num_heads :])
            keys, values = window.layers[layer]
            queries = heads[:, : config.num_heads].view(grouped)
            out = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, scale=self._scale
            )
            return out.reshape(num_rows, -1)

        return self._logits(self._forward(self._embed_audio(columns), 0, positions, attend))

    def prefill(
        self,
        text_ids: Tensor,
        columns: Tensor,
        positions: Tensor,
        slots: Tensor,
        sequences: list[PackedRows],
        cache: KVCache,
    ) -> Tensor:
        """Run prompts or pieces of them, packed, and write their keys and values.

        Args:
            text_ids: [N_text] int64.
            columns: [N_audio, K] int64.
            positions, slots: [N_text + N_audio] int64, of the text rows, then the audio rows.
            sequences: who owns which rows.
            cache: holds earlier positions of sequences that do not start at 0.

        Returns:
            hidden [N_text + N_audio, D]; `logits_after` makes logits of those rows that need them.
        """
        config = self.config
        places = cache.rows(slots, positions)
        masks = [self._mask_of_piece(part) if part.start else None for part in sequences]

        def attend(layer: int, heads: Tensor) -> Tensor:
            cache.write(layer, places, heads[:, config.num_heads :])
            queries = heads[:, : config.num_heads]
            out = torch.empty_like(queries)
            for part, mask in zip(sequences, masks, strict=True):
                # Each alone, so that nothing of a sequence depends on its neighbours.
                own = slice(part.slot, part.slot + 1)
                keys, values = cache.read(layer, own, part.start + len(part.rows))
                out[part.rows] = self._attend_to_piece(queries[part.rows], keys, values, mask)
            return out.flatten(1)

        x = torch.cat([F.embedding(text_ids, self.weights.embed_text), self._embed_audio(columns)])
        return self._forward(x, len(text_ids), positions, attend)

    def _mask_of_piece(self, part: PackedRows) -> Tensor:
        """Let rows see what was read before and, within the piece, themselves and earlier rows.

        Returns:
            [group x T, start + T], the same for every query head of a group.
        """
        end = part.start + len(part.rows)
        hidden = self._positions[:end] > self._positions[part.start : end, None]
        mask = torch.where(hidden, self._unseen, self._seen)
        return mask.repeat(self.config.num_heads // self.config.num_kv_heads, 1)

    def _attend_to_piece(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Answer queries [T, H, head_dim] of a whole prompt, or with a mask of a later piece."""
        if mask is None:
            answer = F.scaled_dot_product_attention(
                queries.transpose(0, 1).unsqueeze(0),
                keys,
                values,
                is_causal=True,
                scale=self._scale,
                enable_gqa=True,
            )
            return answer.squeeze(0).transpose(0, 1)
        # With a mask no fused kernel of CUDA shares KV heads, and the plain one would write out
        # H x T x (start + T) scores: grouped as in `decode` instead.
        num_rows, num_heads, head_dim = queries.shape
        grouped = queries.view(num_rows, keys.shape[1], -1, head_dim).permute(1, 2, 0, 3)
        answer = F.scaled_dot_product_attention(
            grouped.flatten(1, 2).unsqueeze(0), keys, values, attn_mask=mask, scale=self._scale
        )
        return answer.view(grouped.shape).permute(2, 0, 1, 3).reshape(num_rows, num_heads, head_dim)

    def logits_after(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Make logits [len(rows), K, V] float32 of some rows of a prefill."""
        return self._logits(hidden[rows])

    def _block(self, layer: LayerWeights) -> _Block:
        def half(part: FeedForwardWeights) -> _Half:
            norms = (self._norm_weight(part.input_norm), self._norm_weight(part.post_norm))
            return _Half(*norms, matrix(part.gate_up), matrix(part.down))

        def matrix(weight: Tensor) -> Linear:
            return Linear(weight, self._storage)

        return _Block(matrix(layer.qkv), matrix(layer.out), half(layer.text), half(layer.audio))

    def _norm_weight(self, weight: Tensor) -> Tensor:
        return weight.repeat(2) if self._norms_by_layer_norm else weight

    def _embed_audio(self, columns: Tensor) -> Tensor:
        return F.embedding(columns + self._offsets, self.weights.embed_audio).sum(1)

    def _forward(self, x: Tensor, num_text: int, positions: Tensor, attend: Attend) -> Tensor:
        """Run all layers over rows [N, D], of which the first `num_text` are text; x is reused."""
        num_rows, head_dim = x.shape[0], self.config.head_dim
        text, audio = (x[:num_text], x[num_text:]) if num_text else (x, x)
        cos, sin = self._rotation.index_select(0, positions).index_select(1, self._kinds).unbind(2)
        for index, block in enumerate(self._blocks):
            parts = [(block.text, text)] if num_text else []
            if num_text < num_rows:
                parts.append((block.audio, audio))
            normed = [self._norm(rows, part.input_norm) for part, rows in parts]
            heads = block.qkv.of(normed[0] if len(normed) == 1 else torch.cat(normed))
            heads = heads.view(num_rows, -1, head_dim)
            # Half-split rotary form; the sine's first half is negated, so that a roll will do.
            heads = torch.addcmul(heads * cos, heads.roll(head_dim // 2, -1), sin)
            block.out.add_to(x, attend(index, heads))
            for part, rows in parts:
                gate, up = part.gate_up.of(self._norm(rows, part.post_norm)).chunk(2, dim=-1)
                part.down.add_to(rows, F.silu(gate).mul_(up))
        return x

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        width, eps = self.config.width, self.config.norm_eps
        if not self._norms_by_layer_norm:
            return F.rms_norm(x, (width,), weight, eps)
        # (x, -x) has the mean 0, and the mean square of x as its variance.
        both = torch.cat([x, -x], dim=-1)
        return F.layer_norm(both, (2 * width,), weight, None, eps)[:, :width]

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = self._head.of(self._norm(hidden, self._last_norm))
        shape = (len(hidden), self.config.num_codebooks, self.config.codebook_size)
        return logits.view(shape).float()


def rope_table(rope: Rope, head_dim: int, max_length: int) -> Tensor:
    """Make cosine and sine of each position, [T, 2, head_dim] float32; half the sine is negated.

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
    return torch.stack([torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)], dim=1)
