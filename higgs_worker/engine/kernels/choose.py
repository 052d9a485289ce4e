"""Logits -> one id per slot and codebook: what `sampling.py` does, for all kinds of sampling.

The thresholds of top-k and top-p are not found by sorting, but bit by bit: the largest number for
which what is not below it is still enough.
"""

import triton
import triton.language as tl

from higgs_worker.engine.kernels.dependent import begin


@triton.jit
def ordered(numbers):
    """Return unsigned integers in the same order as float32 numbers."""
    bits = numbers.to(tl.uint32, bitcast=True)
    return bits ^ tl.where(bits >> 31 != 0, 0xFFFFFFFF, 0x80000000)


@triton.jit
def largest_enough(keys, amounts, needed):
    """Return the largest number such that the amounts of all keys from it on are enough."""
    found = tl.full((), 0, tl.uint32)
    bit = tl.full((), 0x80000000, tl.uint32)
    for _ in range(32):
        is_enough = tl.sum(tl.where(keys >= (found | bit), amounts, 0.0)) >= needed
        found = tl.where(is_enough, found | bit, found)
        bit >>= 1
    return found


@triton.jit
def inverted(weights, ids, uniform, SIZE: tl.constexpr):
    """Return the id that a number in [0, 1) picks, in proportion to the weights.

    A parallel sum does not grow from place to place as exactly as a running one: an id of weight 0
    could seem to have been reached, and the largest sum be no last one.
    """
    mass = tl.cumsum(weights, 0)
    target = uniform * tl.max(mass, 0)
    has_weight = weights > 0
    picked = tl.min(tl.where((mass > target) & has_weight, ids, SIZE), 0)
    # Only NaN leads past the end, and then there is no last one either.
    last = tl.max(tl.where(has_weight, ids, 0), 0)
    return tl.minimum(picked, last)


@triton.jit
def choose_kernel(
    logits,  # [B, NUM_CODEBOOKS, SIZE] float32
    temperature,
    top_p,
    top_k,
    ras_window,
    ras_max_repeats,
    counters,  # [B, 5]
    history,  # [rows, NUM_CODEBOOKS] int64
    draws,  # [rows, NUM_CODEBOOKS, 2]
    ids,
    peaks,
    NUM_CODEBOOKS: tl.constexpr,
    SIZE: tl.constexpr,
    STREAM_BOS: tl.constexpr,
    FIRST_STREAM_ID: tl.constexpr,
    MAX_WINDOW: tl.constexpr,
    NUM_COUNTERS: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """Draw the id of one slot and codebook, and once more if it repeats too often."""
    begin(IS_DEPENDENT)
    slot, codebook = tl.program_id(0), tl.program_id(1)
    row = slot * NUM_CODEBOOKS + codebook
    each = tl.arange(0, triton.next_power_of_2(SIZE))
    # Only the ramp may hold stream BOS, and there it is forced.
    is_allowed = (each < SIZE) & (each != STREAM_BOS)
    logit = tl.load(logits + row * SIZE + each, mask=is_allowed, other=float("-inf"))
    is_nan = tl.max((logit != logit).to(tl.int32), 0) != 0
    peak = tl.where(is_nan, float("nan"), tl.max(logit, 0))
    tl.store(peaks + row, peak)

    kept = tl.load(top_k + slot)
    kept = tl.where((kept <= 0) | (kept > SIZE), SIZE, kept).to(tl.float32)
    keys = ordered(logit)
    threshold = largest_enough(keys, tl.full(logit.shape, 1.0, tl.float32), kept)
    # Relative to the largest, so that no temperature can overflow.
    weights = tl.exp((logit - peak) / tl.load(temperature + slot))
    weights = tl.where(keys >= threshold, weights, 0.0)
    needed = tl.load(top_p + slot) * tl.sum(weights, 0)
    threshold = tl.minimum(largest_enough(keys, weights, needed), tl.max(keys, 0))
    weights = tl.where(keys >= threshold, weights, 0.0)
    history_row = tl.load(counters + slot * NUM_COUNTERS + 1)
    own_draws = draws + (history_row * NUM_CODEBOOKS + codebook) * 2
    picked = inverted(weights, each, tl.load(own_draws), SIZE)

    age = tl.arange(0, MAX_WINDOW)
    is_recent = age < tl.load(ras_window + slot)
    recent = tl.load(history + (history_row - 1 - age) * NUM_CODEBOOKS + codebook)
    repeats = tl.sum(((recent == picked) & is_recent).to(tl.int32), 0)
    is_repeated = (repeats >= tl.load(ras_max_repeats + slot)) & (picked < FIRST_STREAM_ID)
    again = inverted(tl.exp(logit - peak), each, tl.load(own_draws + 1), SIZE)
    tl.store(ids + row, tl.where(is_repeated, again, picked))
