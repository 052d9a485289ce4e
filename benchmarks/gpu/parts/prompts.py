"""Prefill: prompts side by side in one pass, at lengths that are new to the process and at others.

What plans for a shape shows here: the first call at a new length would take longer than the next.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.gpu.devices import median_seconds, seconds
from benchmarks.gpu.models import clear, random_model, text_prompt
from benchmarks.gpu.scale import Scale
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Prompt, Sampling, Submission

COUNTS = (1, 4, 16)
MAX_LENGTH = 1024
NUM_NEW_LENGTHS = 3
MAX_PREFIX = 300
TAIL_LENGTH = 20


def prompts(scale: Scale) -> Iterator[dict[str, Any]]:
    """Prefill in one pass, behind what is cached: the slowest of three new lengths, and again"""
    model = random_model(scale, MAX_LENGTH)
    runner = Runner(model, num_slots=max(COUNTS), max_length=MAX_LENGTH)
    prefix = min(MAX_PREFIX, 16 * scale.prompt_lengths[0])

    def whole(length: int) -> Prompt:
        return text_prompt(length)

    def tail(length: int) -> Prompt:
        return text_prompt(prefix + length, num_own=length)

    with runner.own_stream():
        _prefill(runner, [whole(8)] * 2)()  # loads the libraries
        _prefill(runner, [tail(8)])()  # saves the prefix
        for count in COUNTS:
            for length in scale.prompt_lengths:
                yield {"cached": 0} | _row(runner, count, length, whole, scale)
        for count in COUNTS:
            yield {"cached": prefix} | _row(runner, count, TAIL_LENGTH, tail, scale)


def _row(
    runner: Runner, count: int, length: int, prompt: Callable[[int], Prompt], scale: Scale
) -> dict[str, Any]:
    """Prefill `count` prompts at lengths above `length`, each new, then at the last one again."""
    # Other counts must not have had these lengths, nor the longer prompts these rows.
    lengths = [length + NUM_NEW_LENGTHS * COUNTS.index(count) + i for i in range(NUM_NEW_LENGTHS)]
    new = []
    for each in lengths:
        work = _prefill(runner, [prompt(each)] * count)
        new.append(work())
    again = sorted(work() for _ in range(scale.repeats))[scale.repeats // 2]
    begin_s = median_seconds(runner.device, lambda: _begin(runner, [prompt(length)]), 1)
    clear(runner, 1)
    return {
        "prompts": count,
        "positions": lengths[-1],
        "new_ms": 1e3 * max(new),
        "again_ms": 1e3 * again,
        "begin_one_ms": 1e3 * begin_s,
    }


def _prefill(runner: Runner, prompts: Sequence[Prompt]) -> Callable[[], float]:
    """Return what prefills prompts into free slots, frees them, and returns the prefill's time."""

    def run() -> float:
        chunks = _begin(runner, prompts)
        took = seconds(runner.device, lambda: runner.prefill(chunks))
        clear(runner, len(prompts))
        return took

    return run


def _begin(runner: Runner, prompts: Sequence[Prompt]) -> list[PrefillChunk]:
    return [
        PrefillChunk(slot, runner.begin(slot, Submission(prompt, Sampling(seed=slot), 50)))
        for slot, prompt in enumerate(prompts)
    ]


MEASUREMENTS = (prompts,)
