"""Logits -> one id per slot and codebook, as tensors of fixed shape.

The distribution is transformers': temperature, then top-k (ties with the k-th stay), then top-p,
each per codebook. Repetition-aware sampling (RAS) then redraws an id from the raw distribution if
it occurs `ras_max_repeats` times in the last `ras_window` columns. Greedy is temperature 0.

Every draw is a number in [0, 1) that depends on (seed, step, codebook) alone. Inverting the
cumulative distribution turns it into an id, so neighbours in the batch cannot change a sequence.
Source: transformers `generation_higgs_audio_v2.py`, `logits_process.py`.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from higgs_worker.engine.sequence import Sampling

Mode = Literal["greedy", "narrow", "wide"]
"""Which computation a step needs; a wider one draws the same ids for rows of a narrower mode."""

TOP_WIDTH = 64
"""Logits sorted per draw.

Sorting all of them made a step on a CPU 46 to 146 % longer at 64 wide and 2 layers, 17 to 42 % at
28 layers.
"""
NARROW_TOP_K = 50
"""Largest top-k served by `TOP_WIDTH` logits: the rest is for ties, which bf16 logits have."""
NARROW_WINDOW = 8
"""Largest RAS window, in columns, of the narrow mode."""
MAX_WINDOW = 64
"""Largest RAS window that a request may ask for (docs/requests.md)."""


def mode_of(sampling: Sampling) -> Mode:
    """Return the narrowest mode that serves a sequence."""
    if sampling.is_greedy and not sampling.ras_window:
        return "greedy"
    is_narrow = sampling.is_greedy or 1 <= sampling.top_k <= NARROW_TOP_K
    return "narrow" if is_narrow and sampling.ras_window <= NARROW_WINDOW else "wide"


def widest(modes: Iterable[Mode]) -> Mode:
    """Return the narrowest mode that serves all rows."""
    modes = set(modes)
    return "wide" if "wide" in modes else "narrow" if "narrow" in modes else "greedy"


def draws(seed: int, num_steps: int, num_codebooks: int) -> NDArray[np.float32]:
    """Return the random numbers of a sequence, [num_steps, K, 2] in [0, 1): draw and redraw.

    Counter-based (Philox), from raw bits: the same on every device and in every numpy release. The
    first steps do not depend on how many follow.
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
    # Only NaN leads past the end; an index out of range breaks a GPU's whole context.
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
    """Draw ids after temperature, top-k and top-p.

    Top-k and top-p become one threshold per distribution, found among the largest logits. The draw
    itself inverts the distribution in the order of the ids. Ids that tie with the threshold stay.

    Args:
        logits: [B, K, V] float32, -inf where an id is not allowed.
        temperature, top_p: [B] float32, the temperature above 0.
        top_k: [B] int64; 0 keeps all.
        uniform: [B, K] float32 in [0, 1); 0 draws the first id that is left, so with a top-k of 1
            it is greedy and breaks ties as argmax does.
        wide: whether any row has a top-k of 0 or above `NARROW_TOP_K`. Other rows get the same ids
            either way.

    Returns:
        ids [B, K] int64, and the largest logit of each [B, K] float32 (NaN where a logit is).
    """
    scale = temperature[:, None, None]
    largest = _largest(logits, logits.shape[-1] if wide else TOP_WIDTH)
    threshold = _threshold(largest[..., :TOP_WIDTH], scale, top_k, top_p)
    if wide:
        all_ids = top_k.masked_fill(top_k == 0, logits.shape[-1])
        full = _threshold(largest, scale, all_ids, top_p)
        is_narrow = ((top_k > 0) & (top_k <= NARROW_TOP_K))[:, None, None]
        threshold = torch.where(is_narrow, threshold, full)
    peak = largest[..., :1]
    # Relative to the largest, so that no temperature can overflow.
    weights = ((logits - peak) / scale).exp_().mul_(logits >= threshold)
    return invert(weights, uniform), peak.squeeze(-1)


def greedy(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the likeliest ids [B, K] and their logits [B, K]; of ids that tie, the first."""
    if logits.device.type != "cpu":
        peak, ids = logits.max(-1)
        return ids, peak
    # On a CPU numpy's search takes an eighth of torch's time (docs/performance.md).
    ids = torch.from_numpy(logits.numpy().argmax(-1))
    return ids, logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1)


def _largest(logits: Tensor, count: int) -> Tensor:
    """Return the largest logits, descending, [B, K, count]; NaN sorts above all numbers."""
    if logits.device.type != "cpu":
        return logits.topk(count).values
    # On a CPU numpy selects and sorts in an eighth of torch's time (docs/performance.md).
    rows = np.partition(logits.numpy(), logits.shape[-1] - count)[..., -count:]
    return torch.from_numpy(np.sort(rows)[..., ::-1].copy())


def _threshold(largest: Tensor, scale: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Return the smallest logit that top-k and top-p keep, [B, K, 1], from descending ones."""
    num_kept = top_k.clamp(1, largest.shape[-1])[:, None, None].expand(*largest.shape[:2], 1)
    kth = largest.gather(-1, num_kept - 1)
    weights = ((largest - largest[..., :1]) / scale).exp_().mul_(largest >= kth)
    mass = weights.cumsum(-1)
    # An id stays if the likelier ones together have less than top-p of the mass.
    stays = (mass - weights < top_p[:, None, None] * mass[..., -1:]).logical_and_(weights > 0)
    num_staying = stays.sum(-1, keepdim=True).clamp_(min=1)
    return largest.gather(-1, num_staying - 1)


def redraw_repeats(
    ids: Tensor,
    logits: Tensor,
    peak: Tensor,
    window: Tensor,
    age: Tensor,
    *,
    ras_window: Tensor,
    ras_max_repeats: Tensor,
    uniform: Tensor,
    first_stream_id: int,
) -> Tensor:
    """Apply repetition-aware sampling.

    Args:
        ids: [B, K] as drawn.
        logits: [B, K, V] float32, raw, except -inf where an id is not allowed.
        peak: [B, K] the largest logit of each.
        window: [B, W, K] the last W columns, the newest first.
        age: [W] int64, 0 for the newest.
        ras_window, ras_max_repeats: [B] int64, the latter at least 1.
        uniform: [B, K] float32 in [0, 1).
        first_stream_id: ids from here on, stream BOS and EOS, never count as repeats.

    Returns:
        [B, K] int64.
    """
    recent = age < ras_window[:, None]
    repeats = (window == ids[:, None]) & recent[..., None]
    again = (repeats.sum(1) >= ras_max_repeats[:, None]) & (ids < first_stream_id)
    weights = (logits - peak.unsqueeze(-1)).exp_()
    return torch.where(again, invert(weights, uniform), ids)
