"""Make the embedded demo model: the real architecture and file formats at toy size.

Weights are random, from fixed seeds, so that the same command gives the same bytes:

    python training/random_demo.py
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from higgs_worker.codec import encoder_loader
from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.loader import load_decoder, tensor_shapes
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.weights import Weights
from higgs_worker.prompt import Control

DIRECTORY = Path(__file__).parent.parent / "higgs_worker" / "demo"
SEED = 20250723
LEVEL = 0.1
"""RMS of what the codec makes of random codes: loud enough to hear, far from clipping."""

# Llama 3's word splitter. Source: tokenizer.json of meta-llama/Llama-3.2-3B.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def make_tokenizer() -> Tokenizer:
    """Make a byte-level tokenizer without merges: one id per byte, then the control tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokens = [*Control, "<|end_of_text|>", "<|reserved_special_token_6|>", "<|AUDIO_OUT|>"]
    tokenizer.add_special_tokens([AddedToken(str(token), special=True) for token in tokens])
    return tokenizer


def model_config(tokenizer: Tokenizer) -> dict[str, object]:
    """Give `config.json` of the language model, as transformers writes it."""
    return {
        "architectures": ["HiggsAudioV2ForConditionalGeneration"],
        "model_type": "higgs_audio_v2",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "low_freq_factor": 0.125,
            "high_freq_factor": 0.5,
            "original_max_position_embeddings": 1024,
        },
        "num_codebooks": 8,
        "codebook_size": 1026,
        "audio_stream_bos_id": 1024,
        "audio_stream_eos_id": 1025,
        "audio_token_id": tokenizer.token_to_id("<|AUDIO_OUT|>"),
        "audio_bos_token_id": tokenizer.token_to_id(Control.AUDIO_OUT_START),
        "audio_delay_token_id": tokenizer.token_to_id("<|reserved_special_token_6|>"),
        "bos_token_id": tokenizer.token_to_id(Control.BEGIN),
        "eos_token_id": tokenizer.token_to_id(Control.END_OF_TURN),
        "pad_token_id": tokenizer.token_to_id("<|end_of_text|>"),
        "dtype": "float16",
    }


def codec_config() -> dict[str, object]:
    """Give `config.json` of the codec: the real rates, narrow layers."""
    return {
        "architectures": ["HiggsAudioV2TokenizerModel"],
        "model_type": "higgs_audio_v2_tokenizer",
        "sample_rate": 24000,
        "codebook_size": 1024,
        "codebook_dim": 16,
        "target_bandwidths": [0.5, 1, 1.5, 2],
        "acoustic_model_config": {
            "model_type": "dac",
            "hidden_size": 32,
            "encoder_hidden_size": 8,
            "downsampling_ratios": [8, 5, 4, 2, 3],
            "decoder_hidden_size": 96,
            "upsampling_ratios": [8, 5, 4, 2, 3],
        },
        "semantic_model_config": {
            "model_type": "hubert",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "conv_dim": [16] * 7,
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
        },
        "dtype": "float16",
    }


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
        tensors[name] = values.half()
    return tensors


def write(directory: Path, config: dict[str, object], tensors: dict[str, torch.Tensor]) -> None:
    """Write one checkpoint."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    path = directory / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)  # the library leaves it readable to its owner alone


def main() -> None:
    """Write both checkpoints into the package."""
    tokenizer = make_tokenizer()
    raw = model_config(tokenizer)
    config = ModelConfig.from_dict(raw)
    meta = Weights.empty(config, device=torch.device("meta"), dtype=torch.float16)
    shapes = {name: tuple(place.shape) for name, place in meta.by_name(config).items()}
    model = random_tensors(shapes, SEED)
    # Spread the logits as a trained model does, and leave the end to the cap on length: a random
    # model would end anywhere.
    head = model["audio_lm_head.weight"].view(config.num_codebooks, config.codebook_size, -1)
    head *= 3
    head[:, config.stream_eos_id] = 0
    write(DIRECTORY / "model", raw, model)
    tokenizer.save(str(DIRECTORY / "model" / "tokenizer.json"))

    codec = random_tensors(tensor_shapes(CodecConfig.from_dict(codec_config())), SEED + 1)
    encoder = encoder_loader.tensor_shapes(EncoderConfig.from_dict(codec_config()))
    codec = random_tensors(encoder, SEED + 2) | codec
    write(DIRECTORY / "codec", codec_config(), codec)
    decoder, _ = load_decoder(DIRECTORY / "codec", torch.device("cpu"))
    codes = torch.randint(0, 1024, (1, 8, 50), generator=torch.Generator().manual_seed(SEED))
    codec["acoustic_decoder.conv2.weight"] *= LEVEL / float(decoder(codes).std())
    write(DIRECTORY / "codec", codec_config(), codec)


if __name__ == "__main__":
    main()
