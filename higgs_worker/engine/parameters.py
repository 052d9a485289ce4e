"""The model's weights in memory, and the checkpoint's name for each.

Projections that always run together are fused (query, key and value; gate and up). `by_name` maps
checkpoint names to views of the fused tensors: the loader fills them, and the scripts and tests
that write checkpoints take names and shapes from it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.engine.number_format import NumberFormat

NOT_NEEDED = frozenset({"text_lm_head.weight"})
"""In the file, but not loaded: audio is forced to start, so the text head is never used."""


@dataclass(frozen=True, slots=True)
class FeedForwardWeights:
    """The part of a layer that exists twice: for text positions and for audio positions."""

    input_norm: Tensor
    """[D], before attention."""
    post_norm: Tensor
    """[D], before the feed-forward."""
    gate_up: Tensor | Int8Matrix
    """[2 x mlp_width, D]."""
    down: Tensor | Int8Matrix
    """[D, mlp_width]."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One layer: attention for all positions, a feed-forward for text and one for audio."""

    qkv: Tensor | Int8Matrix
    """[(H + 2 H_kv) x head_dim, D]."""
    out: Tensor | Int8Matrix
    """[D, H x head_dim]."""
    text: FeedForwardWeights
    audio: FeedForwardWeights


@dataclass(frozen=True, slots=True)
class Weights:
    """All tensors that generating audio needs."""

    embed_text: Tensor
    """[vocab, D]."""
    embed_audio: Tensor
    """[K x V, D]; codebook k starts at row k x V."""
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    """[D]."""
    head: Tensor
    """[K x V, D]."""

    @classmethod
    def empty(
        cls, config: ModelConfig, *, device: torch.device, number_format: NumberFormat
    ) -> "Weights":
        """Allocate without initialising."""
        width, mlp = config.width, config.mlp_width

        def new(*shape: int) -> Tensor:
            return torch.empty(shape, device=device, dtype=number_format.dtype)

        def matrix(num_outputs: int, num_inputs: int) -> Tensor | Int8Matrix:
            if number_format.has_int8_layers:
                return Int8Matrix.empty(num_outputs, num_inputs, device)
            return new(num_outputs, num_inputs)

        def feed_forward() -> FeedForwardWeights:
            return FeedForwardWeights(
                new(width), new(width), matrix(2 * mlp, width), matrix(width, mlp)
            )

        heads = config.num_heads + 2 * config.num_kv_heads
        return cls(
            embed_text=new(config.vocab_size, width),
            embed_audio=new(config.num_codebooks * config.codebook_size, width),
            layers=tuple(
                LayerWeights(
                    qkv=matrix(heads * config.head_dim, width),
                    out=matrix(width, config.num_heads * config.head_dim),
                    text=feed_forward(),
                    audio=feed_forward(),
                )
                for _ in range(config.num_layers)
            ),
            norm=new(width),
            head=new(config.num_codebooks * config.codebook_size, width),
        )

    def by_name(self, config: ModelConfig) -> dict[str, Tensor | Int8Matrix]:
        """Return a view of each tensor by its name in the checkpoint.

        Source: transformers `HiggsAudioV2ForConditionalGeneration` state dict.
        """
        query = config.num_heads * config.head_dim
        key = config.num_kv_heads * config.head_dim
        names: dict[str, Tensor | Int8Matrix] = {
            "model.embed_tokens.weight": self.embed_text,
            "model.embed_audio_tokens.embed_audio_tokens.weight": self.embed_audio,
            "model.norm.weight": self.norm,
            "audio_lm_head.weight": self.head,
        }
        for index, layer in enumerate(self.layers):
            prefix = f"model.layers.{index}."
            attention = prefix + "self_attn."
            names[attention + "q_proj.weight"] = layer.qkv[:query]
            names[attention + "k_proj.weight"] = layer.qkv[query : query + key]
            names[attention + "v_proj.weight"] = layer.qkv[query + key :]
            names[attention + "o_proj.weight"] = layer.out
            for kind, part in (("", layer.text), ("audio_", layer.audio)):
                names[f"{prefix}{kind}input_layernorm.weight"] = part.input_norm
                names[f"{prefix}{kind}post_attention_layernorm.weight"] = part.post_norm
                names[f"{prefix}{kind}mlp.gate_proj.weight"] = part.gate_up[: config.mlp_width]
                names[f"{prefix}{kind}mlp.up_proj.weight"] = part.gate_up[config.mlp_width :]
                names[f"{prefix}{kind}mlp.down_proj.weight"] = part.down
        return names
