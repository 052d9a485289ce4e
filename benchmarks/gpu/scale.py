"""What is measured: the published sizes on a GPU, or tiny ones on a CPU to rehearse.

Nothing here imports torch before it is asked for a device or a dtype.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.roofline import PUBLISHED
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.engine.config import ModelConfig

if TYPE_CHECKING:
    import torch

TINY_MODEL = replace(
    PUBLISHED,
    vocab_size=512,
    width=64,
    mlp_width=128,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
)
INTERPRETED_MODEL = replace(
    TINY_MODEL,
    width=48,
    mlp_width=48,
    num_layers=1,
    num_heads=3,
    num_kv_heads=1,
    num_codebooks=2,
    codebook_size=66,
    stream_bos_id=64,
    stream_eos_id=65,
)
"""A step of it is 65 programs, and Triton's interpreter takes some 10 ms for each."""
MAX_FEW_LAYERS = 8
"""Enough that no weight of a step stays in a cache for the next one."""
# Source: config.json of bosonai/higgs-audio-v2-tokenizer; what is not there has its default.
RATIOS = [8, 5, 4, 2, 3]
REAL_CODEC: dict[str, Any] = {
    "model_type": "higgs_audio_v2_tokenizer",
    "target_bandwidths": [0.5, 1, 1.5, 2],
    "acoustic_model_config": {"downsampling_ratios": RATIOS, "upsampling_ratios": RATIOS},
}
TINY_CODEC: dict[str, Any] = REAL_CODEC | {
    "acoustic_model_config": REAL_CODEC["acoustic_model_config"]
    | {"hidden_size": 16, "encoder_hidden_size": 4, "decoder_hidden_size": 32},
    "semantic_model_config": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
    },
}


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of one run."""

    device_name: str
    dtype_name: str
    """Of the language model; the codec is float32."""
    model: ModelConfig
    codec: EncoderConfig
    """Of the whole codec."""
    parity_layers: int
    """Of the model that is compared in float32."""
    parity_steps: int
    max_length: int
    """Positions per slot."""
    max_slots: int | None
    """None: as many as fit, as a worker takes them."""
    rows: tuple[int, ...]
    """Batch sizes."""
    contexts: tuple[int, int]
    """Positions before a step, a short and a long one."""
    prompt_lengths: tuple[int, int]
    num_steps: int
    """Steps that are timed together."""
    repeats: int
    """How often the same thing is timed."""
    num_frames: int
    """Length of a served sequence."""
    reference_s: tuple[int, ...]
    """Lengths of the encoder's references."""
    kernel_rows: tuple[int, ...]
    """Batch sizes at which single kernels are measured."""
    num_replays: int
    """Of one step, that must all give the same bits."""

    @property
    def is_rehearsal(self) -> bool:
        """Whether the figures mean nothing."""
        return self.device_name == "cpu"

    @property
    def for_kernels(self) -> "Scale":
        """The sizes for fused kernels: on a CPU they are interpreted, program by program."""
        if not self.is_rehearsal:
            return self
        return replace(
            self,
            model=INTERPRETED_MODEL,
            max_slots=1,
            rows=(1,),
            contexts=(20, 20),
            num_steps=1,
        )

    @property
    def few_layers(self) -> "Scale":
        """The same with some layers alone, and few words."""
        few = min(self.model.num_layers, MAX_FEW_LAYERS)
        return replace(self, model=replace(self.model, num_layers=few, vocab_size=512))

    @property
    def device(self) -> "torch.device":
        """Where everything runs."""
        import torch

        return torch.device(self.device_name)

    @property
    def dtype(self) -> "torch.dtype":
        """Of the language model."""
        import torch

        dtype: torch.dtype = getattr(torch, self.dtype_name)
        return dtype


REAL = Scale(
    device_name="cuda",
    dtype_name="bfloat16",
    model=PUBLISHED,
    codec=EncoderConfig.from_dict(REAL_CODEC),
    parity_layers=4,
    parity_steps=100,
    max_length=4096,
    max_slots=None,
    rows=(1, 4, 8, 16, 32, 64),
    contexts=(400, 2000),
    prompt_lengths=(100, 500),
    num_steps=5,
    repeats=5,
    num_frames=250,
    reference_s=(10, 60),
    kernel_rows=(1, 8, 64),
    num_replays=1000,
)
TINY = Scale(
    device_name="cpu",
    dtype_name="float32",
    model=TINY_MODEL,
    codec=EncoderConfig.from_dict(TINY_CODEC),
    parity_layers=1,
    parity_steps=10,
    max_length=128,
    max_slots=2,
    rows=(1, 2),
    contexts=(20, 40),
    prompt_lengths=(10, 20),
    num_steps=2,
    repeats=2,
    num_frames=12,
    reference_s=(1, 2),
    kernel_rows=(2,),
    num_replays=2,
)


def raw_config(config: ModelConfig) -> dict[str, Any]:
    """Return a model's `config.json`, as transformers writes it."""
    rope = config.rope
    return {
        "model_type": "higgs_audio_v2",
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_eps,
        "num_codebooks": config.num_codebooks,
        "codebook_size": config.codebook_size,
        "audio_stream_bos_id": config.stream_bos_id,
        "audio_stream_eos_id": config.stream_eos_id,
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": rope.theta,
            "factor": rope.factor,
            "low_freq_factor": rope.low_freq_factor,
            "high_freq_factor": rope.high_freq_factor,
            "original_max_position_embeddings": rope.original_positions,
        },
    }
