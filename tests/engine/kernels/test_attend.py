"""The attention kernel against torch's, from queries and keys that are not yet rotated."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from higgs_worker.engine.config import Rope
from higgs_worker.engine.kernels.attend import attend_kernel
from higgs_worker.engine.kernels.fused_step import LOG2_E
from higgs_worker.engine.kernels.tiles import padded
from higgs_worker.engine.model import rope_table

HEAD_DIM, GROUP, MAX_LENGTH, TILE = 16, 3, 70, 16
NUM_COUNTERS = 5


class Attention:
    """Some slots with a cache full of numbers."""

    def __init__(self, positions: list[int], num_kv_heads: int) -> None:
        generator = torch.Generator().manual_seed(len(positions))
        num_slots = len(positions)
        self.num_kv_heads = num_kv_heads
        num_heads = (GROUP + 2) * num_kv_heads
        self.heads = torch.randn(num_slots, num_heads, HEAD_DIM, generator=generator)
        cache_shape = (num_slots, 2 * num_kv_heads, MAX_LENGTH, HEAD_DIM)
        self.cache = torch.randn(cache_shape, generator=generator)
        self.counters = torch.full((num_slots, NUM_COUNTERS), -1)
        self.counters[:, 0] = torch.tensor(positions)
        self.table = rope_table(Rope(theta=10000.0), HEAD_DIM, MAX_LENGTH)

    def launch(self, splits: int, *, by_query: bool = False) -> Tensor:
        """Return what the kernel writes, [B, heads, HEAD_DIM]."""
        num_slots, pairs = len(self.heads), len(self.heads) * self.num_kv_heads
        out = torch.full((num_slots, GROUP * self.num_kv_heads, HEAD_DIM), torch.nan)
        parts = torch.full((pairs * splits * (HEAD_DIM + 2) * padded(GROUP),), torch.nan)
        counters = torch.zeros(pairs, dtype=torch.int32)
        by_head = (HEAD_DIM, GROUP * HEAD_DIM)
        strides = (self.num_kv_heads * HEAD_DIM, HEAD_DIM) if by_query else by_head
        for _ in range(2):
            attend_kernel[num_slots, self.num_kv_heads, splits](
                heads=self.heads,
                rotation=self.table[:, None].expand(-1, 2, -1, -1).contiguous(),
                cache=self.cache,
                counters_of_slots=self.counters,
                out=out,
                parts=parts,
                counters=counters,
                scale=HEAD_DIM**-0.5 * LOG2_E,
                group_stride=strides[0],
                head_stride=strides[1],
                NUM_COUNTERS=NUM_COUNTERS,
                MAX_LENGTH=MAX_LENGTH,
                NUM_KV_HEADS=self.num_kv_heads,
                GROUP=GROUP,
                ROWS=padded(GROUP),
                HEAD_DIM=HEAD_DIM,
                TILE=TILE,
                STAGES=2,
                IS_DEPENDENT=False,
            )
            assert not counters.any()
        return out

    def expected(self, cache: Tensor) -> Tensor:
        """Return torch's attention, and write the new keys and values to a cache."""
        num_queries = GROUP * self.num_kv_heads
        results = []
        for slot, position in enumerate(self.counters[:, 0].tolist()):
            cos, sin = self.table[position]
            heads = self.heads[slot]
            rotated = heads * cos + heads.roll(HEAD_DIM // 2, -1) * sin
            cache[slot, : self.num_kv_heads, position] = rotated[num_queries : -self.num_kv_heads]
            cache[slot, self.num_kv_heads :, position] = heads[-self.num_kv_heads :]
            keys, values = cache[slot, :, : position + 1].chunk(2)
            results.append(
                F.scaled_dot_product_attention(
                    rotated[None, :num_queries, None], keys[None], values[None], enable_gqa=True
                )[0, :, 0]
            )
        return torch.stack(results)


@pytest.mark.parametrize("splits", [1, 2, 4])
def test_attention_equals_torchs(splits: int) -> None:
    """First positions, borders of tiles, and fewer tiles than parts; keys and values are cached."""
    attention = Attention([0, 1, 15, 16, 63], num_kv_heads=1)
    cache = attention.cache.clone()
    expected = attention.expected(cache)
    torch.testing.assert_close(attention.launch(splits), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(attention.cache, cache, rtol=1e-6, atol=1e-6)


def test_heads_are_written_in_the_order_of_the_next_weight() -> None:
    """By KV head, or the first query of all of them and then the second."""
    attention = Attention([20, 3], num_kv_heads=2)
    expected = attention.expected(attention.cache.clone())
    torch.testing.assert_close(attention.launch(2), expected, rtol=1e-5, atol=1e-5)
    by_query = expected.view(2, 2, GROUP, HEAD_DIM).transpose(1, 2).reshape(expected.shape)
    torch.testing.assert_close(attention.launch(2, by_query=True), by_query, rtol=1e-5, atol=1e-5)


def test_what_lies_behind_a_slots_position_is_not_read() -> None:
    """There may be anything, NaN included; NaN before it makes that slot NaN and no other."""
    attention = Attention([20, 30], num_kv_heads=1)
    expected = attention.launch(2)
    attention.cache[0, :, 21:] = torch.nan
    assert torch.equal(attention.launch(2), expected)
    attention.cache[0, 1, 5] = torch.nan
    out = attention.launch(2)
    assert out[0].isnan().all()
    assert torch.equal(out[1], expected[1])
