"""Ids as drawn -> the new column of each slot, and its counters: the end of `Columns.draw`."""

import triton
import triton.language as tl

from higgs_worker.engine.kernels.dependent import begin


@triton.jit
def settle_kernel(
    ids,  # [B, NUM_CODEBOOKS], as drawn
    peaks,
    column,
    counters,
    history,
    health,
    NUM_CODEBOOKS: tl.constexpr,
    STREAM_BOS: tl.constexpr,
    STREAM_EOS: tl.constexpr,
    NEVER: tl.constexpr,
    NUM_COUNTERS: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """Make the new column of one slot and advance its counters, as `Columns.draw` says."""
    begin(IS_DEPENDENT)
    slot = tl.program_id(0)
    codebook = tl.arange(0, triton.next_power_of_2(NUM_CODEBOOKS))
    is_codebook = codebook < NUM_CODEBOOKS
    own = counters + slot * NUM_COUNTERS
    position, history_row, step = tl.load(own), tl.load(own + 1), tl.load(own + 2)
    since_end, overdue = tl.load(own + 3), tl.load(own + 4)
    places = slot * NUM_CODEBOOKS + codebook
    drawn = tl.load(ids + places, mask=is_codebook, other=0)
    new = tl.where(codebook < since_end, STREAM_EOS, drawn)
    new = tl.where(codebook < step, new, STREAM_BOS)
    tl.store(column + places, new, mask=is_codebook)
    tl.store(history + history_row * NUM_CODEBOOKS + codebook, new, mask=is_codebook)
    peak = tl.load(peaks + places, mask=is_codebook, other=0.0)
    old = tl.load(health + places, mask=is_codebook, other=0.0)
    tl.store(health + places, old + peak, mask=is_codebook)

    runs = overdue < 0
    is_end = (new == STREAM_EOS) & is_codebook & runs
    since_end = tl.maximum(since_end, tl.max(tl.where(is_end, 0, -NEVER), 0))
    left = tl.max(tl.where(is_end, codebook - (NUM_CODEBOOKS - 1), -NEVER), 0)
    overdue = tl.maximum(overdue, left)
    one = runs.to(tl.int64)
    tl.store(own, position + one)
    tl.store(own + 1, history_row + one)
    tl.store(own + 2, step + one)
    tl.store(own + 3, since_end + one)
    tl.store(own + 4, overdue + one)
