"""Joining, leaving and sharing on tiny networks: each sequence is as if it were alone."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from higgs_worker.engine.handle import Handle
from higgs_worker.engine.kv_cache import PrefixCache
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Prompt, Sampling, Submission, TextSegment
from higgs_worker.errors import Cancelled, EngineFailed
from tests.engine.pairs import GREEDY, NUM_CODEBOOKS, Pair, Pairs
from tests.engine.test_exact import check
from tests.oracles.language_model import AUDIO_BOS, generate, random_prompt

MAX_FRAMES = 16
MAX_COLUMNS = MAX_FRAMES + NUM_CODEBOOKS
BAD_ID = 89
"""A text id that random prompts never use."""
SAMPLINGS = (
    GREEDY,
    Sampling(seed=1, temperature=0.9),
    Sampling(seed=2, temperature=1.1, top_k=0, top_p=1.0, ras_window=30),
    Sampling(seed=3, temperature=0.7, top_k=5, ras_max_repeats=1),
)
"""Greedy, narrow and wide steps."""


@dataclass(frozen=True)
class Visit:
    """One sequence's way through the slots; times in steps."""

    at: int
    submission: Submission
    leaves_at: int | None = None


def drive(runner: Runner, visits: list[Visit], rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Run visits step by step; returns the columns of those that are not cancelled.

    Prompts are prefilled in chunks of random size, and now and then a sequence moves.
    """
    waiting = list(range(len(visits)))
    prefill_left: dict[int, int] = {}
    inside: dict[int, int] = {}
    results: dict[int, np.ndarray] = {}
    for now in range(1000):
        for slot, index in list(inside.items()):
            if visits[index].leaves_at == now:
                runner.release(slot)
                del inside[slot]
                prefill_left.pop(slot, None)
        free = [slot for slot in range(runner.num_slots) if slot not in inside]
        for index in [i for i in waiting if visits[i].at <= now][: len(free)]:
            waiting.remove(index)
            slot = free.pop(0)
            inside[slot] = index
            prefill_left[slot] = runner.begin(slot, visits[index].submission)
        chunks = [
            PrefillChunk(slot, int(rng.integers(1, left + 1)))
            for slot, left in prefill_left.items()
            if rng.random() < 0.7
        ]
        if chunks:
            runner.prefill(chunks)
            for chunk in chunks:
                prefill_left[chunk.slot] -= chunk.num_positions
            prefill_left = {slot: left for slot, left in prefill_left.items() if left}
        running = [slot for slot in inside if slot not in prefill_left]
        free = [slot for slot in range(runner.num_slots) if slot not in inside]
        if running and free and rng.random() < 0.3:
            source, target = int(rng.choice(running)), int(rng.choice(free))
            runner.move(source, target)
            inside[target] = inside.pop(source)
        runner.step()
        progress = runner.poll()
        for slot, index in list(inside.items()):
            if slot not in prefill_left and progress.done[slot]:
                assert not progress.failed[slot]
                results[index] = runner.columns(slot, int(progress.num_columns[slot]))
                runner.release(slot)
                del inside[slot]
        if not (waiting or inside):
            return results
    raise AssertionError("visits that never end")


def ask(prompt: Prompt, sampling: Sampling = GREEDY, max_frames: int = MAX_FRAMES) -> Submission:
    """Ask for a short sequence."""
    return Submission(prompt, sampling, max_frames)


def alone(pair: Pair, prompt: Prompt) -> np.ndarray:
    """Let the oracle generate."""
    return generate(pair.oracle, [prompt], MAX_COLUMNS)[0]


def run_alone(runner: Runner, submission: Submission, *, slot: int = 0) -> tuple[int, np.ndarray]:
    """Run one sequence to its end; returns the positions prefilled and its columns."""
    num_positions = runner.begin(slot, submission)
    runner.prefill([PrefillChunk(slot, num_positions)])
    for _ in range(submission.max_frames + NUM_CODEBOOKS):
        runner.step()
    progress = runner.poll()
    assert progress.done[slot]
    assert not progress.failed[slot], "not finite"
    columns = runner.columns(slot, int(progress.num_columns[slot]))
    runner.release(slot)
    return num_positions, columns


@pytest.mark.parametrize("seed", range(4))
def test_random_company_is_token_exact(seed: int, pairs: Pairs) -> None:
    """Joining at any step, in reused slots, beside cancelled ones: columns equal `generate`."""
    pair = pairs(seed, ("narrow", "wide")[seed % 2], end=(0.0, 1.0)[seed // 2], num_slots=3)
    rng = np.random.default_rng(seed)
    visits = []
    for number in range(11):
        prompt = random_prompt(rng, int(rng.integers(8, 40)), int(rng.integers(0, 12)))
        at = int(rng.integers(0, 40))
        leaves = at + int(rng.integers(1, 25)) if number % 3 == 2 else None
        visits.append(Visit(at, ask(prompt), leaves))
    results = drive(pair.runner, visits, rng)
    stayed = [index for index, visit in enumerate(visits) if visit.leaves_at is None]
    assert set(results) >= set(stayed)
    for index in stayed:
        check(results[index], alone(pair, visits[index].submission.prompt))


def test_random_company_in_the_engine_is_token_exact(pairs: Pairs) -> None:
    """The same through the engine's thread, while others are cancelled at any moment."""
    pair = pairs(5, "narrow", end=1.0, num_slots=3, max_prefill=16)
    rng = np.random.default_rng(5)
    prompts = [random_prompt(rng, int(rng.integers(8, 40))) for _ in range(12)]
    handles: list[Handle] = []
    for number, prompt in enumerate(prompts):
        handles.append(pair.engine.submit(ask(prompt)))
        if number % 3 == 2:
            handles[number - 2].result(60)
            handles[number].cancel()
    for number, (prompt, handle) in enumerate(zip(prompts, handles, strict=True)):
        try:
            check(handle.result(60).columns, alone(pair, prompt))
        except Cancelled:
            assert number % 3 == 2


@pytest.mark.parametrize("reference", [0, 30])
def test_the_size_of_the_chunks_does_not_matter(reference: int, pairs: Pairs) -> None:
    """A prompt prefilled in chunks of 1, 7 or 64 gives the columns of `generate`."""
    pair = pairs(6, "narrow", end=0.0)
    prompt = random_prompt(np.random.default_rng(6), 35, reference)
    theirs = alone(pair, prompt)
    for size in (1, 7, 64):
        left = pair.runner.begin(1, ask(prompt))
        while left:
            count = min(size, left)
            pair.runner.prefill([PrefillChunk(1, count)])
            left -= count
        for _ in range(MAX_COLUMNS):
            pair.runner.step()
        assert np.array_equal(pair.runner.columns(1, MAX_COLUMNS), theirs)
        pair.runner.release(1)


def test_prefill_between_the_steps_of_others(pairs: Pairs) -> None:
    """Steps of other slots during a prefill change nothing on either side."""
    pair = pairs(8, "wide", end=0.0)
    runner, rng = pair.runner, np.random.default_rng(8)
    prompts = [random_prompt(rng, 10), random_prompt(rng, 30, 8), random_prompt(rng, 12)]
    for slot in (0, 2):
        runner.prefill([PrefillChunk(slot, runner.begin(slot, ask(prompts[slot])))])
    left = runner.begin(1, ask(prompts[1]))
    while left:
        runner.step()
        count = min(11, left)
        runner.prefill([PrefillChunk(1, count)])
        left -= count
        runner.step()
    for _ in range(MAX_COLUMNS):
        runner.step()
    for slot, prompt in enumerate(prompts):
        assert np.array_equal(runner.columns(slot, MAX_COLUMNS), alone(pair, prompt))


@pytest.mark.parametrize("seed", range(3))
def test_sampled_columns_do_not_depend_on_company(seed: int, pairs: Pairs) -> None:
    """Alone or beside sequences of every mode that come and go: the same columns."""
    pair = pairs(seed, "narrow", end=0.5, num_slots=4)
    rng = np.random.default_rng(seed)
    visits = [
        Visit(
            int(rng.integers(0, 20)),
            ask(random_prompt(rng, int(rng.integers(5, 30))), SAMPLINGS[number % 4], 24),
            int(rng.integers(20, 40)) if number % 5 == 4 else None,
        )
        for number in range(12)
    ]
    together = drive(pair.runner, visits, rng)
    for index, visit in enumerate(visits):
        if visit.leaves_at is None:
            (columns,) = drive(pair.runner, [Visit(0, visit.submission)], rng).values()
            assert np.array_equal(together[index], columns)


def test_a_shared_prefix_is_prefilled_once(pairs: Pairs) -> None:
    """A second prompt with the same reference prefills only its own text, with equal columns."""
    pair = pairs(9, "narrow", end=0.0)
    rng = np.random.default_rng(9)
    voice = random_prompt(rng, 10, 20).segments[:3]
    num_shared = 10 + 1 + (20 + NUM_CODEBOOKS + 1) + 2 + 10
    for number in range(3):
        words = tuple(int(i) for i in rng.integers(2, 89, 6))
        prompt = Prompt((*voice, TextSegment((*words, AUDIO_BOS))), num_shared=3)
        num_prefilled, columns = run_alone(pair.runner, ask(prompt), slot=number)
        assert num_prefilled == 6 + 1 + 1 + (0 if number else num_shared)
        assert np.array_equal(columns, alone(pair, prompt))


def test_a_prefix_is_saved_from_a_prompt_in_chunks(pairs: Pairs) -> None:
    """A prefix is saved once a poll has seen that its sequence is finite, and not before."""
    pair = pairs(9, "narrow", end=0.0)
    first, second = (TextSegment(tuple(range(2, 42))), TextSegment((5, 6, AUDIO_BOS)))
    prompt = Prompt((first, second), num_shared=1)
    assert pair.runner.begin(0, ask(prompt)) == 44
    pair.runner.prefill([PrefillChunk(0, 39)])
    assert pair.runner.begin(1, ask(prompt)) == 44
    pair.runner.prefill([PrefillChunk(0, 5), PrefillChunk(1, 10)])
    assert pair.runner.begin(2, ask(prompt)) == 44
    pair.runner.poll()
    pair.runner.release(0)
    num_prefilled, columns = run_alone(pair.runner, ask(prompt), slot=3)
    assert num_prefilled == 4
    assert np.array_equal(columns, alone(pair, prompt))


def test_another_prefix_is_another_prefix(pairs: Pairs) -> None:
    """If one id or one code differs, nothing is shared."""
    pair = pairs(9, "narrow", end=0.0)
    voice = random_prompt(np.random.default_rng(9), 10, 20).segments
    codes = voice[1].codes.copy()
    codes[7, 3] += 1 if codes[7, 3] < 63 else -1
    others = [
        (TextSegment((*voice[0].ids[:-1], 3, voice[0].ids[-1])), *voice[1:]),
        (voice[0], type(voice[1])(codes), *voice[2:]),
    ]
    run_alone(pair.runner, ask(Prompt(voice, num_shared=3)))
    for segments in others:
        prompt = Prompt(segments, num_shared=3)
        num_prefilled, columns = run_alone(pair.runner, ask(prompt))
        assert num_prefilled > 40
        assert np.array_equal(columns, alone(pair, prompt))
    before = pair.runner.stats()
    run_alone(pair.runner, ask(Prompt(voice, num_shared=3)))
    after = pair.runner.stats()
    assert after.num_prefix_hits == before.num_prefix_hits + 1
    assert after.num_prefix_misses == before.num_prefix_misses


def test_prefixes_are_bounded_in_bytes() -> None:
    """The least recently used is dropped first; one that is too large is not saved."""
    cache = PrefixCache(100)
    for key in (b"a", b"b"):
        cache.put(key, torch.zeros(10))
    assert cache.get(b"a") is not None
    cache.put(b"c", torch.zeros(10))
    assert [cache.get(key) is not None for key in (b"a", b"b", b"c")] == [True, False, True]
    cache.put(b"d", torch.zeros(26))
    assert [cache.get(key) is not None for key in (b"a", b"c", b"d")] == [True, True, False]
    assert cache.num_bytes == 80
    cache.put(b"e", torch.zeros(25))
    assert cache.num_bytes == 100
    assert cache.get(b"a") is None
    cache.put(b"e", torch.zeros(25))
    assert cache.num_bytes == 100


def test_without_a_prefix_cache_all_is_prefilled(pairs: Pairs) -> None:
    """A cache of 0 bytes saves nothing and changes no column."""
    pair = pairs(9, "narrow", end=0.0)
    runner = Runner(pair.runner.model, num_slots=1, max_length=320, prefix_cache_bytes=0)
    prompt = Prompt(random_prompt(np.random.default_rng(9), 10, 20).segments, num_shared=3)
    for _ in range(2):
        num_prefilled, columns = run_alone(runner, ask(prompt))
        assert num_prefilled == 54
        assert np.array_equal(columns, alone(pair, prompt))
    assert runner.prefixes.num_bytes == 0


def poison(pair: Pair) -> None:
    """Make the model compute NaN for prompts with `BAD_ID`."""
    pair.weights.embed_text[BAD_ID] = torch.nan


def test_nan_fails_its_own_sequence(pairs: Pairs) -> None:
    """A sequence with a NaN fails; the others are exact, also the next one in its slot."""
    pair = pairs(10, "narrow", end=0.0, num_slots=3)
    rng = np.random.default_rng(10)
    poison(pair)
    prompts = [random_prompt(rng, 9 + number) for number in range(6)]
    bad = Prompt((TextSegment((*range(2, 60), BAD_ID, AUDIO_BOS)),))
    handles = [pair.engine.submit(ask(p)) for p in (prompts[0], bad, *prompts[1:])]
    with pytest.raises(EngineFailed, match="not a number"):
        handles.pop(1).result(60)
    for prompt, handle in zip(prompts, handles, strict=True):
        assert np.array_equal(handle.result(60).columns, alone(pair, prompt))


@pytest.mark.parametrize("num_prefilled", [40, 59])
def test_nan_left_by_a_cancelled_prompt_stays_there(num_prefilled: int, pairs: Pairs) -> None:
    """A slot is clean for the next sequence even if the prompt with NaN never ran."""
    pair = pairs(10, "narrow", end=0.0)
    poison(pair)
    pair.runner.begin(0, ask(Prompt((TextSegment((*range(2, 32), BAD_ID, *range(2, 32))),))))
    pair.runner.prefill([PrefillChunk(0, num_prefilled)])
    pair.runner.release(0)
    prompt = random_prompt(np.random.default_rng(10), 8)
    assert np.array_equal(run_alone(pair.runner, ask(prompt))[1], alone(pair, prompt))


def test_nan_is_not_saved_as_a_prefix(pairs: Pairs) -> None:
    """After one wrong computation the next request with the same prefix works."""
    pair = pairs(10, "narrow", end=0.0)
    ids = (*range(2, 32), BAD_ID, *range(2, 32))
    prompt = Prompt((TextSegment(ids), TextSegment((7, AUDIO_BOS))), num_shared=1)
    theirs, right = alone(pair, prompt), pair.weights.embed_text[BAD_ID].clone()
    poison(pair)
    with pytest.raises(EngineFailed):
        pair.engine.submit(ask(prompt)).result(60)
    pair.weights.embed_text[BAD_ID] = right
    assert np.array_equal(pair.engine.submit(ask(prompt)).result(60).columns, theirs)


def test_a_sequence_that_cannot_begin_fails_alone(pairs: Pairs) -> None:
    """A sequence that the runner refuses (a seed below 0) fails; neighbours and slot are fine."""
    pair = pairs(10, "narrow", end=0.0, num_slots=2)
    prompt = random_prompt(np.random.default_rng(10), 12)
    bad = pair.engine.submit(ask(prompt, Sampling(seed=-1)))
    good = [pair.engine.submit(ask(prompt)) for _ in range(3)]
    with pytest.raises(EngineFailed):
        bad.result(60)
    theirs = alone(pair, prompt)
    for handle in good:
        assert np.array_equal(handle.result(60).columns, theirs)
