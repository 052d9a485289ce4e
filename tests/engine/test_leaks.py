"""A worker that runs for weeks: no sequence leaves memory behind."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from higgs_worker.engine.engine import Engine
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Prompt, Sampling, Submission
from higgs_worker.errors import Cancelled
from tests.engine.pairs import Pairs
from tests.oracles.language_model import random_prompt


def resident_bytes() -> int:
    """Return this process's resident memory in bytes."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_a_thousand_sequences_leave_nothing(pairs: Pairs) -> None:
    """After 300 sequences the resident memory is that of 1,000: less than 2 KB a sequence apart.

    Of all kinds: new and known prefixes, with and without reference, sampled, greedy, cancelled.
    """
    model = pairs(0, "narrow", end=0.5).runner.model
    runner = Runner(model, num_slots=32, max_length=128, prefix_cache_bytes=1 << 20)
    rng = np.random.default_rng(0)
    sizes = []
    with Engine(runner) as engine:
        for number in range(0, 1000, 50):
            handles = []
            for index in range(number, number + 50):
                parts = random_prompt(rng, 10, 10 * (index % 2)).segments
                prompt = Prompt(parts, num_shared=len(parts) - 1)
                sampling = Sampling(seed=index, temperature=0.5 * (index % 3))
                handles.append(engine.submit(Submission(prompt, sampling, 2)))
                if index % 10 == 9:
                    handles[-1].cancel()
            for handle in handles:
                try:
                    handle.result(30)
                except Cancelled:
                    continue
            del handles
            sizes.append(resident_bytes())
    assert sizes[-1] - sizes[5] < 700 * 2048, [size >> 10 for size in sizes]
    assert runner.prefixes.num_bytes <= 1 << 20
