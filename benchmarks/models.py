"""The models that the benchmarks use: random weights in real shapes.

Logits have a standard deviation of about 3, as trained models have. The head's rows of stream BOS
and EOS are zero, so that no sequence ends by itself and every run has the requested length.
"""

from dataclasses import dataclass

import torch
from transformers import HiggsAudioV2Config, HiggsAudioV2ForConditionalGeneration

from higgs_worker.engine.sequence import Prompt, Sampling, TextSegment

AUDIO_TOKEN, DELAY_TOKEN, AUDIO_BOS, END_OF_TURN, PAD = 490, 491, 492, 493, 494
NUM_WORDS = 480
"""Text ids below the special ones."""
NUM_PROMPT_IDS = 32
LOGIT_SPREAD = 3.0

GREEDY = Sampling(seed=1, temperature=0.0, ras_window=0)
SAMPLED = Sampling(seed=1, temperature=1.0, top_k=50, top_p=0.95, ras_window=7, ras_max_repeats=2)
MODES = {"greedy": GREEDY, "sampled + RAS": SAMPLED}


@dataclass(frozen=True, slots=True)
class Size:
    """The sizes of one model; all have 8 codebooks of 1026 ids."""

    width: int
    mlp_width: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int

    def config(self) -> HiggsAudioV2Config:
        """Return transformers' configuration of this size."""
        return HiggsAudioV2Config(
            vocab_size=self.vocab_size,
            hidden_size=self.width,
            intermediate_size=self.mlp_width,
            num_hidden_layers=self.num_layers,
            num_attention_heads=self.num_heads,
            num_key_value_heads=self.num_kv_heads,
            head_dim=self.head_dim,
            codebook_size=1026,
            audio_token_id=AUDIO_TOKEN,
            audio_delay_token_id=DELAY_TOKEN,
            audio_bos_token_id=AUDIO_BOS,
            bos_token_id=1,
            eos_token_id=END_OF_TURN,
            pad_token_id=PAD,
        )


SIZES = {
    "tiny": Size(64, 128, 2, 4, 2, 16, 512),
    "deep": Size(64, 128, 28, 4, 2, 16, 512),
    "mid": Size(1024, 2816, 8, 16, 4, 64, 32_000),
    "full": Size(3072, 8192, 28, 24, 8, 128, 128_256),
}


def fill(name: str, tensor: torch.Tensor, config: HiggsAudioV2Config) -> None:
    """Fill one tensor of a checkpoint with random values, by its name there."""
    if tensor.ndim == 1:
        tensor.fill_(1.0)
        return
    is_embedding = "embed" in name
    tensor.normal_(std=1.0 if is_embedding else tensor.shape[-1] ** -0.5)
    if name == "audio_lm_head.weight":
        head = tensor.view(config.num_codebooks, config.codebook_size, -1)
        head *= LOGIT_SPREAD
        head[:, [config.audio_stream_bos_id, config.audio_stream_eos_id]] = 0


@torch.no_grad()
def random_reference(size: Size) -> HiggsAudioV2ForConditionalGeneration:
    """Return transformers' model of this size, float32."""
    torch.manual_seed(0)
    config = size.config()
    model = HiggsAudioV2ForConditionalGeneration(config).eval()
    for name, parameter in model.named_parameters():
        fill(name, parameter, config)
    return model


def random_prompts(count: int) -> list[Prompt]:
    """Return text prompts of equal length."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(2, NUM_WORDS, (count, NUM_PROMPT_IDS - 1), generator=generator)
    return [Prompt((TextSegment((*ids, AUDIO_BOS)),)) for ids in words.tolist()]
