"""Write the trained networks as the package's two checkpoints, in half precision."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from higgs_worker.codec import encoder_loader
from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.loader import tensor_shapes
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from training.demo_voice.frames import LATENT_DIM, Quantiser


def language_model(directory: Path, state: Mapping[str, Tensor], config: dict[str, Any]) -> None:
    """Write the language model's checkpoint, in the format of the real one."""
    plan = Weights.empty(
        ModelConfig.from_dict(config),
        device=torch.device("meta"),
        number_format=NumberFormat(torch.float16),
    ).by_name(ModelConfig.from_dict(config))
    names = {name: state[name if name in state else f"model.{name}"] for name in plan}
    write(directory, config, names)


def codec(
    directory: Path,
    quantiser: Quantiser,
    decoder: Mapping[str, Tensor],
    encoder: Mapping[str, Tensor],
    config: dict[str, Any],
) -> None:
    """Write the codec's checkpoint, in the format of the real one.

    Args:
        directory: where to.
        quantiser: its codebooks.
        decoder: state of the acoustic decoder.
        encoder: state of the acoustic encoder, which gives latents as it is.
        config: its sizes.
    """
    hidden = CodecConfig.from_dict(config).hidden_size
    shapes = encoder_loader.tensor_shapes(EncoderConfig.from_dict(config))
    shapes |= tensor_shapes(CodecConfig.from_dict(config))
    # What nothing was trained for, the semantic half of the encoder, is zero and adds nothing.
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for name in tensors:
        if ("norm" in name and name.endswith("weight")) or name.endswith(("alpha", "original1")):
            tensors[name] += 1.0
    inward = torch.eye(LATENT_DIM, hidden)
    for number, book in enumerate(quantiser.codebooks):
        prefix = f"quantizer.quantizers.{number}."
        tensors[prefix + "codebook.embed"] = book
        tensors[prefix + "project_in.weight"] = inward
        tensors[prefix + "project_out.weight"] = inward.T
    tensors["fc.weight"] = torch.eye(hidden)
    tensors["fc2.weight"] = inward
    tensors |= {f"acoustic_decoder.{name}": value for name, value in decoder.items()}
    tensors |= {f"acoustic_encoder.{name}": value for name, value in encoder.items()}
    if unknown := tensors.keys() - shapes.keys():
        raise ValueError(f"no place for {sorted(unknown)[:3]}")
    write(directory, config, tensors)


def write(directory: Path, config: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write `config.json` and `model.safetensors` into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    path = directory / "model.safetensors"
    halves = {name: value.detach().half().contiguous() for name, value in tensors.items()}
    save_file(halves, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library leaves it readable to its owner alone
