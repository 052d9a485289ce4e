"""The newest column of each slot as the first input of a step."""

import triton
import triton.language as tl

from higgs_worker.engine.kernels.dependent import begin
from higgs_worker.engine.kernels.product import write_stream


@triton.jit(do_not_specialize=["num_slots"])  # one compilation for all numbers
def embed_kernel(
    column,  # [B, NUM_CODEBOOKS] int64
    embedding,  # [NUM_CODEBOOKS x CODEBOOK_SIZE, WIDTH]
    residual,
    next_norm,
    next_input,
    next_squares,
    num_slots,
    NUM_CODEBOOKS: tl.constexpr,
    CODEBOOK_SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    TILE: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """Add up the embeddings of a column's ids: one tile of the width, for all slots."""
    begin(IS_DEPENDENT)
    tile = tl.program_id(0)
    outputs = tile * TILE + tl.arange(0, TILE)
    slots = tl.arange(0, ROWS)
    is_slot = slots < num_slots
    mask = (outputs < WIDTH)[:, None] & is_slot[None, :]
    sums = tl.zeros((TILE, ROWS), tl.float32)
    for codebook in range(NUM_CODEBOOKS):
        ids = tl.load(column + slots * NUM_CODEBOOKS + codebook, mask=is_slot, other=0)
        rows = (ids + codebook * CODEBOOK_SIZE) * WIDTH
        sums += tl.load(embedding + rows[None, :] + outputs[:, None], mask=mask, other=0.0)
    write_stream(
        sums,
        outputs,
        slots,
        num_slots,
        residual,
        next_norm,
        next_input,
        next_squares,
        tile,
        WIDTH,
        TILE,
    )
