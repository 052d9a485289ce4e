"""Compiles the kernels of a step ahead, and then launches steps, on a card that is not there.

    python -m tests.engine.kernels.warmed

Prints as JSON how many kernels were compiled ahead, and how many more once steps ran; and how often
each was launched.
"""

import json
import sys
from dataclasses import replace

import torch
import triton
from triton.runtime import driver

from benchmarks.roofline import PUBLISHED
from higgs_worker.engine.kernels.compilation import compile_launch, launches
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.runner import Runner
from tests.fakes.card import Card

CONFIG = replace(PUBLISHED, vocab_size=512, num_layers=2)
BF16 = NumberFormat(torch.bfloat16)
NUM_SLOTS, MAX_LENGTH = 8, 512


def main() -> None:
    """Compile, launch, and tell."""
    card, compiled = Card(), []
    driver.set_active(card)
    triton.knobs.compilation.listener = lambda **_: compiled.append(1)
    for launch in launches(CONFIG, BF16, max_rows=NUM_SLOTS, max_length=MAX_LENGTH):
        compile_launch(launch)
    ahead = len(compiled)
    weights = Weights.empty(CONFIG, device=torch.device("cpu"), number_format=BF16)
    model = LanguageModel(CONFIG, weights, MAX_LENGTH)
    runner = Runner(model, num_slots=NUM_SLOTS, max_length=MAX_LENGTH, kernels="triton")
    runner.prepare()
    for num_rows in (1, 2, 8):
        runner._run_step((num_rows, 256), "narrow")
    told = {"ahead": ahead, "later": len(compiled) - ahead, "launched": dict(card.launched)}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
