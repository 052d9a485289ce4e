"""The oracle of the codec: transformers' own model, on random weights.

transformers initialises codebooks with zeros and convolutions with tiny weights, which decode to
silence. Here the weights are spread so that every layer's output has a magnitude of about one and
the audio an RMS of 0.3. With larger values the snakes' sines would turn many times, and rounding
errors would grow with every block. The semantic model is small; only `random_encoder` prepares it
and the codebooks for encoding.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

from tests.oracles import torchaudio_stand_in

if TYPE_CHECKING:
    from transformers import HiggsAudioV2TokenizerModel

REAL_RATIOS = (8, 5, 4, 2, 3)
RMS = 0.3

CodecOracle: TypeAlias = "HiggsAudioV2TokenizerModel"
"""Only a name at run time: transformers takes seconds to import, so it waits for its first use."""


def _model_class() -> type[CodecOracle]:
    """Import transformers' codec.

    Its file imports torchaudio at the top. It takes the stand-in with it; nobody else does.
    """
    from transformers.models.auto import modeling_auto  # noqa: F401  needs no stand-in

    stands_in = sys.modules.setdefault("torchaudio", torchaudio_stand_in) is torchaudio_stand_in
    try:
        from transformers.models.higgs_audio_v2_tokenizer.modeling_higgs_audio_v2_tokenizer import (
            HiggsAudioV2TokenizerModel,
        )
    finally:
        if stands_in:
            del sys.modules["torchaudio"]
    return HiggsAudioV2TokenizerModel


def random_codec(
    seed: int,
    *,
    ratios: tuple[int, ...] = (4, 3, 2),
    num_codebooks: int = 4,
    codebook_size: int = 32,
    codebook_dim: int = 8,
    acoustic_width: int = 16,
    encoder_width: int = 4,
    semantic_width: int = 16,
    decoder_width: int = 32,
    semantic: dict[str, Any] | None = None,
    **others: Any,
) -> CodecOracle:
    """Return a random codec at 24 kHz, in eval mode.

    `semantic` overrides keys of the semantic model's configuration, `others` of the codec's own.
    """
    from transformers import HiggsAudioV2TokenizerConfig

    hop_length = int(torch.tensor(ratios).prod())
    bits = (codebook_size - 1).bit_length()
    config = HiggsAudioV2TokenizerConfig(
        sample_rate=24000,
        target_bandwidths=[num_codebooks * bits * -(-24000 // hop_length) / 1000],
        codebook_size=codebook_size,
        codebook_dim=codebook_dim,
        acoustic_model_config={
            "model_type": "dac",
            "encoder_hidden_size": encoder_width,
            "hidden_size": acoustic_width,
            "decoder_hidden_size": decoder_width,
            "downsampling_ratios": list(ratios),
            "upsampling_ratios": list(ratios),
        },
        semantic_model_config={
            "model_type": "hubert",
            "hidden_size": semantic_width,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "conv_dim": [8] * 7,
            "num_conv_pos_embeddings": 4,
            "num_conv_pos_embedding_groups": 2,
            **(semantic or {}),
        },
        **others,
    )
    model = _model_class()(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("alpha"):
                tensor.copy_(0.5 + noise.abs())
            elif name.endswith("codebook.embed"):
                tensor.copy_(noise)
            elif "norm" in name and name.endswith("weight"):
                tensor.copy_(1 + 0.1 * noise)
            elif "conv_t1" in name and tensor.dim() == 3:  # two taps of each input reach a sample
                tensor.copy_(0.7 * noise * (2 * tensor.shape[0]) ** -0.5)
            elif tensor.dim() > 1:
                gain = 0.3 if "res_unit" in name and "conv2" in name else 0.7
                tensor.copy_(gain * noise * tensor[0].numel() ** -0.5)
            else:
                tensor.copy_(0.1 * noise)
        last = model.acoustic_decoder.conv2
        rms = decode(model, random_codes(model, 2, 8, seed)).square().mean().sqrt()
        last.weight *= RMS / rms
        last.bias *= RMS / rms
    return model


def random_encoder(seed: int, **sizes: Any) -> CodecOracle:
    """Return a random codec whose codes vary: each codebook has the spread of what it quantises.

    The ratios must make 960 or 480 samples, as HuBERT's frame is 320 samples at 16 kHz.
    """
    model = random_codec(seed, **sizes)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        residual = latents(model, random_pcm(4, 24000, seed)).flatten(0, 1)
        for quantizer in model.quantizer.quantizers:
            projected = quantizer.project_in(residual)
            entries = quantizer.codebook.embed
            noise = torch.randn(entries.shape, generator=generator)
            entries.copy_(projected.mean(0) + projected.std(0) * noise)
            codes = quantizer.codebook.encode(projected)
            residual = residual - quantizer.project_out(quantizer.codebook.decode(codes))
    return model


def random_pcm(batch: int, num_samples: int, seed: int = 0) -> torch.Tensor:
    """Return PCM [B, S] of an RMS of about 0.1 that grows and fades several times a second."""
    generator = torch.Generator().manual_seed(seed)
    loudness = torch.rand(batch, 1, 3 + num_samples // 2400, generator=generator)
    loudness = torch.nn.functional.interpolate(loudness, num_samples, mode="linear")[:, 0]
    return 0.2 * loudness * torch.randn(batch, num_samples, generator=generator)


def random_codes(model: CodecOracle, batch: int, frames: int, seed: int = 0) -> torch.Tensor:
    """Return codes [B, K, F]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, model.config.num_quantizers, frames)
    return torch.randint(model.config.codebook_size, shape, generator=generator)


@torch.inference_mode()
def decode(model: CodecOracle, codes: torch.Tensor) -> torch.Tensor:
    """Decode with transformers: [B, K, F] -> [B, S]."""
    return model.decode(codes).audio_values.squeeze(1)


@torch.inference_mode()
def encode(model: CodecOracle, pcm: torch.Tensor) -> torch.Tensor:
    """Encode with transformers: [B, S] -> [B, K, F]."""
    return model.encode(pcm[:, None]).audio_codes


@torch.inference_mode()
def latents(model: CodecOracle, pcm: torch.Tensor) -> torch.Tensor:
    """Return the latents that transformers quantises: [B, S] -> [B, F, hidden]."""
    outputs: list[torch.Tensor] = []
    hook = model.fc.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        encode(model, pcm)
    finally:
        hook.remove()
    return outputs[0]


@torch.inference_mode()
def features(model: CodecOracle, pcm: torch.Tensor) -> torch.Tensor:
    """Return the HuBERT features that transformers uses: [B, S] -> [B, F, D]."""
    return model._extract_semantic_features(pcm[:, None])


def load(directory: Path) -> CodecOracle:
    """Read a checkpoint as transformers does."""
    return _model_class().from_pretrained(directory).eval()


def save(model: CodecOracle, directory: Path) -> Path:
    """Write the checkpoint as transformers does."""
    model.save_pretrained(directory)
    return directory
