"""The language model's forward passes: a Llama trunk with two feed-forwards per layer.

Rows are positions of any mix of sequences. Text rows come first, audio rows after them, so that
each kind runs through its own norms and matrices as a slice. A decode step has audio rows only and
never touches a text weight.
Source: transformers `modeling_higgs_audio_v2.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from higgs_worker.engine.config import ModelConfig, Rope
from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.engine.kv_cache import CacheWindow, KVCache
from higgs_worker.engine.linear import Int8Linear, Linear, best_layout
from higgs_worker.engine.parameters import FeedForwardWeights, LayerWeights, Weights
from higgs_worker.engine.rows import PackedBatch

MASK_ALIGNMENT = 8
"""Elements. Source: torch `aten/src/ATen/native/transformers/attention.cpp`, `preprocess_mask`."""

Attend = Callable[[int, Tensor], Tensor]
"""(layer, rows [N, H + 2 H_kv, head_dim], queries and keys rotated) -> [N, H x head_dim]."""


@dataclass(frozen=True, slots=True)
class LlamaFeedForward:
    """A layer's feed-forward for text or for audio, with its two norms, ready to be multiplied."""

    input_norm: Tensor
    post_norm: Tensor
    gate_up: Linear | Int8Linear
    down: Linear | Int8Linear


@dataclass(frozen=True, slots=True)
class LlamaLayer:
    """A layer, ready to be multiplied."""

    qkv: Linear | Int8Linear
    out: Linear | Int8Linear
    text: LlamaFeedForward
    audio: LlamaFeedForward


class LanguageModel:
    """Weights and the two passes over them. Not thread-safe; writes only into the cache."""

    def __init__(self, config: ModelConfig, weights: Weights, max_length: int) -> None:
        """Prepare the weights; some are used as they are, some are copied into another layout."""
        self.config = config
        self.device = weights.norm.device
        self.dtype = weights.norm.dtype
        # Queries and keys are rotated, values are not: their table entries are 1 and 0. So one
        # gather by position and one by kind of head serve a whole pass, and keys and values can be
        # written together.
        rotated = rope_table(config.rope, config.head_dim, max_length)
        unrotated = torch.stack([torch.ones(config.head_dim), torch.zeros(config.head_dim)])
        table = torch.stack([rotated, unrotated.expand_as(rotated)], dim=1)
        self.rotation = table.to(self.device, self.dtype)
        num_rotated = config.num_heads + config.num_kv_heads
        kinds = torch.arange(num_rotated + config.num_kv_heads, device=self.device) >= num_rotated
        self._kinds = kinds.long()
        self._positions = torch.arange(_aligned(max_length), device=self.device)
        self._offsets = config.codebook_size * torch.arange(
            config.num_codebooks, device=self.device
        )
        self._scale = config.head_dim**-0.5
        self.is_output_by_query = returns_heads_by_query(self.device)
        heads = (config.num_kv_heads, config.num_heads // config.num_kv_heads)
        self._output_shape = (
            *(heads[::-1] if self.is_output_by_query else heads),
            config.head_dim,
        )
        # On a CPU a layer norm is one kernel and an RMS norm eight.
        self._norms_by_layer_norm = self.device.type == "cpu"
        num_bytes = sum(tensor.nbytes for tensor in weights.by_name(config).values())
        self._layout = best_layout(num_bytes, self.device, self.dtype)
        self._embed_text_weight, self.embed_audio_weight = weights.embed_text, weights.embed_audio
        self.layers = [self._prepare(layer) for layer in weights.layers]
        self.last_norm = self._norm_weight(weights.norm)
        self.head = Linear(weights.head, self._layout)
        # The two values of an additive attention mask.
        self._visible = torch.zeros((), device=self.device, dtype=self.dtype)
        self._masked = torch.full_like(self._visible, -torch.inf)
        turn_cudnn_attention_off(self.device)

    def decode(
        self, columns: Tensor, positions: Tensor, cache: KVCache, window: CacheWindow
    ) -> Tensor:
        """Run one column per slot, for the slots of a window.

        Args:
            columns: [B, K] int64.
            positions: [B] int64, of the columns; their keys and values are written to the cache,
                and each column attends to itself and all positions before.
            cache: holds all earlier positions.
            window: the first B slots, and at least as many positions as are in use.

        Returns:
            logits [B, K, V] float32.
        """
        config, num_rows = self.config, columns.shape[0]
        last = positions[:, None]
        cache_rows = window.first_rows + last
        mask = self._mask(last[:, None, None], window.length)
        # Query heads that share a KV head are laid out as if they were its positions: grouped
        # attention without repeating keys and values.
        grouped = (num_rows, config.num_kv_heads, -1, config.head_dim)

        def attend(layer: int, heads: Tensor) -> Tensor:
            cache.write(layer, cache_rows, heads[:, config.num_heads :])
            keys, values = window.layers[layer]
            queries = heads[:, : config.num_heads].view(grouped)
            out = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=mask, scale=self._scale
            )
            if self.is_output_by_query:
                out = out.transpose(1, 2)
            return out.reshape(num_rows, -1)  # a view

        return self._logits(self._forward(self._embed_audio(columns), 0, positions, attend))

    def prefill(self, batch: PackedBatch, cache: KVCache) -> Tensor:
        """Run chunks of prompts and write their keys and values.

        Args:
            batch: the rows, on the host.
            cache: holds earlier positions of chunks that do not start at 0.

        Returns:
            hidden [N_text + N_audio, D]; `logits_after` computes logits of the rows that need them.
        """
        config, device = self.config, self.device
        text_ids, columns = to_device(batch.text_ids, device), to_device(batch.columns, device)
        positions = to_device(batch.positions, device)
        cache_rows = cache.rows(to_device(batch.slots, device), positions)
        own_rows = [to_device(part.rows, device) for part in batch.sequences]
        masks = [
            self._later_chunk_mask(part.start, len(part.rows)) if part.start else None
            for part in batch.sequences
        ]

        def attend(layer: int, heads: Tensor) -> Tensor:
            cache.write(layer, cache_rows, heads[:, config.num_heads :])
            queries = heads[:, : config.num_heads]
            out = torch.empty_like(queries).view(len(queries), *self._output_shape)
            by_head = out.transpose(1, 2) if self.is_output_by_query else out
            for part, rows, mask in zip(batch.sequences, own_rows, masks, strict=True):
                # Each alone, so that no sequence depends on its neighbours.
                slot = slice(part.slot, part.slot + 1)
                keys, values = cache.read(layer, slot, part.start + len(rows))
                by_head[rows] = self._attend_to_chunk(queries[rows], keys, values, mask)
            return out.flatten(1)

        x = torch.cat([F.embedding(text_ids, self._embed_text_weight), self._embed_audio(columns)])
        return self._forward(x, len(text_ids), positions, attend)

    def _mask(self, last: Tensor, length: int) -> Tensor:
        """Return an additive mask: each row sees the first positions, up to its last one.

        Additive and made once: a boolean mask would be converted in every layer. Its rows begin at
        multiples of 8 elements, or CUDA's kernels would make a copy that does in every layer.

        Args:
            last: [..., 1] int64.
            length: number of positions.

        Returns:
            [..., length].
        """
        is_later = self._positions[: _aligned(length)] > last
        return torch.where(is_later, self._masked, self._visible)[..., :length]

    def _later_chunk_mask(self, start: int, num_rows: int) -> Tensor:
        """Return the mask of a chunk behind others: each row sees itself and all earlier positions.

        Returns:
            [group x T, start + T], the same for every query head of a group.
        """
        end = start + num_rows
        own = self._positions[start:end].repeat(self.config.num_heads // self.config.num_kv_heads)
        return self._mask(own[:, None], end)

    def _attend_to_chunk(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Return the attention output of one chunk, [T, H_kv, H / H_kv, head_dim].

        Args:
            queries: [T, H, head_dim], of the chunk's rows.
            keys, values: [1, H_kv, start + T, head_dim].
            mask: see `_later_chunk_mask`; None: the chunk starts at position 0.
        """
        if mask is None:
            out = F.scaled_dot_product_attention(
                queries.transpose(0, 1).unsqueeze(0),
                keys,
                values,
                is_causal=True,
                scale=self._scale,
                enable_gqa=True,
            )
            return out.view(keys.shape[1], -1, *out.shape[2:]).permute(2, 0, 1, 3)
        # With a mask no fused kernel of CUDA shares KV heads, and the plain one would write out
        # H x T x (start + T) scores: grouped as in `decode` instead.
        num_rows, _, head_dim = queries.shape
        grouped = queries.view(num_rows, keys.shape[1], -1, head_dim).permute(1, 2, 0, 3)
        out = F.scaled_dot_product_attention(
            grouped.flatten(1, 2).unsqueeze(0), keys, values, attn_mask=mask, scale=self._scale
        )
        return out.view(keys.shape[1], -1, num_rows, head_dim).permute(2, 0, 1, 3)

    def logits_after(self, hidden: Tensor, rows: Tensor) -> Tensor:
        """Return the logits [len(rows), K, V] float32 of some rows of a prefill."""
        return self._logits(hidden[rows])

    def _prepare(self, layer: LayerWeights) -> LlamaLayer:
        def linear(weight: Tensor | Int8Matrix) -> Linear | Int8Linear:
            if isinstance(weight, Int8Matrix):
                return Int8Linear(weight)
            return Linear(weight, self._layout)

        def feed_forward(part: FeedForwardWeights) -> LlamaFeedForward:
            norms = (self._norm_weight(part.input_norm), self._norm_weight(part.post_norm))
            return LlamaFeedForward(*norms, linear(part.gate_up), linear(part.down))

        text, audio = feed_forward(layer.text), feed_forward(layer.audio)
        return LlamaLayer(linear(layer.qkv), linear(self._order_output(layer.out)), text, audio)

    def _order_output(self, out: Tensor | Int8Matrix) -> Tensor | Int8Matrix:
        """Return `out` with its columns in the order in which attention returns the heads.

        To transpose the weight, once, saves a copy in every layer of every step.
        """
        if not self.is_output_by_query:
            return out
        if isinstance(out, Int8Matrix):
            return Int8Matrix(self._order_columns(out.values), out.scale)
        return self._order_columns(out)

    def _order_columns(self, out: Tensor) -> Tensor:
        heads = out.view(len(out), self.config.num_kv_heads, -1, self.config.head_dim)
        return heads.transpose(1, 2).reshape(out.shape)

    def _norm_weight(self, weight: Tensor) -> Tensor:
        return weight.repeat(2) if self._norms_by_layer_norm else weight

    def _embed_audio(self, columns: Tensor) -> Tensor:
        return F.embedding(columns + self._offsets, self.embed_audio_weight).sum(1)

    def _forward(self, x: Tensor, num_text: int, positions: Tensor, attend: Attend) -> Tensor:
        """Run all layers over rows x [N, D], in place; the first `num_text` of them are text."""
        num_rows, head_dim = x.shape[0], self.config.head_dim
        text, audio = (x[:num_text], x[num_text:]) if num_text else (x, x)
        cos, sin = self.rotation.index_select(0, positions).index_select(1, self._kinds).unbind(2)
        for index, layer in enumerate(self.layers):
            parts = [(layer.text, text)] if num_text else []
            if num_text < num_rows:
                parts.append((layer.audio, audio))
            normed = [self._norm(rows, part.input_norm) for part, rows in parts]
            heads = layer.qkv.forward(normed[0] if len(normed) == 1 else torch.cat(normed))
            heads = heads.view(num_rows, -1, head_dim)
            # Half-split rotary form. The first half of the sine is negated, so a roll is enough.
            heads = torch.addcmul(heads * cos, heads.roll(head_dim // 2, -1), sin)
            layer.out.add_to(x, attend(index, heads))
            for part, rows in parts:
                gate, up = part.gate_up.forward(self._norm(rows, part.post_norm)).chunk(2, dim=-1)
                part.down.add_to(rows, F.silu(gate).mul_(up))
        return x

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        width, eps = self.config.width, self.config.norm_eps
        if not self._norms_by_layer_norm:
            return F.rms_norm(x, (width,), weight, eps)
        # The mean of (x, -x) is 0 and its variance the mean square of x.
        both = torch.cat([x, -x], dim=-1)
        return F.layer_norm(both, (2 * width,), weight, None, eps)[:, :width]

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = self.head.forward(self._norm(hidden, self.last_norm))
        shape = (len(hidden), self.config.num_codebooks, self.config.codebook_size)
        return logits.view(shape).float()


def _aligned(length: int) -> int:
    return -(-length // MASK_ALIGNMENT) * MASK_ALIGNMENT


def returns_heads_by_query(device: torch.device) -> bool:
    """Whether attention returns the first query of all KV heads, then the second.

    Where the queries of a KV head are laid out as positions, CUDA's kernels do, because they put
    positions before heads in memory; the CPU's returns one KV head after another.
    """
    return device.type != "cpu"


def turn_cudnn_attention_off(device: torch.device) -> None:
    """Keep the process from attention by cuDNN; on a CPU there is none.

    It is torch's default on an H100, and a third faster once it runs. But it plans for 46 ms at
    each new shape, so at every new length of a prompt, and all other sequences wait meanwhile
    (measured on an H100).
    """
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def rope_table(rope: Rope, head_dim: int, max_length: int) -> Tensor:
    """Return cosine and sine of each position, [T, 2, head_dim] float32.

    The first half of the sine is negated, see `LanguageModel._forward`.

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


def to_device(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy an array to a device; on a GPU through pinned memory, without a sync."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
