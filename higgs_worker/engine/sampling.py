"""Logits -> one id per slot and codebook, as tensors of fixed shape.

The law is transformers': temperature, then top-k (ties with the k-th stay), then top-p, each per
codebook; then repetition-aware sampling (RAS) draws once more from the raw distribution where the
drawn id already stands `ras_max_repeats` times in the last `ras_window` columns. Greedy is
temperature 0.

Every draw is a number in [0, 1) that depends on (seed, step, codebook) alone, turned into an id by
inverting the cumulative distribution. So neighbours in the batch cannot change a request.
Source: transformers `generation_higgs_audio_v2.py`, `logits_process.py`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TOP_WIDTH = 64
"""Ids sorted per draw. Full sorts cost 10 to 146 % of a step (docs/performance.md)."""
NARROW_TOP_K = 50
"""Largest top-k that the sorted ids serve: the rest is room for ties, which bf16 logits have."""
NARROW_WINDOW = 8
"""Largest RAS window of the usual path; the contract's bound is `MAX_WINDOW`."""
MAX_WINDOW = 64


def draws(seed: int, num_steps: int, num_codebooks: int) -> NDArray[np.float32]:
    """Give the random numbers of a sequence, [num_steps, K, 2] in [0, 1): first draw and redraw.

    Counter-based (Philox), from raw bits: the same on every device and in every numpy release, and
    the first steps do not depend on how many follow.
    """
    bits = np.random.Philox(key=seed).random_raw(num_steps * num_codebooks * 2)
    # 24 bits are what float32 holds exactly: more could round up to 1.0.
    uniform = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return uniform.reshape(num_steps, num_codebooks, 2)


def invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """Pick positions in proportion to weights.

    Args:
        weights: [..., N] float32, not negative, not all zero; need not sum to 1.
        uniform: [...] float32 in [0, 1).

    Returns:
        [...] int64; never a position of weight 0.
    """
    mass = weights.cumsum(-1)
    # The largest draw is 1 - 2^-24, and float32 keeps its product with the total below the total.
    target = (uniform * mass[..., -1]).unsqueeze(-1)
    picked = torch.searchsorted(mass, target, right=True).squeeze(-1)
    # Only NaN gets past the end; an index out of range would take the whole device down.
    return picked.clamp_(max=weights.shape[-1] - 1)


def sample(
    logits: Tensor,
    *,
    temperature: Tensor,
    top_k: Tensor,
    top_p: Tensor,
    uniform: Tensor,
    wide: bool,
) -> tuple[Tensor, Tensor]:
    """Draw after temperature, top-k and top-p.

    Args:
        logits: [B, K, V] float32, -inf where an id is not allowed.
        temperature, top_p: [B] float32.
        top_k: [B] int64; 0 keeps all.
        uniform: [B, K] float32 in [0, 1).
        wide: whether any row has a top-k of 0 or above `NARROW_TOP_K`. Rows within it get the same
            ids either way.

    Returns:
        ids [B, K] int64, and the largest logit of each [B, K] float32 (NaN where a logit is).
    """
    if not wide:
        values, ids = logits.topk(TOP_WIDTH)
        return _sample_sorted(values, ids, temperature, top_k, top_p, uniform), values[..., 0]
    values, ids = logits.sort(dim=-1, descending=True)
    narrow = _sample_sorted(
        values[..., :TOP_WIDTH], ids[..., :TOP_WIDTH], temperature, top_k, top_p, uniform
    )
    all_ids = torch.where(top_k == 0, logits.shape[-1], top_k)
    full = _sample_sorted(values, ids, temperature, all_ids, top_p, uniform)
    is_narrow = ((top_k > 0) & (top_k <= NARROW_TOP_K))[:, None]
    return torch.where(is_narrow, narrow, full), values[..., 0]


def _sample_sorted(
    values: Tensor, ids: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor, uniform: Tensor
) -> Tensor:
    """Draw from logits sorted downwards, [B, K, N] each."""
    num_kept = top_k.clamp(1, values.shape[-1])[:, None, None].expand(*values.shape[:2], 1)
    threshold = values.gather(-1, num_kept - 1)
    greedy = temperature == 0
    scale = torch.where(greedy, 1.0, temperature)[:, None, None]
    # Relative to the first, so that no temperature can overflow.
    weights = ((values - values[..., :1]) / scale).exp() * (values >= threshold)
    weights = weights / weights.sum(-1, keepdim=True)
    likelier = weights.cumsum(-1) - weights
    weights[..., 1:] *= likelier[..., 1:] < top_p[:, None, None]
    picked = invert(weights, uniform).masked_fill_(greedy[:, None], 0)
    return ids.gather(-1, picked.unsqueeze(-1)).squeeze(-1)


def redraw_repeats(
    ids: Tensor,
    logits: Tensor,
    peak: Tensor,
    window: Tensor,
    *,
    ras_window: Tensor,
    ras_max_repeats: Tensor,
    uniform: Tensor,
    first_stream_id: int,
) -> Tensor:
    """Apply repetition-aware sampling.

    Args:
        ids: [B, K] as drawn.
        logits: [B, K, V] float32, raw but for ids that are not allowed (-inf).
        peak: [B, K] the largest logit of each.
        window: [B, W, K] the last W columns, the newest first.
        ras_window, ras_max_repeats: [B] int64.
        uniform: [B, K] float32 in [0, 1).
        first_stream_id: stream BOS and EOS, from here on, do not count as repeats.

    Returns:
        [B, K] int64.
    """
    recent = torch.arange(window.shape[1], device=window.device) < ras_window[:, None]
    repeats = (window == ids[:, None]) & recent[..., None]
    again = repeats.sum(1) >= ras_max_repeats[:, None]
    again &= (ids < first_stream_id) & (ras_window > 0)[:, None]
    weights = (logits - peak.unsqueeze(-1)).exp_()
    return torch.where(again, invert(weights, uniform), ids)
