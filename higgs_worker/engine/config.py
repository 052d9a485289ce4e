"""The shape of the language model, read from a checkpoint's `config.json`.

The file is that of transformers' native port of Higgs Audio V2 (`model_type` "higgs_audio_v2").
It names the rotary settings `rope_parameters` or, in older releases, `rope_scaling` and
`rope_theta`. The tensors are in `parameters.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from higgs_worker.checkpoint.config_file import ConfigSection, read_config
from higgs_worker.errors import InvalidCheckpoint

MODEL_TYPE = "higgs_audio_v2"
SOURCE = (
    "config.json, model.safetensors and tokenizer.json of the main revision of "
    "bosonai/higgs-audio-v2-generation-3B-base"
)

MAX_LAYERS = 200
"""Seven times the published number."""
MAX_CODEBOOKS = 64
"""Eight times the published number."""
MAX_THETA = 1e12
"""Of the rotary base; the published one is 500,000."""
MAX_FACTOR = 1e6
"""Of the rotary factors; the largest published one is 32."""


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary position embedding in Llama 3's form; `factor` 1 means the plain form.

    Source: transformers `modeling_rope_utils._compute_llama3_parameters`.
    """

    theta: float
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_positions: int = 8192


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Sizes and special ids of the language model."""

    vocab_size: int
    width: int
    mlp_width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    norm_eps: float
    rope: Rope
    num_codebooks: int
    codebook_size: int
    """Ids per codebook, stream BOS and EOS included."""
    stream_bos_id: int
    stream_eos_id: int

    @classmethod
    def from_directory(cls, directory: Path) -> "ModelConfig":
        """Read `config.json`.

        Raises:
            WeightsNotFound: the file cannot be read.
            InvalidCheckpoint: it is not a Higgs Audio V2 configuration in the native format.
        """
        path = str(directory / "config.json")
        return cls.from_dict(read_config(directory, SOURCE), path)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], path: str = "config.json") -> "ModelConfig":
        """Check and convert a parsed `config.json`; `path` is for the error text."""
        top = ConfigSection(path, SOURCE, raw)
        if raw.get("model_type") != MODEL_TYPE:
            raise top.wrong(
                "model_type", f"{MODEL_TYPE!r} (the revision of 2025-07 has another format)"
            )
        for key, only in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
            top.require(key, only)
        width, num_heads = top.integer("hidden_size"), top.integer("num_attention_heads")
        default_head_dim = max(1, width // num_heads)
        config = cls(
            vocab_size=top.integer("vocab_size"),
            width=width,
            mlp_width=top.integer("intermediate_size"),
            num_layers=top.integer("num_hidden_layers", most=MAX_LAYERS),
            num_heads=num_heads,
            num_kv_heads=top.integer("num_key_value_heads"),
            head_dim=top.integer("head_dim") if raw.get("head_dim") else default_head_dim,
            norm_eps=top.number("rms_norm_eps", 1e-5, below=1),
            rope=_rope(top),
            num_codebooks=top.integer("num_codebooks", most=MAX_CODEBOOKS),
            codebook_size=top.integer("codebook_size"),
            stream_bos_id=top.integer("audio_stream_bos_id"),
            stream_eos_id=top.integer("audio_stream_eos_id"),
        )
        if config.head_dim % 2:
            raise top.wrong("head_dim", "even")
        if config.num_heads % config.num_kv_heads:
            raise InvalidCheckpoint(
                f"{path}: {config.num_heads} heads do not divide among "
                f"{config.num_kv_heads} KV heads"
            )
        if max(config.stream_bos_id, config.stream_eos_id) >= config.codebook_size:
            # True of transformers' default (1024): the BOS of one codebook would be the first row
            # of the next.
            raise InvalidCheckpoint(
                f"{path}: codebook_size {config.codebook_size} is too small for the stream ids "
                f"{config.stream_bos_id} and {config.stream_eos_id}"
            )
        return config


def _rope(top: ConfigSection) -> Rope:
    rope = top.section("rope_parameters" if top.value("rope_parameters") else "rope_scaling")
    with_theta = rope if "rope_theta" in rope.values else top
    theta = with_theta.number("rope_theta", below=MAX_THETA)
    kind_key = "rope_type" if "rope_type" in rope.values else "type"
    kind = rope.value(kind_key, "default")
    if kind == "default":
        return Rope(theta=theta)
    if kind != "llama3":
        raise rope.wrong(kind_key, "'llama3' or 'default'")
    low, high = (rope.number(f"{name}_freq_factor", below=MAX_FACTOR) for name in ("low", "high"))
    if not low < high:
        raise rope.wrong("low_freq_factor", f"below {high:g}, the high_freq_factor")
    return Rope(
        theta=theta,
        factor=rope.number("factor", below=MAX_FACTOR),
        low_freq_factor=low,
        high_freq_factor=high,
        original_positions=rope.integer("original_max_position_embeddings"),
    )
