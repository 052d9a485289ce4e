"""The sizes of the codec's decoder, read from a checkpoint's `config.json`.

The file is the one that transformers writes for `model_type` "higgs_audio_v2_tokenizer". The
acoustic and the semantic model are nested objects, and an absent key means its class's default. The
encoder's sizes are in `encoder_config.py`; the tensors are read by `loader.py`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from higgs_worker.checkpoint import read_config
from higgs_worker.errors import InvalidCheckpoint

MODEL_TYPE = "higgs_audio_v2_tokenizer"
SOURCE = (
    "config.json and model.safetensors of the main revision of bosonai/higgs-audio-v2-tokenizer"
)

# Defaults of keys that the file lacks.
# Source: transformers `HiggsAudioV2TokenizerConfig` and its `sub_configs_defaults`, `HubertConfig`.
DEFAULT_BANDWIDTHS_KBPS = (0.5, 1, 1.5, 2, 4)
DEFAULT_RATIOS = (8, 5, 4, 2)
DEFAULT_ACOUSTIC_HIDDEN_SIZE = 256
DEFAULT_SEMANTIC_HIDDEN_SIZE = 768
DEFAULT_DECODER_HIDDEN_SIZE = 1024


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """Sizes of everything between codes and PCM."""

    sample_rate: int
    """Of the PCM, in Hz."""
    num_codebooks: int
    codebook_size: int
    codebook_dim: int
    """Width of a codebook's entries."""
    hidden_size: int
    """Width of the quantised latent: the acoustic and the semantic half together."""
    acoustic_hidden_size: int
    """Width of the latents at the first convolution."""
    decoder_hidden_size: int
    """Channels before the first upsampling; each block halves them."""
    upsampling_ratios: tuple[int, ...]

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.upsampling_ratios)

    @property
    def frame_rate(self) -> int:
        """Frames per second, rounded up."""
        return math.ceil(self.sample_rate / self.hop_length)

    @classmethod
    def from_directory(cls, directory: Path) -> "CodecConfig":
        """Read `config.json`.

        Raises:
            WeightsNotFound: the file cannot be read.
            InvalidCheckpoint: it is not the configuration of a Higgs Audio V2 codec.
        """
        return cls.from_dict(read_config(directory, SOURCE), str(directory / "config.json"))

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], path: str = "config.json") -> "CodecConfig":
        """Check and convert a parsed `config.json`; `path` is for the error text.

        Raises:
            InvalidCheckpoint: names the file, the key and what to do.

        Source: transformers `HiggsAudioV2TokenizerConfig`, its properties included.
        """
        top = Section(path, "", raw)
        if raw.get("model_type") != MODEL_TYPE:
            raise InvalidCheckpoint(
                f"{path}: model_type is {raw.get('model_type')!r}, not {MODEL_TYPE!r}; the "
                f"original boson format is not loadable, use {SOURCE}"
            )
        acoustic = top.section("acoustic_model_config")
        semantic = top.section("semantic_model_config")
        if acoustic.value("model_type", "dac") != "dac":
            raise acoustic.wrong("model_type", "'dac'")
        acoustic_hidden_size = acoustic.integer("hidden_size", DEFAULT_ACOUSTIC_HIDDEN_SIZE)
        hidden_size = acoustic_hidden_size + semantic.integer(
            "hidden_size", DEFAULT_SEMANTIC_HIDDEN_SIZE
        )
        ratios = acoustic.ratios("upsampling_ratios")
        if math.prod(acoustic.ratios("downsampling_ratios")) != math.prod(ratios):
            raise acoustic.wrong("downsampling_ratios", f"as many samples per frame as {ratios}")
        decoder_hidden_size = acoustic.integer("decoder_hidden_size", DEFAULT_DECODER_HIDDEN_SIZE)
        if decoder_hidden_size < 2 ** len(ratios):
            raise acoustic.wrong("decoder_hidden_size", f"enough to halve {len(ratios)} times")
        codebook_size = top.integer("codebook_size", 1024)
        if codebook_size < 2:
            raise top.wrong("codebook_size", "at least 2")
        sample_rate = top.integer("sample_rate", 24000)
        bits_per_second = 1000 * top.bandwidth_kbps()
        frame_rate = math.ceil(sample_rate / math.prod(ratios))
        num_codebooks = int(bits_per_second // (frame_rate * math.ceil(math.log2(codebook_size))))
        if num_codebooks < 1:
            raise top.wrong("target_bandwidths", f"enough for one codebook at {frame_rate} Hz")
        return cls(
            sample_rate=sample_rate,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
            codebook_dim=top.integer("codebook_dim", 64),
            hidden_size=hidden_size,
            acoustic_hidden_size=acoustic_hidden_size,
            decoder_hidden_size=decoder_hidden_size,
            upsampling_ratios=ratios,
        )


@dataclass(frozen=True, slots=True)
class Section:
    """One JSON object of the file, and the error messages about it."""

    path: str
    """Of the file, for the error text."""
    prefix: str
    """Name of this object and a dot, for the error text; empty at the top."""
    values: Mapping[str, Any]

    def value(self, key: str, default: Any) -> Any:
        """Return a value unchecked."""
        return self.values.get(key, default)

    def wrong(self, key: str, wanted: str) -> InvalidCheckpoint:
        """Return the error that names the value found and what is wanted."""
        found = repr(self.values[key]) if key in self.values else "absent"
        return InvalidCheckpoint(
            f"{self.path}: {self.prefix}{key} is {found}, not {wanted}; use {SOURCE}"
        )

    def section(self, key: str) -> "Section":
        """Return a nested object; an absent one is empty."""
        values = self.values.get(key)
        if values is not None and not isinstance(values, dict):
            raise self.wrong(key, "an object")
        return Section(self.path, f"{key}.", values or {})

    def integer(self, key: str, default: int) -> int:
        """Return a positive integer."""
        value = self.value(key, default)
        if not _is_positive_integer(value):
            raise self.wrong(key, "a positive integer")
        return int(value)

    def integers(self, key: str, default: tuple[int, ...], minimum: int = 1) -> tuple[int, ...]:
        """Return a non-empty list of integers, each at least `minimum`."""
        value = self.value(key, default)
        if not (
            isinstance(value, list | tuple)
            and value
            and all(_is_positive_integer(item) and item >= minimum for item in value)
        ):
            raise self.wrong(key, f"a list of integers, each at least {minimum}")
        return tuple(value)

    def ratios(self, key: str) -> tuple[int, ...]:
        """Return the resampling factors of the convolutions."""
        # With a ratio of 1 the transposed convolution does not exist: its output padding would have
        # to be smaller than its stride, and is equal to it.
        return self.integers(key, DEFAULT_RATIOS, minimum=2)

    def bandwidth_kbps(self) -> float:
        """Return the last and highest bandwidth, which uses all codebooks."""
        value = self.value("target_bandwidths", DEFAULT_BANDWIDTHS_KBPS)
        if not (
            isinstance(value, list | tuple)
            and value
            and all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
            and math.isfinite(value[-1])
        ):
            raise self.wrong("target_bandwidths", "a list of numbers")
        return float(value[-1])


def _is_positive_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
