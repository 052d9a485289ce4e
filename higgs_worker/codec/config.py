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

from higgs_worker.checkpoint.config_file import MAX_SIZE, ConfigSection, is_number, read_config

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

MAX_HZ = 192_000
"""The highest rate of recordings; the published codec has 24,000."""
MAX_CODEBOOKS = 64
"""Eight times the published number."""


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
        top = ConfigSection(path, SOURCE, raw)
        if raw.get("model_type") != MODEL_TYPE:
            raise top.wrong(
                "model_type", f"{MODEL_TYPE!r} (the original boson format is not loadable)"
            )
        acoustic = top.section("acoustic_model_config")
        semantic = top.section("semantic_model_config")
        acoustic.require("model_type", "dac")
        acoustic_hidden_size = acoustic.integer("hidden_size", DEFAULT_ACOUSTIC_HIDDEN_SIZE)
        hidden_size = acoustic_hidden_size + semantic.integer(
            "hidden_size", DEFAULT_SEMANTIC_HIDDEN_SIZE
        )
        upsampling = ratios(acoustic, "upsampling_ratios")
        if math.prod(ratios(acoustic, "downsampling_ratios")) != math.prod(upsampling):
            raise acoustic.wrong(
                "downsampling_ratios", f"as many samples per frame as {upsampling}"
            )
        decoder_hidden_size = acoustic.integer("decoder_hidden_size", DEFAULT_DECODER_HIDDEN_SIZE)
        if decoder_hidden_size < 2 ** len(upsampling):
            raise acoustic.wrong("decoder_hidden_size", f"enough to halve {len(upsampling)} times")
        codebook_size = top.integer("codebook_size", 1024, minimum=2)
        sample_rate = top.integer("sample_rate", 24000, most=MAX_HZ)
        bits_per_second = 1000 * _bandwidth_kbps(top)
        frame_rate = math.ceil(sample_rate / math.prod(upsampling))
        num_codebooks = int(bits_per_second // (frame_rate * math.ceil(math.log2(codebook_size))))
        if not 1 <= num_codebooks <= MAX_CODEBOOKS:
            raise top.wrong(
                "target_bandwidths",
                f"enough for 1 to {MAX_CODEBOOKS} codebooks at {frame_rate} frames a second",
            )
        return cls(
            sample_rate=sample_rate,
            num_codebooks=num_codebooks,
            codebook_size=codebook_size,
            codebook_dim=top.integer("codebook_dim", 64),
            hidden_size=hidden_size,
            acoustic_hidden_size=acoustic_hidden_size,
            decoder_hidden_size=decoder_hidden_size,
            upsampling_ratios=upsampling,
        )


def ratios(section: ConfigSection, key: str) -> tuple[int, ...]:
    """Return the resampling factors of the convolutions."""
    # With a ratio of 1 the transposed convolution does not exist: its output padding would have to
    # be smaller than its stride, and is equal to it.
    found = section.integers(key, DEFAULT_RATIOS, minimum=2)
    if math.prod(found) > MAX_SIZE:
        raise section.wrong(key, f"at most {MAX_SIZE} samples per frame")
    return found


def _bandwidth_kbps(section: ConfigSection) -> float:
    """Return the last and highest bandwidth, which uses all codebooks."""
    value = section.value("target_bandwidths", DEFAULT_BANDWIDTHS_KBPS)
    if not (
        isinstance(value, list | tuple)
        and value
        and all(map(is_number, value))
        and abs(value[-1]) < MAX_SIZE
    ):
        raise section.wrong("target_bandwidths", f"a list of numbers below {MAX_SIZE}")
    return float(value[-1])
