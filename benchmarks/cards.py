"""GPUs as `benchmarks.roofline` sees them: data sheets, and what kernels cost.

Costs were measured on an H100 SXM with torch 2.11 (the profile of one replayed step, and step times
by batch and length) unless "guessed" is said. A card's `latency` carries them over to other cards.
"""

from dataclasses import dataclass

POINTWISE_US = 1.6
KERNEL_US = {
    # The line through the five products of batch 1: 9.4 to 36.8 us for 19 to 101 MB.
    "mm": 3.1,
    "addmm_": 3.1,
    "split-K sum": 1.9,
    "rms_norm": 4.8,
    "mul": 3.0,
    "addcmul": 3.0,
    # Of rows that are not contiguous: from batch 2 on, their inputs are halves of wider rows. A
    # profile of batch 32, which cuts names off, has 2.7 to 3.6 for these, `mul` and `addcmul`; at
    # batch 1 they take 1.5 and 1.1.
    "silu": 2.7,
    "mul_": 2.7,
    "roll": 1.4,
    "index": 3.4,
    "index_put_": 3.4,
    "index_copy_": 3.4,
    "index_select": 4.9,
    "embedding": 4.9,
    "gather": 3.1,
    "sum": 4.9,
    "amax": 4.9,
    "topk": 18.2,
    "sort": 4.8,
    "cumsum": 3.5,
    "searchsorted": 2.6,
    "_scaled_dot_product_efficient_attention": 3.0,
    # Guessed: a fused product is as good as the library's; where its columns are divided, the last
    # program waits for what the others have written, and reads it; in attention likewise; a choice
    # searches its thresholds in some 60 passes.
    "product": 3.1,
    "split product": 4.6,
    "attend": 5.0,
    "embed": 3.0,
    "choose": 12.0,
    "settle": 3.0,
}
"""Microseconds of a kernel with next to nothing to do, by operator; others take `POINTWISE_US`."""
GAP_US = 0.3
"""Between two kernels of a graph: what the step takes beyond the sum of its kernels, per launch."""
DEPENDENT_US = 1.3
"""What a dependent launch saves: the gap, and what a kernel can do of its start while the one
before it runs. Guessed; on whole small models others gained 5 to 13 % by it."""
POSITION_US = 0.040
"""One block of the memory-efficient attention kernel takes this long per position. It serves one KV
head of one slot, so that at batch 1 eight blocks work and the other SMs wait."""
SM_BYTES_PER_US = 16.7e3
"""Keys and values that an SM reads when it has many such blocks: 2.2 TB/s at batch 32 and 64.
Guessed: that the SMs are the limit and not the memory, and so that an H200 has the same."""
HOST_US = 16.0
"""The host's time per operator of an eager step."""
COMPUTE_SHARE = 0.6
"""Of the data sheet's FLOP/s, what a product reaches. Guessed; no bf16 product of up to 64 rows
depends on it."""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU: its data sheet, and two figures that are guessed for all but the H100."""

    name: str
    bandwidth: float
    """Bytes per second."""
    flops: float
    """Per second, bf16 with float32 sums, dense."""
    num_sms: int
    read_share: float
    """Of the bandwidth, what a large read reaches: on an H100 2.99 of 3.35 TB/s."""
    latency: float
    """Of small kernels, gaps and a block's walk, relative to an H100."""
    has_dependent_launches: bool = False
    """Compute capability 9.0 and newer."""


DATA_SHEETS = {
    # The first one whose words are all in the card's name counts.
    "B200": 8000,
    "H200": 4800,
    "H100 NVL": 3900,
    "H100 PCIe": 2000,
    "H100": 3350,
    "A100 80GB PCIe": 1935,
    "A100 80GB": 2039,
    "A100": 1555,
    "RTX PRO 6000": 1792,
    "RTX 6000 Ada": 960,
    "RTX A6000": 768,
    "RTX 5090": 1792,
    "RTX 4090": 1008,
    "RTX 3090": 936,
    "L40S": 864,
    "L40": 864,
    "A40": 696,
    "A10": 600,
    "L4": 300,
}
"""Bandwidth in GB per second by name. Source: NVIDIA's data sheets; H100 and H200 as SXM."""


CARDS = {
    "4090": Card(
        "RTX 4090", 1e9 * DATA_SHEETS["RTX 4090"], 165e12, 128, read_share=0.92, latency=0.9
    ),
    "l40s": Card("L40S", 1e9 * DATA_SHEETS["L40S"], 362e12, 142, read_share=0.92, latency=0.9),
    "a100": Card(
        "A100-80", 1e9 * DATA_SHEETS["A100 80GB"], 312e12, 108, read_share=0.90, latency=1.3
    ),
    "h100": Card(
        "H100", 1e9 * DATA_SHEETS["H100"], 989e12, 132, 0.89, 1.0, has_dependent_launches=True
    ),
    "h200": Card(
        "H200", 1e9 * DATA_SHEETS["H200"], 989e12, 132, 0.89, 1.0, has_dependent_launches=True
    ),
}
"""Source: NVIDIA's data sheets; A100, H100 and H200 as SXM."""
