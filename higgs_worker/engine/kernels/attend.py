"""Attention of one new position per slot: rotation, cache write and the sum over all positions.

A program serves one slot, one KV head and a part of the slot's positions; the queries that share
the head go together. The parts are equal tiles of the slot's own length, whatever its neighbours
have. The first part holds the new position's key and value, which it also writes to the cache; the
others read only what was there before.
"""

import triton
import triton.language as tl

from higgs_worker.engine.kernels.arrival import arrives_last, read_part
from higgs_worker.engine.kernels.dependent import begin


@triton.jit
def rotated(heads, cosines, sines, dims, HEAD_DIM: tl.constexpr, mask):
    """Return heads in half-split rotary form; the first half of the sines is negated."""
    own = tl.load(heads + dims, mask=mask, other=0.0).to(tl.float32)
    half = tl.load(heads + (dims + HEAD_DIM // 2) % HEAD_DIM, mask=mask, other=0.0).to(tl.float32)
    return own * cosines + half * sines


@triton.jit
def attend_kernel(
    heads,  # [B, H + 2 H_kv, HEAD_DIM], queries and keys not yet rotated
    rotation,  # [MAX_LENGTH, 2, 2, HEAD_DIM]: of each position cosines and sines of rotated heads
    cache,  # [B, 2 H_kv, MAX_LENGTH, HEAD_DIM], of one layer
    counters_of_slots,  # [B, NUM_COUNTERS], the position first
    out,
    parts,
    counters,
    scale,  # of the scores, for powers of 2
    group_stride,  # of `out`, from query to query of a KV head
    head_stride,
    NUM_COUNTERS: tl.constexpr,
    MAX_LENGTH: tl.constexpr,
    NUM_KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,  # queries of one KV head
    ROWS: tl.constexpr,  # queries, padded
    HEAD_DIM: tl.constexpr,
    TILE: tl.constexpr,  # positions read at once
    STAGES: tl.constexpr,
    IS_DEPENDENT: tl.constexpr,
):
    """Attend to one part of a slot's positions; whoever is last adds the parts up."""
    begin(IS_DEPENDENT)
    slot, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    splits = tl.num_programs(2)
    position = tl.load(counters_of_slots + slot * NUM_COUNTERS)
    dims = tl.arange(0, HEAD_DIM)
    queries = tl.arange(0, ROWS)
    is_query = queries < GROUP
    cosines = tl.load(rotation + position * 4 * HEAD_DIM + dims).to(tl.float32)
    sines = tl.load(rotation + (position * 4 + 1) * HEAD_DIM + dims).to(tl.float32)

    own = heads + slot * (GROUP + 2) * NUM_KV_HEADS * HEAD_DIM
    first_query = own + (head * GROUP + queries)[None, :] * HEAD_DIM
    query = rotated(
        first_query,
        cosines[:, None],
        sines[:, None],
        dims[:, None],
        HEAD_DIM,
        is_query[None, :],
    )
    dtype = cache.dtype.element_ty
    query = query.to(dtype)  # [HEAD_DIM, ROWS]
    new_head = own + (GROUP * NUM_KV_HEADS + head) * HEAD_DIM
    new_key = rotated(new_head, cosines, sines, dims, HEAD_DIM, dims < HEAD_DIM).to(dtype)
    new_value = tl.load(new_head + NUM_KV_HEADS * HEAD_DIM + dims).to(dtype)
    slot_size: tl.constexpr = 2 * NUM_KV_HEADS * MAX_LENGTH * HEAD_DIM
    keys = cache + slot.to(tl.int64) * slot_size + head * MAX_LENGTH * HEAD_DIM
    values = keys + NUM_KV_HEADS * MAX_LENGTH * HEAD_DIM
    is_first = split == 0
    tl.store(keys + position * HEAD_DIM + dims, new_key, mask=is_first)
    tl.store(values + position * HEAD_DIM + dims, new_value, mask=is_first)

    new_score = scale * tl.sum(query.to(tl.float32) * new_key.to(tl.float32)[:, None], axis=0)
    largest = tl.where(is_first, new_score, float("-inf"))  # [ROWS]
    weight = tl.where(is_first, tl.full((ROWS,), 1.0, tl.float32), 0.0)
    sums = tl.where(is_first, new_value.to(tl.float32), 0.0)[:, None] + tl.zeros(
        (HEAD_DIM, ROWS), tl.float32
    )
    part_length = tl.cdiv(tl.cdiv(position, TILE), splits) * TILE
    start = split * part_length
    end = tl.minimum(start + part_length, position)
    for offset in tl.range(start, end, TILE, num_stages=STAGES):
        at = offset + tl.arange(0, TILE)
        is_earlier = at < end
        key = tl.load(
            keys + at[:, None] * HEAD_DIM + dims[None, :], mask=is_earlier[:, None], other=0.0
        )
        value = tl.load(
            values + at[None, :] * HEAD_DIM + dims[:, None], mask=is_earlier[None, :], other=0.0
        )
        scores = scale * tl.dot(key, query, input_precision="ieee")  # [TILE, ROWS]
        scores = tl.where(is_earlier[:, None], scores, float("-inf"))
        new_largest = tl.maximum(largest, tl.max(scores, axis=0))
        kept = tl.exp2(largest - new_largest)
        shares = tl.exp2(scores - new_largest[None, :])
        weight = weight * kept + tl.sum(shares, axis=0)
        sums = sums * kept[None, :]
        sums = tl.dot(value, shares.to(dtype), sums, input_precision="ieee")
        largest = new_largest

    pair = slot * NUM_KV_HEADS + head
    is_last = splits == 1
    if splits > 1:
        size: tl.constexpr = (HEAD_DIM + 2) * ROWS
        own_parts = parts + pair * splits * size
        places = dims[:, None] * ROWS + queries[None, :]
        largest_place = HEAD_DIM * ROWS + queries
        weight_place = largest_place + ROWS
        part = own_parts + split * size
        tl.store(part + places, sums)
        tl.store(part + largest_place, largest)
        tl.store(part + weight_place, weight)
        is_last = arrives_last(counters + pair, splits)
        if is_last:
            # The first part holds a position, so its largest score is a number.
            largest = read_part(own_parts + largest_place)
            weight = read_part(own_parts + weight_place)
            sums = read_part(own_parts + places)
            for each in range(1, splits):
                part = own_parts + each * size
                its_largest = read_part(part + largest_place)
                new_largest = tl.maximum(largest, its_largest)
                kept, its_share = tl.exp2(largest - new_largest), tl.exp2(its_largest - new_largest)
                weight = weight * kept + read_part(part + weight_place) * its_share
                sums = sums * kept[None, :] + read_part(part + places) * its_share[None, :]
                largest = new_largest
    if is_last:
        # [B, heads, HEAD_DIM], in the order of the next weight's columns.
        row = out + slot * NUM_KV_HEADS * GROUP * HEAD_DIM
        row += head * head_stride + queries[None, :] * group_stride
        result = (sums / weight[None, :]).to(out.dtype.element_ty)
        tl.store(row + dims[:, None], result, mask=is_query[None, :])
