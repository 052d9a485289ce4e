"""The language model against its oracle: greedy columns equal transformers' `generate`."""

import numpy as np
import pytest
import torch

from higgs_worker.engine.delay import undelay
from higgs_worker.engine.sequence import Sampling, Submission
from higgs_worker.errors import PromptTooLong
from tests.engine.pairs import GREEDY, NUM_CODEBOOKS, Pairs
from tests.oracles.language_model import SIZES, generate, random_prompt


def check(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Compare columns up to where ours stop (all frames are complete then), and frames."""
    assert np.array_equal(ours, theirs[: len(ours)])
    assert np.array_equal(undelay(ours, 64, 65), undelay(theirs, 64, 65))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("size", SIZES)
def test_greedy_columns_equal_generate(seed: int, size: str, pairs: Pairs) -> None:
    """Unequal prompts, with and without reference audio, side by side, equal `generate` alone."""
    pair = pairs(seed, size, end=1.0)
    rng = np.random.default_rng(seed)
    prompts = [random_prompt(rng, count) for count in (9, 20, 47)]
    prompts += [random_prompt(rng, *counts) for counts in ((8, 12), (15, 40))]
    results = pair.both(prompts, max_columns=70)
    for ours, theirs in results:
        check(ours, theirs)
    assert any(len(ours) < 70 for ours, _ in results), "no sequence ended by an end code"


@pytest.mark.parametrize("size", SIZES)
def test_greedy_columns_equal_generate_at_the_cap(size: str, pairs: Pairs) -> None:
    """A sequence that never ends is cut at exactly as many columns as `generate` gives."""
    pair = pairs(7, size, end=0.0)
    rng = np.random.default_rng(7)
    for ours, theirs in pair.both([random_prompt(rng, 10), random_prompt(rng, 20, 9)], 50):
        assert ours.shape == theirs.shape == (50, NUM_CODEBOOKS)
        assert np.array_equal(ours, theirs)


def test_greedy_columns_equal_a_padded_batch(pairs: Pairs) -> None:
    """Our rows of unequal length equal transformers' left-padded batch."""
    pair = pairs(11, "wide", end=1.0)
    rng = np.random.default_rng(11)
    prompts = [random_prompt(rng, count) for count in (8, 30, 17, 25)]
    ours = pair.engine.generate([Submission(p, GREEDY, 52) for p in prompts])
    for own, their in zip(ours, generate(pair.oracle, prompts, 60), strict=True):
        assert np.array_equal(own.columns, their[: len(own.columns)])


def test_more_sequences_than_slots(pairs: Pairs) -> None:
    """Slots are used again, and a reused slot is as good as a fresh one."""
    pair = pairs(5, "narrow", end=1.0, num_slots=2)
    rng = np.random.default_rng(5)
    prompts = [random_prompt(rng, 8 + 3 * i, 10 * (i % 2)) for i in range(7)]
    for ours, theirs in pair.both(prompts, 60):
        check(ours, theirs)


def test_an_attention_bucket_is_crossed(pairs: Pairs) -> None:
    """Columns stay equal when the sequence outgrows the first attention length."""
    pair = pairs(3, "narrow", end=0.0)
    prompt = random_prompt(np.random.default_rng(3), 240)
    ((ours, theirs),) = pair.both([prompt], 60)
    assert np.array_equal(ours, theirs)


def test_sampled_codes_do_not_depend_on_the_batch(pairs: Pairs) -> None:
    """A sampled sequence with RAS is the same alone and beside others, wide ones included."""
    pair = pairs(2, "narrow", end=0.5)
    rng = np.random.default_rng(2)
    prompts = [random_prompt(rng, count) for count in (12, 9, 31, 14)]
    odd = Sampling(seed=4, temperature=1.2, top_k=0, ras_window=30)
    samplings = [Sampling(seed=1, temperature=0.9), Sampling(seed=2), odd, Sampling(seed=1)]
    submissions = [Submission(p, s, 40) for p, s in zip(prompts, samplings, strict=True)]
    together = pair.engine.generate(submissions)
    for submission, result in zip(submissions, together, strict=True):
        (alone,) = pair.engine.generate([submission])
        assert np.array_equal(alone.columns, result.columns)


def test_the_seed_decides(pairs: Pairs) -> None:
    """Same seed, same codes; another seed, other codes."""
    pair = pairs(2, "narrow", end=0.0)
    prompt = random_prompt(np.random.default_rng(0), 12)
    first, second, other = pair.engine.generate(
        [Submission(prompt, Sampling(seed=seed, temperature=1.0), 30) for seed in (5, 5, 6)]
    )
    assert np.array_equal(first.codes, second.codes)
    assert not np.array_equal(first.codes, other.codes)


def test_ras_lowers_repetition(pairs: Pairs) -> None:
    """Without RAS a model with a favourite code repeats it; with RAS it is redrawn."""
    logits = torch.zeros(NUM_CODEBOOKS, 66)
    logits[:, 5] = 1.0
    logits[:, 65] = -1e9
    pair = pairs(2, "narrow", end=0.0, logits=logits)
    prompt = random_prompt(np.random.default_rng(0), 12)
    plain, varied = pair.engine.generate(
        [
            Submission(prompt, Sampling(seed=1, temperature=1e-3, ras_window=window), 60)
            for window in (0, 7)
        ]
    )
    assert len(np.unique(plain.codes)) == 1
    assert len(np.unique(varied.codes)) > 10
    assert max(int((varied.codes[i : i + 8] == 5).sum(axis=0).max()) for i in range(52)) < 6


def test_stream_bos_is_masked_after_the_ramp(pairs: Pairs) -> None:
    """A model that prefers the start code still generates codes."""
    logits = torch.zeros(NUM_CODEBOOKS, 66)
    logits[:, 64] = 100.0
    logits[:, 65] = -1e9
    pair = pairs(2, "narrow", end=0.0, logits=logits)
    prompt = random_prompt(np.random.default_rng(0), 12)
    samplings = [GREEDY, Sampling(seed=1, top_k=0, top_p=1.0), Sampling(seed=1, ras_max_repeats=1)]
    for result in pair.engine.generate([Submission(prompt, s, 60) for s in samplings]):
        assert result.codes.shape == (60, NUM_CODEBOOKS)
        assert result.codes.max() < 64


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (5, 5), (0, 64), (60, 60)])
def test_top_k_reaches_the_sampler(pairs: Pairs, top_k: int, expected: int) -> None:
    """Of logits that fall in steps, exactly as many ids are ever drawn as top-k lets through."""
    logits = torch.arange(66).float().mul(-1e-3).repeat(NUM_CODEBOOKS, 1)
    logits[:, 65] = -1e9
    pair = pairs(2, "narrow", end=0.0, logits=logits)
    prompt = random_prompt(np.random.default_rng(0), 12)
    free = Sampling(seed=1, temperature=2.0, top_k=top_k, top_p=1.0, ras_window=0)
    (result,) = pair.engine.generate([Submission(prompt, free, 240)])
    assert sorted(set(result.codes.ravel().tolist())) == list(range(expected))


def test_a_model_that_ends_at_once(pairs: Pairs) -> None:
    """An end code right after the start gives no frame and ends at once."""
    logits = torch.zeros(NUM_CODEBOOKS, 66)
    logits[:, 65] = 100.0
    pair = pairs(2, "narrow", end=0.0, logits=logits)
    prompt = random_prompt(np.random.default_rng(0), 12)
    (result,) = pair.engine.generate([Submission(prompt, GREEDY, 200)])
    assert result.finish_reason == "stop"
    assert result.codes.shape == (0, NUM_CODEBOOKS)
    assert len(result.columns) <= NUM_CODEBOOKS


def test_a_prompt_that_does_not_fit_is_refused(pairs: Pairs) -> None:
    """Too long a text is refused before anything runs, with what to do."""
    pair = pairs(2, "narrow", end=0.0, max_length=64)
    prompt = random_prompt(np.random.default_rng(0), 50)
    with pytest.raises(PromptTooLong, match="shorter text"):
        pair.engine.generate([Submission(prompt, GREEDY, 25)])
    assert pair.engine.max_frames(prompt) == 64 - 51 - 1 - 8
    (result,) = pair.engine.generate([Submission(prompt, GREEDY, pair.engine.max_frames(prompt))])
    assert len(result.codes) == 4
    assert result.finish_reason == "length"
