"""Checkpoint on disk -> a CodecDecoder in memory.

Reads a checkpoint as transformers writes it. It holds the whole codec, nine tenths of which only
serve encoding. The names and shapes of all tensors are checked, and only the decoder's are read.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from higgs_worker.checkpoint.tensor_file import LoadReport, open_tensors
from higgs_worker.codec.config import SOURCE, CodecConfig
from higgs_worker.codec.decoder import AcousticDecoder, CodecDecoder, fold

NOT_NEEDED_PREFIXES = (
    "acoustic_encoder.",
    "encoder_semantic.",
    "decoder_semantic.",
    "semantic_model.",
    "fc.",
    "fc1.",
)
"""In the file, but not loaded: the encoder, and what only training uses."""

NOT_NEEDED_OF_QUANTIZER = (
    "project_in.weight",
    "project_in.bias",
    "codebook.cluster_size",
    "codebook.embed_avg",
    "codebook.inited",
)
"""The same, within each quantizer."""


def load_decoder(directory: Path, device: torch.device) -> tuple[CodecDecoder, LoadReport]:
    """Load the decoder half of the codec in `directory`, as float32, ready for inference.

    Half-precision tensors are converted. The file is not used any more afterwards.

    Raises:
        WeightsNotFound: a file is missing.
        InvalidCheckpoint: a file is damaged, or its tensors are not those of its configuration.
    """
    started = time.perf_counter()
    config = CodecConfig.from_directory(directory)
    wanted = tensor_shapes(config)
    not_needed = {
        prefix + name for prefix in _quantizers(config) for name in NOT_NEEDED_OF_QUANTIZER
    }
    with open_tensors(
        directory,
        SOURCE,
        wanted=wanted,
        is_not_needed=lambda name: name in not_needed or name.startswith(NOT_NEEDED_PREFIXES),
    ) as file:
        decoder = _build(config, {name: file.read(name) for name in wanted}, device)
        report = LoadReport(file.num_bytes_read, time.perf_counter() - started)
    return decoder, report


def tensor_shapes(config: CodecConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that the decoder needs, by its name in the checkpoint.

    In the published file weight norm is folded in, so a convolution's weight is just `.weight`.
    Source: transformers `HiggsAudioV2TokenizerModel` state dict.
    """
    with torch.device("meta"):
        network = AcousticDecoder(config)
    shapes = {
        f"acoustic_decoder.{name}": tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
    }
    for prefix in _quantizers(config):
        shapes[prefix + "codebook.embed"] = (config.codebook_size, config.codebook_dim)
        shapes[prefix + "project_out.weight"] = (config.hidden_size, config.codebook_dim)
        shapes[prefix + "project_out.bias"] = (config.hidden_size,)
    shapes["fc2.weight"] = (config.acoustic_hidden_size, config.hidden_size)
    shapes["fc2.bias"] = (config.acoustic_hidden_size,)
    return shapes


def weight_bytes(config: CodecConfig) -> int:
    """Return the bytes of a decoder's weights, as they are read."""
    shapes = tensor_shapes(config).values()
    return sum(math.prod(shape) for shape in shapes) * torch.float32.itemsize


def _quantizers(config: CodecConfig) -> list[str]:
    return [f"quantizer.quantizers.{index}." for index in range(config.num_codebooks)]


def _build(
    config: CodecConfig, tensors: Mapping[str, Tensor], device: torch.device
) -> CodecDecoder:
    def of_quantizers(name: str) -> Tensor:
        return torch.stack([tensors[prefix + name] for prefix in _quantizers(config)])

    table, bias = fold(
        of_quantizers("codebook.embed"),
        of_quantizers("project_out.weight"),
        of_quantizers("project_out.bias"),
        tensors["fc2.weight"],
        tensors["fc2.bias"],
    )
    state = {"code_table.table": table, "code_table.bias": bias}
    state |= {name: tensors[name] for name in tensors if name.startswith("acoustic_decoder.")}
    # Always a copy: safetensors' tensors are views of the memory-mapped file.
    state = {name: tensor.to(device, torch.float32, copy=True) for name, tensor in state.items()}
    with torch.device("meta"):  # skips initial values, which are not used
        decoder = CodecDecoder(config)
    decoder.load_state_dict(state, assign=True)
    return decoder.requires_grad_(False).eval()
