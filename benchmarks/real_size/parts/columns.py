"""Greedy columns in float32 at the real widths and a few of the file's layers."""

from collections.abc import Iterator
from typing import Any

import torch

from benchmarks import ours
from benchmarks.gpu.agreement import columns_of, num_equal
from benchmarks.models import GREEDY
from benchmarks.real_size import reference
from benchmarks.real_size.setup import Setup
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Submission
from tests.oracles.language_model import generate

NUM_FRAMES = 12
"""Of the reference: a longer one only takes longer."""


def columns(setup: Setup) -> Iterator[dict[str, Any]]:
    """Greedy columns against transformers', float32, the file's first layers"""
    directory = setup.directory("model")
    theirs = reference.read(directory, torch.float32, setup.num_layers)
    model = ours.copy_of(theirs, 512)
    num_codebooks, differ = theirs.config.num_codebooks, []
    for what, prompt in reference.sample_prompts(directory, NUM_FRAMES).items():
        (wanted,) = generate(theirs, [prompt], setup.num_columns)
        submission = Submission(prompt, GREEDY, setup.num_columns - num_codebooks)
        (drawn,) = columns_of(Runner(model, num_slots=1, max_length=512), [submission])
        equal = num_equal(drawn, wanted)
        differ += [what] if equal < len(wanted) else []
        yield {
            "prompt": what,
            "layers": setup.num_layers,
            "columns": len(wanted),
            "equal": equal,
        }
    if differ:
        raise RuntimeError(f"columns differ after {' and '.join(differ)}")


MEASUREMENTS = (columns,)
