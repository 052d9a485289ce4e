"""Products of a weight matrix with one row per slot, with what comes before and after them.

Reading the weights is nearly all that a decode step does, so everything else is done while they are
read: the RMS norm of the input, SiLU, the residual sum, the start of the next norm.

A program takes `TILE` rows of the weight, or as many of both halves of a gated pair, and a part of
the columns. The weight is the first factor of the product: its rows fill the tensor cores' sixteen,
and 1 to 8 slots their eight columns.

An RMS norm is split over two products. The one that makes the residual stream also writes it times
the norm's weights, and each tile's sum of squares; the one that reads it multiplies its result by
the one factor per slot that is left, 1 / sqrt(mean of squares + eps).
"""

import triton
import triton.language as tl

from higgs_worker.engine.kernels.arrival import arrives_last, read_part
from higgs_worker.engine.kernels.dependent import begin


@triton.jit
def write_stream(
    x,  # [TILE, ROWS] float32
    outputs,  # [TILE], places in the width
    slots,  # [ROWS]
    num_slots,
    residual,
    next_norm,
    next_input,
    next_squares,
    tile,
    WIDTH: tl.constexpr,
    TILE: tl.constexpr,
):
    """Write one tile of the residual stream, and start the next norm."""
    is_output, is_slot = outputs < WIDTH, slots < num_slots
    mask = is_output[:, None] & is_slot[None, :]
    places = slots[None, :] * WIDTH + outputs[:, None]
    tl.store(residual + places, x, mask=mask)
    norm = tl.load(next_norm + outputs, mask=is_output, other=0.0).to(tl.float32)
    scaled = (x * norm[:, None]).to(next_input.dtype.element_ty)
    tl.store(next_input + places, scaled, mask=mask)
    squares = tl.sum(tl.where(mask, x * x, 0.0), axis=0)
    num_tiles: tl.constexpr = (WIDTH + TILE - 1) // TILE
    tl.store(next_squares + slots * num_tiles + tile, squares, mask=is_slot)


@triton.jit
def norm_factors(squares, slots, num_slots, eps, WIDTH: tl.constexpr, NUM_SQUARES: tl.constexpr):
    """Return 1 / sqrt(mean of squares + eps) of each slot, [ROWS]."""
    parts = tl.arange(0, triton.next_power_of_2(NUM_SQUARES))
    mask = (slots < num_slots)[:, None] & (parts < NUM_SQUARES)[None, :]
    each = tl.load(squares + slots[:, None] * NUM_SQUARES + parts[None, :], mask=mask, other=0.0)
    return tl.rsqrt(tl.sum(each, axis=1) / WIDTH + eps)


@triton.jit(do_not_specialize=["num_slots"])  # one compilation for all numbers
def product_kernel(
    rows,
    weight,
    scale,
    squares,
    out,
    residual,
    next_norm,
    next_input,
    next_squares,
    parts,
    counters,
    num_slots,
    eps,
    WIDTH: tl.constexpr,  # of a row
    NUM_OUTPUTS: tl.constexpr,
    NUM_SQUARES: tl.constexpr,  # 0: the rows are no norm's
    IS_GATED: tl.constexpr,
    IS_RESIDUAL: tl.constexpr,
    IS_INT8: tl.constexpr,
    ROWS: tl.constexpr,  # slots, padded
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
    SPLITS: tl.constexpr,
    STAGES: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """Multiply one tile of the weight, or its part of the columns, with all rows."""
    begin(IS_DEPENDENT)
    tile, split = tl.program_id(0), tl.program_id(1)
    outputs = tile * TILE + tl.arange(0, TILE)
    slots = tl.arange(0, ROWS)
    is_slot = slots < num_slots
    # Whole blocks of columns: the last part may have fewer.
    part_width: tl.constexpr = (WIDTH + DEPTH * SPLITS - 1) // (DEPTH * SPLITS) * DEPTH
    is_whole: tl.constexpr = part_width * SPLITS == WIDTH and NUM_OUTPUTS % TILE == 0
    start = split * part_width
    sums = tl.zeros((TILE, ROWS), tl.float32)
    up_sums = sums
    for offset in tl.range(0, part_width, DEPTH, num_stages=STAGES):
        columns = start + offset + tl.arange(0, DEPTH)
        x = tl.load(
            rows + slots[None, :] * WIDTH + columns[:, None],
            mask=is_slot[None, :] & (columns < WIDTH)[:, None],
            other=0.0,
        )
        places = weight + outputs[:, None] * WIDTH + columns[None, :]
        if is_whole:
            w = tl.load(places)
        else:
            mask = (outputs < NUM_OUTPUTS)[:, None] & (columns < WIDTH)[None, :]
            w = tl.load(places, mask=mask, other=0)
        sums = tl.dot(w.to(x.dtype), x, sums, input_precision="ieee")
        if IS_GATED:  # the second half of the weight
            places += NUM_OUTPUTS * WIDTH
            w = tl.load(places) if is_whole else tl.load(places, mask=mask, other=0)
            up_sums = tl.dot(w.to(x.dtype), x, up_sums, input_precision="ieee")

    is_last = True
    if SPLITS > 1:
        size: tl.constexpr = TILE * ROWS
        half: tl.constexpr = size * SPLITS
        own = parts + tile * (2 if IS_GATED else 1) * half
        own += tl.arange(0, TILE)[:, None] * ROWS + slots[None, :]
        tl.store(own + split * size, sums)
        if IS_GATED:
            tl.store(own + half + split * size, up_sums)
        is_last = arrives_last(counters + tile, SPLITS)
        if is_last:
            sums = tl.zeros((TILE, ROWS), tl.float32)
            up_sums = sums
            for each in tl.static_range(SPLITS):
                sums += read_part(own + each * size)
                if IS_GATED:
                    up_sums += read_part(own + half + each * size)

    if is_last:
        is_output = outputs < NUM_OUTPUTS
        if IS_INT8:
            sums *= tl.load(scale + outputs, mask=is_output, other=0.0).to(tl.float32)[:, None]
        if NUM_SQUARES:
            factors = norm_factors(squares, slots, num_slots, eps, WIDTH, NUM_SQUARES)
            sums *= factors[None, :]
        if IS_GATED:
            if IS_INT8:
                up_scale = tl.load(scale + NUM_OUTPUTS + outputs, mask=is_output, other=0.0)
                up_sums *= up_scale.to(tl.float32)[:, None]
            sums = sums * tl.sigmoid(sums) * up_sums * factors[None, :]
        mask = is_output[:, None] & is_slot[None, :]
        places = slots[None, :] * NUM_OUTPUTS + outputs[:, None]
        if IS_RESIDUAL:
            write_stream(
                sums + tl.load(residual + places, mask=mask, other=0.0),
                outputs,
                slots,
                num_slots,
                residual,
                next_norm,
                next_input,
                next_squares,
                tile,
                NUM_OUTPUTS,
                TILE,
            )
        else:
            tl.store(out + places, sums.to(out.dtype.element_ty), mask=mask)
