"""What attention asks of CUDA's kernels, seen without CUDA."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from higgs_worker.cuda import HIGH
from higgs_worker.engine import model, runner
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sampling import Mode
from higgs_worker.engine.sequence import PrefillChunk, Prompt, Sampling, Submission
from higgs_worker.engine.slot_state import SlotState
from tests.engine.pairs import Pairs, converted
from tests.oracles.language_model import random_prompt


@pytest.fixture
def cudnn_attention() -> Any:
    """Restore the process's choice."""
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    yield
    torch.backends.cuda.enable_cudnn_sdp(before)


@pytest.mark.usefixtures("cudnn_attention")
def test_cudnn_is_kept_from_attention_on_a_gpu() -> None:
    """Wherever a model is made for one; a CPU has no say in it."""
    model.turn_cudnn_attention_off(torch.device("cpu"))
    assert torch.backends.cuda.cudnn_sdp_enabled()
    model.turn_cudnn_attention_off(torch.device("cuda:1"))
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_every_model_asks_for_it(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    """With its own device, before the first pass."""
    asked: list[torch.device] = []
    monkeypatch.setattr(model, "turn_cudnn_attention_off", asked.append)
    pairs(1, "narrow", end=0.0)
    assert asked == [torch.device("cpu")]


@pytest.mark.parametrize("max_length", [317, 320])
def test_masks_begin_at_multiples_of_eight(
    max_length: int, pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In steps and in later chunks, whatever the lengths; else CUDA copies them in every layer."""
    masks: list[torch.Tensor] = []
    attend = F.scaled_dot_product_attention

    def see(*args: Any, attn_mask: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        if attn_mask is not None:
            masks.append(attn_mask)
        return attend(*args, attn_mask=attn_mask, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", see)
    pair = pairs(1, "narrow", end=0.0, num_slots=3, max_length=max_length)
    rng = np.random.default_rng(0)
    for slot, size in enumerate((61, 10, 300)):
        left = pair.runner.begin(slot, Submission(random_prompt(rng, size), Sampling(seed=0), 5))
        for count in (5, left - 5):
            pair.runner.prefill([PrefillChunk(slot, count)])
        pair.runner.step()
    for _ in range(3):
        pair.runner.step()
    assert len(masks) == 2 * (3 + 6)  # layers; later chunks and steps
    for mask in masks:
        assert mask.stride(-1) == 1
        assert all(stride % 8 == 0 for stride in mask.stride()[:-1]), mask.stride()
    lengths = {mask.shape[-1] for mask in masks}
    assert lengths == {63, 12, 302, 64, 80, 304, max_length}


def logits_of(
    runner: Runner, prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> list[torch.Tensor]:
    """Return what is drawn from after a whole prompt, after one in two chunks, and in a step."""
    logits: list[torch.Tensor] = []
    draw = runner._columns.draw

    def see(state: SlotState, drawn: torch.Tensor, mode: Mode) -> None:
        logits.append(drawn.clone())
        draw(state, drawn, mode)

    monkeypatch.setattr(runner._columns, "draw", see)
    for slot, prompt in enumerate(prompts):
        left = runner.begin(slot, Submission(prompt, Sampling(seed=0), 5))
        for count in ((left,), (7, left - 7))[slot]:
            runner.prefill([PrefillChunk(slot, count)])
    runner.step()
    return logits


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("int8", 0.2)])
def test_both_orders_of_heads_give_the_same_logits(
    dtype: str, tolerance: float, monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    """CUDA's and a CPU's: the output's weight follows attention."""
    pair = pairs(1, "wide", end=0.0)
    config = pair.runner.model.config
    weights = converted(pair.weights, config, NumberFormat.named(dtype, torch.device("cpu")))
    prompts = [random_prompt(np.random.default_rng(0), size, 5) for size in (20, 31)]
    seen = []
    for is_by_query in (False, True):
        monkeypatch.setattr(model, "returns_heads_by_query", lambda _, by=is_by_query: by)
        runner = Runner(LanguageModel(config, weights, 320), num_slots=2, max_length=320)
        seen.append(logits_of(runner, prompts, monkeypatch))
    assert len(seen[0]) == 3
    for ours, theirs in zip(*seen, strict=True):
        assert torch.allclose(ours, theirs, atol=tolerance)
        # The same sums in another order, which sums of few 8-bit values need not show.
        assert dtype == "int8" or not torch.equal(ours, theirs)


def test_the_engine_runs_first(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    """Its stream has the highest priority, on the runner's device."""
    asked: list[tuple[torch.device, int]] = []
    monkeypatch.setattr(runner, "own_stream", lambda *args: asked.append(args))
    pair = pairs(1, "narrow", end=0.0)
    asked.clear()  # of the pair's own engine
    Runner(pair.runner.model, num_slots=1, max_length=64).own_stream()
    assert asked == [(torch.device("cpu"), HIGH)]
