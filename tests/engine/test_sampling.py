"""The sampler's law, against transformers' warpers and against frequencies."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.engine.sampling import (
    NARROW_TOP_K,
    draws,
    greedy,
    invert,
    redraw_repeats,
    sample,
)

NUM_DRAWS = 16_000


def expected_law(logits: torch.Tensor, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """Probabilities by transformers' warpers."""
    from transformers.generation.logits_process import (
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    scores = TemperatureLogitsWarper(temperature)(None, logits[None])
    if top_k:
        scores = TopKLogitsWarper(top_k)(None, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(None, scores)
    return scores.softmax(-1)[0].double().numpy()


def draw(logits: torch.Tensor, temperature: float, top_k: int, top_p: float) -> torch.Tensor:
    """Draw `NUM_DRAWS` ids at once, with our own random numbers."""
    rows = NUM_DRAWS // 8
    ids, _ = sample(
        logits.expand(rows, 8, -1).clone(),
        temperature=torch.full((rows,), temperature),
        top_k=torch.full((rows,), top_k),
        top_p=torch.full((rows,), top_p),
        uniform=torch.from_numpy(draws(3, rows, 8))[..., 0],
        wide=not 1 <= top_k <= NARROW_TOP_K,
    )
    return ids.flatten()


def deviation(ids: torch.Tensor, law: np.ndarray) -> float:
    """Chi-square test as a normal deviate (Wilson-Hilferty), over cells of at least five draws."""
    counts = np.bincount(ids.numpy(), minlength=len(law))
    assert counts[law == 0].sum() == 0
    expected = law * len(ids)
    large = expected >= 5
    degrees = max(1, int(large.sum()) - 1)
    statistic = ((counts[large] - expected[large]) ** 2 / expected[large]).sum()
    spread = 2 / (9 * degrees)
    return float(((statistic / degrees) ** (1 / 3) - (1 - spread)) / spread**0.5)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [
        (1.0, 50, 0.95),
        (0.3, 50, 0.95),
        (0.7, 5, 1.0),
        (1.0, 0, 1.0),
        (1.3, 200, 0.8),
        (2.0, 1, 0.9),
    ],
)
def test_frequencies_match_transformers(temperature: float, top_k: int, top_p: float) -> None:
    """Many draws fit the law of transformers' warpers, and none falls outside it."""
    logits = 3 * torch.randn(1026, generator=torch.Generator().manual_seed(top_k))
    law = expected_law(logits, temperature, top_k, top_p)
    assert deviation(draw(logits, temperature, top_k, top_p), law) < 4


def test_ties_with_the_kth_stay() -> None:
    """Top-k keeps all ids that tie with the k-th, as transformers does."""
    logits = torch.zeros(1026)
    logits[:10] = torch.tensor([3.0, 2, 2, 2, 2, 2, 2, 1, 1, 1])
    assert set(draw(logits, 1.0, 3, 1.0).tolist()) == set(range(7))


def test_top_p_zero_keeps_the_likeliest() -> None:
    """A top-p of 0 is greedy in effect."""
    logits = torch.randn(1026, generator=torch.Generator().manual_seed(0))
    assert set(draw(logits, 1.0, 50, 0.0).tolist()) == {int(logits.argmax())}


def test_top_k_one_and_a_draw_of_zero_is_greedy() -> None:
    """The likeliest id is taken, and the first of those that tie."""
    logits = torch.randn((4, 8, 1026), generator=torch.Generator().manual_seed(1))
    logits[1] = logits[1].round()
    ids, peak = sample(
        logits,
        temperature=torch.ones(4),
        top_k=torch.ones(4, dtype=torch.int64),
        top_p=torch.ones(4),
        uniform=torch.zeros(4, 8),
        wide=False,
    )
    assert torch.equal(ids, logits.argmax(-1))
    assert torch.equal(peak, logits.amax(-1))
    assert all(torch.equal(a, b) for a, b in zip(greedy(logits), (ids, peak), strict=True))


@pytest.mark.parametrize("temperature", [1e-30, 1e-6, 2.0])
def test_extreme_temperatures_stay_finite(temperature: float) -> None:
    """No temperature in range overflows into NaN or an id that is not allowed."""
    logits = 30 * torch.randn(1026, generator=torch.Generator().manual_seed(2))
    logits[7] = -torch.inf
    ids, _ = sample(
        logits.expand(50, 8, -1).clone(),
        temperature=torch.full((50,), temperature),
        top_k=torch.zeros(50, dtype=torch.int64),
        top_p=torch.ones(50),
        uniform=torch.from_numpy(draws(3, 50, 8))[..., 0],
        wide=True,
    )
    assert 7 not in ids
    assert 0 <= int(ids.min()) <= int(ids.max()) < 1026


def test_narrow_rows_get_the_same_ids_beside_wide_ones() -> None:
    """A neighbour with an unusual top-k does not change anybody's draw."""
    generator = torch.Generator().manual_seed(5)
    logits = 3 * torch.randn((64, 8, 1026), generator=generator)
    settings_ = {
        "temperature": torch.full((64,), 0.8),
        "top_k": torch.full((64,), 50),
        "top_p": torch.full((64,), 0.95),
        "uniform": torch.rand((64, 8), generator=generator),
    }
    for narrow, wide in zip(
        sample(logits, **settings_, wide=False), sample(logits, **settings_, wide=True), strict=True
    ):
        assert torch.equal(narrow, wide)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    weights=st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=30).filter(
        lambda w: sum(w) > 1e-3
    ),
    uniform=st.floats(0, 1 - 2**-24, width=32),
)
def test_inversion_never_picks_weight_zero(weights: list[float], uniform: float) -> None:
    """Whatever the weights and the draw, the position picked has weight."""
    picked = invert(torch.tensor([weights]), torch.tensor([uniform]))
    assert weights[int(picked)] > 0


def test_inversion_survives_nan() -> None:
    """NaN gives some position in range: an index past the end would take a GPU down."""
    assert 0 <= int(invert(torch.full((1, 5), torch.nan), torch.tensor([0.5]))) < 5


def test_draws_are_uniform_and_below_one() -> None:
    """Random numbers fill [0, 1) evenly and never reach 1."""
    numbers = draws(0, 5000, 8)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    histogram = np.histogram(numbers, 20, (0, 1))[0]
    assert np.abs(histogram / numbers.size * 20 - 1).max() < 0.05


def test_draws_depend_on_seed_step_and_codebook_alone() -> None:
    """More steps change nothing in the first ones; another seed changes all."""
    assert np.array_equal(draws(9, 10, 8), draws(9, 500, 8)[:10])
    assert not (draws(9, 10, 8) == draws(10, 10, 8)).any()
    assert draws(2**63 - 1, 1, 8).shape == (1, 8, 2)


def test_draws_are_pinned() -> None:
    """A seed means the same in every release: golden values of this project."""
    golden = [0.3035680055618286, 0.8487087488174438, 0.1561347246170044, 0.031106412410736084]
    assert draws(1, 1, 2).ravel().tolist() == golden


def redraw(ids: list[int], window: list[list[int]], size: int, repeats: int) -> torch.Tensor:
    """Apply RAS to one row; the raw law allows id 0 alone, so a redraw shows as 0."""
    logits = torch.full((1, len(ids), 66), -torch.inf)
    logits[..., 0] = 0.0
    return redraw_repeats(
        torch.tensor([ids]),
        logits,
        logits.amax(-1),
        torch.tensor([window]),
        torch.arange(len(window)),
        ras_window=torch.tensor([size]),
        ras_max_repeats=torch.tensor([repeats]),
        uniform=torch.full((1, len(ids)), 0.5),
        first_stream_id=64,
    )[0]


def test_ras_redraws_at_max_repeats_within_the_window() -> None:
    """Two of the last seven trigger; one does not; what lies before the window does not."""
    window = [[5, 7], [1, 7], [5, 2], [2, 2], [3, 2], [3, 2], [3, 2], [9, 7]]
    assert redraw([5, 7], window, 7, 2).tolist() == [0, 0]
    assert redraw([1, 9], window, 7, 2).tolist() == [1, 9]
    assert redraw([9, 9], window, 8, 1).tolist() == [0, 9]
    assert redraw([9, 9], window, 7, 1).tolist() == [9, 9]


def test_ras_does_not_count_stream_ids() -> None:
    """Repeated start and end codes are no repetition."""
    assert redraw([64, 65], [[64, 65]] * 8, 7, 2).tolist() == [64, 65]


def test_ras_window_zero_is_off() -> None:
    """Nothing is redrawn when the window is 0."""
    assert redraw([5, 5], [[5, 5]] * 8, 0, 1).tolist() == [5, 5]


def test_ras_redraws_from_the_raw_law() -> None:
    """The second draw knows no temperature, top-k or top-p: its frequencies are the raw softmax."""
    logits = torch.randn(66, generator=torch.Generator().manual_seed(4))
    rows = NUM_DRAWS // 8
    ids = redraw_repeats(
        torch.full((rows, 8), 3),
        logits.expand(rows, 8, -1),
        logits.max().expand(rows, 8),
        torch.full((rows, 8, 8), 3),
        torch.arange(8),
        ras_window=torch.full((rows,), 7),
        ras_max_repeats=torch.full((rows,), 2),
        uniform=torch.from_numpy(draws(6, rows, 8))[..., 1],
        first_stream_id=64,
    )
    assert deviation(ids.flatten(), logits.double().softmax(-1).numpy()) < 4
