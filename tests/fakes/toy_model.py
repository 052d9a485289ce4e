"""A model of random weights in the real architecture and file formats: it never ends by itself."""

import math
from pathlib import Path

import torch

from higgs_worker.codec import encoder_loader
from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.loader import load_decoder, tensor_shapes
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from training.demo_voice import sizes, tokenizer
from training.demo_voice.export import write

SEED = 20250723
LEVEL = 0.1
"""RMS of random codes' audio: loud enough to measure, far from clipping."""


def write_to(directory: Path) -> dict[str, str]:
    """Write both checkpoints; return the settings that name them."""
    reader = tokenizer.load()
    raw = sizes.model_config(reader, width=64, layers=2)
    config = ModelConfig.from_dict(raw)
    meta = Weights.empty(
        config, device=torch.device("meta"), number_format=NumberFormat(torch.float16)
    )
    model = random_tensors({n: tuple(t.shape) for n, t in meta.by_name(config).items()}, SEED)
    # Spread the logits as a trained model does. Zero the end codes' logits, so that sequences end
    # only at the cap on their length.
    head = model["audio_lm_head.weight"].view(config.num_codebooks, config.codebook_size, -1)
    head *= 3
    head[:, config.stream_eos_id] = 0
    write(directory / "model", raw, model)
    reader.save(str(directory / "model" / "tokenizer.json"))

    raw = sizes.codec_config(decoder_width=96)
    codec = random_tensors(tensor_shapes(CodecConfig.from_dict(raw)), SEED + 1)
    codec |= random_tensors(encoder_loader.tensor_shapes(EncoderConfig.from_dict(raw)), SEED + 2)
    write(directory / "codec", raw, codec)
    decoder, _ = load_decoder(directory / "codec", torch.device("cpu"))
    codes = torch.randint(0, 1024, (1, 8, 50), generator=torch.Generator().manual_seed(SEED))
    codec["acoustic_decoder.conv2.weight"] *= LEVEL / float(decoder(codes).std())
    write(directory / "codec", raw, codec)
    return {"HIGGS_MODEL": str(directory / "model"), "HIGGS_CODEC": str(directory / "codec")}


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, torch.Tensor]:
    """Draw weights that keep a signal's level from layer to layer."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in sorted(shapes.items()):
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 1
        values = torch.randn(shape, generator=generator)
        if ("norm" in name and name.endswith("weight")) or name.endswith(("alpha", "original0")):
            values = torch.ones(shape)
        elif name.endswith("bias"):
            values = torch.zeros(shape)
        elif "embed" not in name:
            values *= fan_in**-0.5
        tensors[name] = values
    return tensors
