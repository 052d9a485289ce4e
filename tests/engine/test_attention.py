"""What attention asks of CUDA's kernels, seen without CUDA."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from higgs_worker.cuda import HIGH
from higgs_worker.engine import model, runner
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import PrefillChunk, Sampling, Submission
from tests.engine.pairs import Pairs
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


def test_the_engine_runs_first(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    """Its stream has the highest priority, on the runner's device."""
    asked: list[tuple[torch.device, int]] = []
    monkeypatch.setattr(runner, "own_stream", lambda *args: asked.append(args))
    pair = pairs(1, "narrow", end=0.0)
    asked.clear()  # of the pair's own engine
    Runner(pair.runner.model, num_slots=1, max_length=64).own_stream()
    assert asked == [(torch.device("cpu"), HIGH)]
