"""What is measured and where: the published sizes, or tiny ones to rehearse. Imports no torch."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOS = {
    "model": "bosonai/higgs-audio-v2-generation-3B-base",
    "codec": "bosonai/higgs-audio-v2-tokenizer",
}
RATIOS = (8, 5, 4, 2, 3)
"""Of the codec, both ways."""
EMPTY, WARM, COLD = "empty volume", "files in memory", "files on disk"
"""How a worker finds the weights when it starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The sizes and the places of one run."""

    work: Path
    """Holds the checkpoints, 12.4 GB, and the worker's volume with as much."""
    checkout: Path
    """The tree whose worker is measured. What measures is of this one."""
    is_rehearsal: bool
    model: Mapping[str, Any]
    """Arguments of transformers' `HiggsAudioV2Config`."""
    codec: Mapping[str, Any]
    """Arguments of `tests.oracles.codec.random_encoder`."""
    published_bytes: Mapping[str, int]
    """Of each `model.safetensors`; empty where the sizes are not the published ones."""
    settings: Mapping[str, str]
    """The worker's environment."""
    starts: tuple[str, ...]
    """The states that a worker is started in, one after another."""
    recording_s: int
    """Length of the new voice's recording."""
    num_layers: int
    """Of the model that is compared in float32."""
    num_columns: int
    """Greedy ones, that are compared."""
    codec_s: int
    """Length of the sound whose codes are compared."""
    num_spellings: int
    """Ways to write each control token."""

    @property
    def hub(self) -> Path:
        """What the stand-in hub serves: a folder for each repository."""
        return self.work / "hub"

    @property
    def volume(self) -> Path:
        """The worker's volume."""
        return self.work / "volume"

    def directory(self, kind: str) -> Path:
        """Return where the checkpoint of a kind was built."""
        return self.hub / REPOS[kind]


def real(work: Path, checkout: Path) -> Setup:
    """Return the published sizes; the defaults of transformers' classes are most of them."""
    return Setup(
        work=work,
        checkout=checkout,
        is_rehearsal=False,
        model={"codebook_size": 1026},
        # Source: config.json of bosonai/higgs-audio-v2-tokenizer; what is not there is a default.
        codec={
            "ratios": RATIOS,
            "num_codebooks": 8,
            "codebook_size": 1024,
            "codebook_dim": 64,
            "acoustic_width": 256,
            "encoder_width": 64,
            "decoder_width": 1024,
            "semantic_width": 768,
            "semantic": {
                "intermediate_size": 3072,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "conv_dim": [512] * 7,
                "num_conv_pos_embeddings": 128,
                "num_conv_pos_embedding_groups": 16,
            },
        },
        # Source: the files' sizes at the hub, see docs/sources.md.
        published_bytes={"model": 11_542_613_696, "codec": 805_665_628},
        settings=_settings(os.cpu_count() or 1),
        starts=(EMPTY, WARM, COLD),
        recording_s=60,
        num_layers=4,
        num_columns=40,
        codec_s=10,
        num_spellings=32,
    )


def tiny(work: Path, checkout: Path) -> Setup:
    """Return sizes that a test takes seconds for."""
    return Setup(
        work=work,
        checkout=checkout,
        is_rehearsal=True,
        model={
            "codebook_size": 1026,
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
        },
        codec={
            "ratios": RATIOS,
            "num_codebooks": 8,
            "codebook_size": 1024,
            "codebook_dim": 8,
            "acoustic_width": 16,
            "encoder_width": 4,
            "decoder_width": 32,
            "semantic_width": 16,
        },
        published_bytes={},
        settings=_settings(1),
        starts=(EMPTY, WARM),
        recording_s=2,
        num_layers=1,
        num_columns=12,
        codec_s=1,
        num_spellings=4,
    )


def _settings(num_threads: int) -> dict[str, str]:
    return {
        "HIGGS_MODEL": REPOS["model"],
        "HIGGS_CODEC": REPOS["codec"],
        "HIGGS_DEVICE": "cpu",
        "HIGGS_DTYPE": "bfloat16",
        # Slots would take half of the memory that is left.
        "HIGGS_MAX_SLOTS": "2",
        "HIGGS_MAX_LENGTH": "1024",
        "OMP_NUM_THREADS": str(num_threads),
    }
