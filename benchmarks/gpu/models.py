"""Random models of the sizes of a scale, and slots filled up to some context."""

import numpy as np
import torch

from benchmarks.gpu.scale import Scale
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.encoder import CodecEncoder
from higgs_worker.codec.encoder_memory import held_bytes
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.int8_matrix import Int8Matrix
from higgs_worker.engine.memory import MemoryPlan, free_memory, plan_memory
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Prompt, Sampling, Submission, TextSegment

LOGIT_SPREAD = 3.0
"""Standard deviation of the logits, about that of a trained model."""
MAX_TEXT_ID = 500
MAX_FRAMES = 200
"""Of the sequences that fill slots: more than are ever stepped, and they never end before."""
TAIL = 8
"""Positions of a filled slot's prompt that are its own."""


@torch.no_grad()
def random_weights(
    config: ModelConfig, device: torch.device, dtype: torch.dtype, *, has_int8_layers: bool = False
) -> Weights:
    """Return weights whose logits spread and whose sequences never end by themselves."""
    torch.manual_seed(0)
    number_format = NumberFormat(dtype, has_int8_layers)
    weights = Weights.empty(config, device=device, number_format=number_format)
    for name, tensor in weights.by_name(config).items():
        std = 1.0 if "embed" in name else tensor.shape[-1] ** -0.5
        if "norm" in name:
            tensor.copy_(torch.ones(tensor.shape))
        elif isinstance(tensor, Int8Matrix):
            tensor.copy_(torch.empty(tensor.shape, device=device, dtype=dtype).normal_(std=std))
        else:
            tensor.normal_(std=std)
    head = weights.head.view(config.num_codebooks, config.codebook_size, -1)
    head *= LOGIT_SPREAD
    head[:, [config.stream_bos_id, config.stream_eos_id]] = 0
    return weights


def random_model(
    scale: Scale, max_length: int | None = None, *, has_int8_layers: bool = False
) -> LanguageModel:
    """Return the language model of a scale, for slots of its length or another one."""
    weights = random_weights(
        scale.model, scale.device, scale.dtype, has_int8_layers=has_int8_layers
    )
    return LanguageModel(scale.model, weights, max_length or scale.max_length)


def random_decoder(scale: Scale) -> CodecDecoder:
    """Return the codec's decoder; it has noise to decode, not silence."""
    torch.manual_seed(0)
    with scale.device:
        decoder = CodecDecoder(scale.codec.codec).requires_grad_(False).eval()
    decoder.code_table.table.normal_()
    return decoder


def random_encoder(scale: Scale) -> CodecEncoder:
    """Return the codec's encoder."""
    torch.manual_seed(0)
    with scale.device:
        return CodecEncoder(scale.codec).requires_grad_(False).eval()


def plan(scale: Scale) -> MemoryPlan:
    """Divide the memory that is free now as a worker does; a rehearsal has its own few slots."""
    return plan_memory(
        scale.model,
        NumberFormat(scale.dtype),
        scale.device,
        free_bytes=free_memory(scale.device),
        max_slots=scale.max_slots,
        max_length=scale.max_length,
        encoder_bytes=held_bytes(scale.codec, scale.reference_s[-1]),
    )


def new_runner(scale: Scale, model: LanguageModel, *, kernels: str = "torch") -> Runner:
    """Return a runner of as many slots as fit.

    Args:
        scale: the sizes.
        model: computes the logits.
        kernels: see `Runner`; `auto` chooses when the runner is prepared, as a worker's does.
    """
    planned = plan(scale)
    return Runner(
        model,
        num_slots=planned.num_slots,
        max_length=planned.max_length,
        prefix_cache_bytes=planned.prefix_cache_bytes,
        kernels=kernels,
    )


def text_prompt(num_positions: int, *, seed: int = 0, num_own: int | None = None) -> Prompt:
    """Return a text prompt of so many positions, the forced first column included.

    Args:
        num_positions: at least 2.
        seed: of the ids.
        num_own: positions at the end that are its own; the ids before them are the same for every
            seed, and are shared. None: nothing is shared.
    """
    own = np.random.default_rng(seed).integers(2, MAX_TEXT_ID, num_positions - 1).tolist()
    if num_own is None:
        return Prompt((TextSegment(tuple(own)),))
    num_shared = num_positions - num_own
    shared = np.random.default_rng(0).integers(2, MAX_TEXT_ID, num_shared).tolist()
    return Prompt((TextSegment(tuple(shared)), TextSegment(tuple(own[num_shared:]))), num_shared=1)


def fill(runner: Runner, num_rows: int, context: int) -> None:
    """Let sampled sequences run in the first slots, each with `context` positions behind it.

    They share a prefix, so that only the first one is prefilled as a whole.
    """
    max_frames = min(MAX_FRAMES, runner.max_frames(text_prompt(context)))

    def begin(slot: int) -> PrefillChunk:
        prompt = text_prompt(context, seed=slot, num_own=TAIL)
        sampling = Sampling(seed=slot, temperature=1.0)
        return PrefillChunk(slot, runner.begin(slot, Submission(prompt, sampling, max_frames)))

    runner.prefill([begin(0)])
    runner.step()
    runner.poll()  # saves the prefix
    if num_rows > 1:
        runner.prefill([begin(slot) for slot in range(1, num_rows)])


def clear(runner: Runner, num_rows: int) -> None:
    """Free the first slots."""
    runner.poll()  # what is known to be finite need not be wiped
    for slot in range(num_rows):
        runner.release(slot)
