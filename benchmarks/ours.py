"""Our engine, as the benchmarks use it: the counterpart of `theirs.py`."""

from collections.abc import Callable, Sequence

import torch
from transformers import HiggsAudioV2Config, HiggsAudioV2ForConditionalGeneration

from benchmarks import models
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.engine import STEPS_PER_ROUND, Engine
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Prompt, Sampling, Submission

CPU = torch.device("cpu")


def copy_of(reference: HiggsAudioV2ForConditionalGeneration, max_length: int) -> LanguageModel:
    """Return our model with the weights of transformers'."""
    config = ModelConfig.from_dict(reference.config.to_dict())
    weights = Weights.empty(config, device=CPU, number_format=NumberFormat(torch.float32))
    state = reference.state_dict()
    for name, tensor in weights.by_name(config).items():
        tensor.copy_(state[name])
    return LanguageModel(config, weights, max_length)


def random_model(
    reference: HiggsAudioV2Config, max_length: int, dtype: torch.dtype
) -> LanguageModel:
    """Return a random model without a reference, for sizes that memory holds only once."""
    torch.manual_seed(0)
    config = ModelConfig.from_dict(reference.to_dict())
    weights = Weights.empty(config, device=CPU, number_format=NumberFormat(dtype))
    for name, tensor in weights.by_name(config).items():
        models.fill(name, tensor, reference)
    return LanguageModel(config, weights, max_length)


def num_bytes_per_step(config: ModelConfig, dtype: torch.dtype) -> int:
    """Return the bytes of weights that a step reads, without the few embedding rows."""
    weights = Weights.empty(config, device=torch.device("meta"), number_format=NumberFormat(dtype))
    read = [weights.norm, weights.head]
    for layer in weights.layers:
        audio = layer.audio
        read += [layer.qkv, layer.out, audio.input_norm, audio.post_norm, audio.gate_up, audio.down]
    return sum(tensor.nbytes for tensor in read)


def runner(model: LanguageModel, num_slots: int, max_length: int) -> Runner:
    """Return a runner with the default prefix cache."""
    return Runner(model, num_slots=num_slots, max_length=max_length)


def decode(
    runner: Runner,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    num_frames: int,
    read: Callable[[], float],
) -> list[float]:
    """Generate one sequence per slot; read a meter after the prefill and after every step."""
    submissions = [Submission(prompt, sampling, num_frames) for prompt in prompts]
    runner.prefill(
        [PrefillChunk(slot, runner.begin(slot, each)) for slot, each in enumerate(submissions)]
    )
    # The prefill draws the first two columns.
    num_steps = num_frames + runner.model.config.num_codebooks - 2
    readings = [read()]
    for index in range(1, num_steps + 1):
        runner.step()
        if index % STEPS_PER_ROUND == 0 or index == num_steps:
            runner.poll()
        readings.append(read())
    for slot in range(len(prompts)):
        runner.release(slot)
    return readings


def serve(
    runner: Runner, prompts: Sequence[Prompt], sampling: Sampling, lengths: Sequence[int]
) -> None:
    """Generate sequences that all wait from the start, in the runner's slots."""
    submissions = [
        Submission(prompt, sampling, length)
        for prompt, length in zip(prompts, lengths, strict=True)
    ]
    with Engine(runner) as engine:
        engine.generate(submissions)
