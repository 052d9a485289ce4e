"""Both checkpoints with random weights, as the published repositories have them.

transformers' own classes give names and shapes, so the files have the published sizes to the byte.
The language model is written tensor by tensor: it is never in memory as a whole.
"""

import hashlib
import json
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu.checkpoints import write_tensors
from benchmarks.real_size.setup import Setup
from benchmarks.real_size.vocabulary import (
    NUM_SPECIAL,
    Ranks,
    published_ranks,
    tiny_ranks,
    tokenizer,
)
from tests.oracles import codec

if TYPE_CHECKING:
    from transformers import HiggsAudioV2Config

SEED = 20250723
WEIGHTS = "model.safetensors"
LISTING = "listing.json"
"""In each folder that the stand-in hub serves: the sha256 of the weights, and what they were built
from."""
LOGIT_SPREAD = 3.0
"""Standard deviation of the logits, about that of a trained model."""
NUM_WRITERS = 2
"""Tensors that are made at the same time; the largest has 0.8 GB."""
NUM_NORMALS = (1 << 25) + 39
"""Random numbers that are drawn. Drawing all of 5.8 billion would take minutes. The number is odd,
so that a tensor with more of them repeats no row at the same place."""


def build(setup: Setup, kind: str) -> dict[str, Any]:
    """Build the checkpoint of a kind unless it is there; returns its sizes.

    Raises:
        RuntimeError: the weights have not the published size.
    """
    directory = setup.directory(kind)
    recipe = [SEED, repr(dict(setup.model if kind == "model" else setup.codec))]
    listing, weights = directory / LISTING, directory / WEIGHTS
    is_reused = listing.exists() and json.loads(listing.read_text())["recipe"] == recipe
    if not is_reused:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        _write_model(setup, directory) if kind == "model" else _write_codec(setup, directory)
        with weights.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        listing.write_text(json.dumps({"recipe": recipe, "sha256": {WEIGHTS: sha256}}))
    num_bytes = weights.stat().st_size
    published = setup.published_bytes.get(kind, num_bytes)
    if num_bytes != published:
        raise RuntimeError(
            f"{weights} has {num_bytes:,} bytes, and the published one {published:,}"
        )
    return {"num_tensors": _num_tensors(weights), "num_bytes": num_bytes, "is_reused": is_reused}


def ranks(setup: Setup) -> Ranks:
    """Return the vocabulary of this size."""
    return tiny_ranks() if setup.is_rehearsal else published_ranks()


def model_config(setup: Setup, num_ranks: int) -> "HiggsAudioV2Config":
    """Return the language model's configuration for a vocabulary."""
    from transformers import HiggsAudioV2Config

    return HiggsAudioV2Config(
        vocab_size=num_ranks + NUM_SPECIAL,
        audio_token_id=num_ranks + 16,
        audio_delay_token_id=num_ranks + 14,
        audio_bos_token_id=num_ranks + 13,
        eos_token_id=num_ranks + 9,
        pad_token_id=num_ranks + 1,
        dtype="bfloat16",
        architectures=["HiggsAudioV2ForConditionalGeneration"],
        **setup.model,
    )


def model_tensors(config: "HiggsAudioV2Config") -> dict[str, torch.Tensor]:
    """Return the language model's tensors without values, the text head included."""
    from transformers import HiggsAudioV2ForConditionalGeneration

    with torch.device("meta"):
        model = HiggsAudioV2ForConditionalGeneration(config, use_text_head=True)
    return dict(model.to(torch.bfloat16).state_dict())


def _write_model(setup: Setup, directory: Path) -> None:
    ids_by_token = ranks(setup)
    config = model_config(setup, len(ids_by_token))
    config.save_pretrained(directory)
    tokenizer(ids_by_token).save(str(directory / "tokenizer.json"))
    # Source: transformers `convert_higgs_audio_v2_to_hf.py`.
    generation = {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "ras_win_len": 7,
        "ras_win_max_num_repeat": 2,
        "use_text_head": True,
    }
    (directory / "generation_config.json").write_text(json.dumps(generation, indent=2))
    tensors = model_tensors(config)
    values = _RandomValues(config, tensors)
    write_tensors(directory / WEIGHTS, tensors, values.of, NUM_WRITERS)


class _RandomValues:
    """Makes the language model's tensors, at scales that keep a signal's level in every layer."""

    def __init__(self, config: "HiggsAudioV2Config", tensors: Mapping[str, torch.Tensor]) -> None:
        self._config, self._tensors = config, tensors
        self._normals = torch.empty(NUM_NORMALS, dtype=torch.bfloat16)
        self._normals.normal_(generator=torch.Generator().manual_seed(SEED))

    def of(self, name: str) -> torch.Tensor:
        """Return the values of a tensor."""
        made = torch.empty_like(self._tensors[name], device="cpu")
        if "norm" in name:
            self._fill(made, name, 0.1)
            return made.add_(1)
        self._fill(made, name, 1.0 if "embed" in name else made.shape[-1] ** -0.5)
        if name == "audio_lm_head.weight":
            head = made.view(self._config.num_codebooks, self._config.codebook_size, -1)
            head *= LOGIT_SPREAD
            # No sequence ends by itself, and neither id is drawn where transformers lets it be.
            head[:, [self._config.audio_stream_bos_id, self._config.audio_stream_eos_id]] = 0
        return made

    def _fill(self, tensor: torch.Tensor, name: str, scale: float) -> None:
        """Fill a tensor from a place in the random numbers that is its own."""
        values, start = tensor.view(-1), zlib.crc32(name.encode()) % NUM_NORMALS
        while len(values):
            part = self._normals[start : start + len(values)]
            torch.mul(part, scale, out=values[: len(part)])
            values, start = values[len(part) :], 0


def _write_codec(setup: Setup, directory: Path) -> None:
    """Write the codec by transformers itself: it fits into memory, and is made to have codes."""
    codec.save(codec.random_encoder(SEED, **setup.codec), directory)


def _num_tensors(path: Path) -> int:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return len(header.keys() - {"__metadata__"})
