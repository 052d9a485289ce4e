"""An oracle and our engine on the same random weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.loader import load
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Prompt, Sampling, Submission
from tests.oracles.language_model import fix_logits, generate, random_model, save

if TYPE_CHECKING:
    from transformers import HiggsAudioV2ForConditionalGeneration

NUM_CODEBOOKS = 8
GREEDY = Sampling(seed=0, temperature=0.0, ras_window=0)


@dataclass
class Pair:
    """Two networks of one checkpoint."""

    oracle: "HiggsAudioV2ForConditionalGeneration"
    weights: Weights
    runner: Runner
    engine: Engine

    def both(self, prompts: list[Prompt], max_columns: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Generate alone with the oracle and side by side with ours; columns of each."""
        ours = self.engine.generate(
            [Submission(prompt, GREEDY, max_columns - NUM_CODEBOOKS) for prompt in prompts]
        )
        theirs = [generate(self.oracle, [prompt], max_columns)[0] for prompt in prompts]
        return [(own.columns, their) for own, their in zip(ours, theirs, strict=True)]


def converted(weights: Weights, config: ModelConfig, number_format: NumberFormat) -> Weights:
    """Return weights in another format, as the loader would make them."""
    made = Weights.empty(config, device=weights.norm.device, number_format=number_format)
    places = made.by_name(config)
    for name, tensor in weights.by_name(config).items():
        places[name].copy_(tensor)
    return made


Pairs = Callable[..., Pair]
"""`make_pair` with the directory filled in."""


def make_pair(
    directory: Path,
    seed: int,
    size: str,
    *,
    end: float,
    num_slots: int = 8,
    max_length: int = 320,
    max_prefill: int = 512,
    logits: torch.Tensor | None = None,
) -> Pair:
    """Save a random oracle and load it with our loader; fix our logits if they are given."""
    oracle = random_model(seed, size, end=end)
    config, weights, _ = load(
        save(oracle, directory),
        device=torch.device("cpu"),
        number_format=NumberFormat(torch.float32),
    )
    if logits is not None:
        fix_logits(weights, logits)
    runner = Runner(
        LanguageModel(config, weights, max_length), num_slots=num_slots, max_length=max_length
    )
    return Pair(oracle, weights, runner, Engine(runner, max_prefill=max_prefill))
