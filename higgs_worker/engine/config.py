"""The shape of the language model, read from a checkpoint's `config.json`.

The file is that of transformers' native port of Higgs Audio V2 (`model_type` "higgs_audio_v2").
It names the rotary settings `rope_parameters` or, in older releases, `rope_scaling` and
`rope_theta`. The tensors are in `parameters.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from higgs_worker.checkpoint import read_config
from higgs_worker.errors import InvalidCheckpoint

MODEL_TYPE = "higgs_audio_v2"
SOURCE = (
    "config.json, model.safetensors and tokenizer.json of the main revision of "
    "bosonai/higgs-audio-v2-generation-3B-base"
)


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
        if raw.get("model_type") != MODEL_TYPE:
            raise InvalidCheckpoint(
                f"{path}: model_type is {raw.get('model_type')!r}, not {MODEL_TYPE!r}; use "
                f"{SOURCE} (the revision of 2025-07 has another format)"
            )
        for key, only in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
            if raw.get(key, only) != only:
                raise InvalidCheckpoint(
                    f"{path}: {key} is {raw[key]!r}, only {only!r} is supported"
                )

        def integer(key: str) -> int:
            value = raw.get(key)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidCheckpoint(f"{path}: {key} is {value!r}, not a positive integer")
            return value

        width, num_heads = integer("hidden_size"), integer("num_attention_heads")
        config = cls(
            vocab_size=integer("vocab_size"),
            width=width,
            mlp_width=integer("intermediate_size"),
            num_layers=integer("num_hidden_layers"),
            num_heads=num_heads,
            num_kv_heads=integer("num_key_value_heads"),
            head_dim=integer("head_dim") if raw.get("head_dim") else width // num_heads,
            norm_eps=float(raw.get("rms_norm_eps", 1e-5)),
            rope=_rope(raw, path),
            num_codebooks=integer("num_codebooks"),
            codebook_size=integer("codebook_size"),
            stream_bos_id=integer("audio_stream_bos_id"),
            stream_eos_id=integer("audio_stream_eos_id"),
        )
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


def _rope(raw: Mapping[str, Any], path: str) -> Rope:
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    theta = rope.get("rope_theta", raw.get("rope_theta"))
    if not isinstance(theta, int | float):
        raise InvalidCheckpoint(f"{path}: no rope_theta")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return Rope(theta=float(theta))
    if kind != "llama3":
        raise InvalidCheckpoint(f"{path}: rope_type is {kind!r}, not 'llama3' or 'default'")
    try:
        return Rope(
            theta=float(theta),
            factor=float(rope["factor"]),
            low_freq_factor=float(rope["low_freq_factor"]),
            high_freq_factor=float(rope["high_freq_factor"]),
            original_positions=int(rope["original_max_position_embeddings"]),
        )
    except KeyError as error:
        raise InvalidCheckpoint(f"{path}: rope settings lack {error.args[0]!r}") from error
