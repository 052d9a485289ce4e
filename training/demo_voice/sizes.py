"""The sizes of the embedded model, as its `config.json` files."""

from typing import Any

from tokenizers import Tokenizer

from higgs_worker.speech.prompt import Control
from training.demo_voice.frames import CODEBOOK_SIZE, LATENT_DIM, NUM_CODEBOOKS

RATIOS = [8, 5, 4, 2, 3]


def model_config(tokenizer: Tokenizer, *, width: int = 256, layers: int = 6) -> dict[str, Any]:
    """Return `config.json` of the language model, as transformers writes it."""
    return {
        "architectures": ["HiggsAudioV2ForConditionalGeneration"],
        "model_type": "higgs_audio_v2",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": width,
        "intermediate_size": width * 3 // 2,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": width // 4,
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
        "num_codebooks": NUM_CODEBOOKS,
        "codebook_size": CODEBOOK_SIZE + 2,
        "audio_stream_bos_id": CODEBOOK_SIZE,
        "audio_stream_eos_id": CODEBOOK_SIZE + 1,
        "audio_token_id": tokenizer.token_to_id("<|AUDIO_OUT|>"),
        "audio_bos_token_id": tokenizer.token_to_id(Control.AUDIO_OUT_START),
        "audio_delay_token_id": tokenizer.token_to_id("<|reserved_special_token_6|>"),
        "bos_token_id": tokenizer.token_to_id(Control.BEGIN),
        "eos_token_id": tokenizer.token_to_id(Control.END_OF_TURN),
        "pad_token_id": tokenizer.token_to_id("<|end_of_text|>"),
        "dtype": "float16",
    }


def codec_config(*, decoder_width: int = 192) -> dict[str, Any]:
    """Return `config.json` of the codec: the real rates, narrow layers."""
    return {
        "architectures": ["HiggsAudioV2TokenizerModel"],
        "model_type": "higgs_audio_v2_tokenizer",
        "sample_rate": 24000,
        "codebook_size": CODEBOOK_SIZE,
        "codebook_dim": LATENT_DIM,
        "target_bandwidths": [0.5, 1, 1.5, 2],
        "acoustic_model_config": {
            "model_type": "dac",
            "hidden_size": LATENT_DIM,
            "encoder_hidden_size": 8,
            "downsampling_ratios": RATIOS,
            "decoder_hidden_size": decoder_width,
            "upsampling_ratios": RATIOS,
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
