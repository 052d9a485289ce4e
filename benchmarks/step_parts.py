"""The kernels of a decode step as `benchmarks.roofline` sees them: bytes, arithmetic and launches.

Today's step is a list of torch's operators. The fused step is a list of launches, whose programs
and splits come from `kernels/tiles.py`, as those of the step itself do.
"""

import math
from dataclasses import dataclass

from benchmarks.cards import (
    COMPUTE_SHARE,
    DEPENDENT_US,
    GAP_US,
    KERNEL_US,
    POINTWISE_US,
    POSITION_US,
    SM_BYTES_PER_US,
    Card,
)
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.kernels.tiles import Product, attention_splits, padded, tiles_for

POSITION_TILE = 64
"""Positions that the fused attention reads at once."""


@dataclass(frozen=True, slots=True)
class StepPart:
    """Kernels that follow each other, `calls` times a step. All figures are those of one call."""

    name: str
    calls: int
    kernels: tuple[str, ...]
    """Today's step: operators, one kernel each. The fused step: kinds of kernels."""
    num_bytes: float
    """Read and written."""
    flops: float = 0.0
    extra: tuple[str, ...] = ()
    """Kernels that a library starts beside those of the operators."""
    walk: int = 0
    """Positions that one block of attention passes, one after another."""
    blocks: int = 0
    """Blocks of the memory-efficient attention kernel."""
    grid: tuple[int, ...] = ()
    """Programs of a fused launch."""
    is_dependent: bool = False
    """Whether it is set up while the one before it still runs."""

    @property
    def launches(self) -> int:
        """Kernels of one call."""
        return len(self.kernels) + len(self.extra)

    def bandwidth_us(self, card: Card) -> float:
        """Return the time of the memory traffic."""
        return 1e6 * self.num_bytes / (card.read_share * card.bandwidth)

    def compute_us(self, card: Card) -> float:
        """Return the time of the arithmetic, or of attention's blocks."""
        walk = self.walk * POSITION_US * card.latency
        if self.blocks:
            walk = max(walk, card.latency * self.num_bytes / (card.num_sms * SM_BYTES_PER_US))
        return max(walk, 1e6 * self.flops / (COMPUTE_SHARE * card.flops))

    def latency_us(self, card: Card) -> float:
        """Return the time of starts and gaps, which nothing overlaps."""
        kernels = sum(KERNEL_US.get(each, POINTWISE_US) for each in self.kernels + self.extra)
        # An SM starts one block after another.
        waves = max(1, math.ceil(self.blocks / card.num_sms))
        gap = GAP_US - (DEPENDENT_US if self.is_dependent else 0.0)
        return card.latency * (waves * kernels + self.launches * gap)

    def total_us(self, card: Card) -> float:
        """Return the time of one call."""
        return max(self.bandwidth_us(card), self.compute_us(card)) + self.latency_us(card)

    def bound_by(self, card: Card) -> str:
        """Return what takes the longest: bandwidth, compute or latency."""
        times = {
            "bandwidth": self.bandwidth_us(card),
            "compute": self.compute_us(card),
            "latency": self.latency_us(card),
        }
        return max(times, key=times.__getitem__)


class StepSizes:
    """Bytes and operations of a step's pieces, in bf16 where nothing else is said."""

    def __init__(self, config: ModelConfig, batch: int, weight_size: int) -> None:
        """Take sizes; `weight_size` is the bytes of one weight of the layers' matrices."""
        self.config, self.batch, self.weight_size = config, batch, weight_size
        self.num_heads = config.num_heads + 2 * config.num_kv_heads
        attention = config.num_heads * config.head_dim
        self.matrices = {
            # Outputs, inputs.
            "qkv": (self.num_heads * config.head_dim, config.width),
            "out": (config.width, attention),
            "gate_up": (2 * config.mlp_width, config.width),
            "down": (config.width, config.mlp_width),
            "head": (config.num_codebooks * config.codebook_size, config.width),
        }

    def matrix_bytes(self, name: str) -> int:
        """Return the bytes of a matrix; int8 has a bf16 scale per output, the head is bf16."""
        outputs, inputs = self.matrices[name]
        size = 2 if name == "head" else self.weight_size
        return outputs * inputs * size + (2 * outputs if size == 1 else 0)

    def weight_bytes(self) -> int:
        """Return the bytes of all matrices that a step reads."""
        layer = sum(self.matrix_bytes(name) for name in self.matrices if name != "head")
        return self.config.num_layers * layer + self.matrix_bytes("head")

    def kv_bytes(self, positions: int, num_layers: int | None = None) -> int:
        """Return the bytes of the slots' keys and values, of all layers or of some."""
        layers = self.config.num_layers if num_layers is None else num_layers
        return layers * self.rows(2 * self.config.num_kv_heads * self.config.head_dim) * positions

    def rows(self, width: int, size: int = 2) -> int:
        """Return the bytes of one row per slot."""
        return self.batch * width * size

    def product(self, name: str, kernel: str, extra: tuple[str, ...] = ()) -> StepPart:
        """Return a product with one row per slot."""
        outputs, inputs = self.matrices[name]
        return StepPart(
            name,
            1 if name == "head" else self.config.num_layers,
            (kernel,),
            self.matrix_bytes(name) + self.rows(outputs + inputs),
            flops=2.0 * self.batch * outputs * inputs,
            extra=extra,
        )


def todays_parts(sizes: StepSizes, positions_read: int) -> tuple[StepPart, ...]:
    """Return the operators of `LanguageModel.decode` and `Columns.draw`, usual sampling."""
    config, rows = sizes.config, sizes.rows
    layers, width, head_dim = config.num_layers, config.width, config.head_dim
    heads, kv_width = rows(sizes.num_heads * head_dim), 2 * config.num_kv_heads * head_dim
    top, logits = rows(64 * config.num_codebooks, 4), rows(sizes.matrices["head"][0], 4)
    # As cuBLAS chose at batch 1 and at 32; where between them it changes is guessed.
    split = ("split-K sum",)

    def part(name: str, calls: int, operators: str, num_bytes: float) -> StepPart:
        extra = ("sort",) if "topk" in operators else ()
        return StepPart(name, calls, tuple(operators.split()), num_bytes, extra=extra)

    return (
        part("mask", 1, "add gt where", 2 * rows(positions_read)),
        part("embedding", 1, "add embedding sum", 3 * rows(config.num_codebooks * width)),
        part("sines", 1, "index_select index_select", 4 * heads),
        part("norms", 2 * layers + 1, "rms_norm", 2 * rows(width)),
        sizes.product("qkv", "mm"),
        part("rotation", layers, "mul roll addcmul", 9 * heads),
        part("cache write", layers, "index_put_", 2 * rows(kv_width)),
        StepPart(
            "attention",
            layers,
            ("_scaled_dot_product_efficient_attention",),
            sizes.kv_bytes(positions_read, 1) + 2 * rows(width),
            flops=4.0 * sizes.batch * config.num_heads * head_dim * positions_read,
            walk=positions_read,
            blocks=sizes.batch * config.num_kv_heads,
        ),
        sizes.product("out", "addmm_", split if sizes.batch < 32 else ()),
        sizes.product("gate_up", "mm"),
        part("SiLU", layers, "silu mul_", 5 * rows(config.mlp_width)),
        sizes.product("down", "addmm_", split),
        sizes.product("head", "mm"),
        part("logits", 1, "_to_copy fill_ index_select", 1.5 * logits),
        part("top-k", 1, "topk", logits + top),
        part(
            "threshold",
            1,
            "clamp sub gather sub div exp_ ge mul_ cumsum sub mul lt gt logical_and_ sum clamp_ sub"
            " gather",
            20 * top,
        ),
        part("draw", 1, "sub div exp_ ge mul_ cumsum mul searchsorted clamp_", 13 * logits),
        part(
            "RAS",
            1,
            "sub sub index lt eq bitwise_and sum ge lt bitwise_and sub exp_ cumsum mul searchsorted"
            " clamp_ where",
            7 * logits,
        ),
        part(
            "delay pattern",
            1,
            "lt masked_fill_ lt where index_copy_ add_ ge ne logical_or_ masked_fill amax maximum"
            " logical_not_ add_",
            30 * rows(config.num_codebooks, 8),
        ),
    )


def fused_parts(sizes: StepSizes, context: int, *, is_dependent: bool) -> tuple[StepPart, ...]:
    """Return the launches of `FusedStep`."""
    config, rows, batch = sizes.config, sizes.rows, sizes.batch
    head_dim, kv_heads = config.head_dim, config.num_kv_heads
    attended, splits = config.num_heads * head_dim, attention_splits(batch, kv_heads)
    tiles = tiles_for(batch, is_int8=sizes.weight_size == 1)
    logits = rows(sizes.matrices["head"][0], 4)

    def part(
        name: str, num_bytes: float, grid: tuple[int, ...], flops: float = 0.0, walk: int = 0
    ) -> StepPart:
        kernel = name
        if name in sizes.matrices:
            kernel = "split product" if grid[1] > 1 else "product"
        calls = 1 if name in ("embed", "head", "choose", "settle") else config.num_layers
        return StepPart(
            name,
            calls,
            (kernel,),
            num_bytes,
            flops,
            walk=walk,
            grid=grid,
            is_dependent=is_dependent,
        )

    def product(name: Product, written: float) -> StepPart:
        outputs, inputs = sizes.matrices[name]
        halves = 2 if name == "gate_up" else 1
        tile = tiles[name]
        grid = (math.ceil(outputs / halves / tile.rows), tile.splits)
        # Sums of a part of the columns; what is written is read again from the L2 cache.
        exchanged = 0
        if tile.splits > 1:
            exchanged = 4 * math.prod(grid) * halves * tile.rows * padded(batch)
        num_bytes = sizes.matrix_bytes(name) + rows(inputs) + written + exchanged
        return part(name, num_bytes, grid, flops=2.0 * padded(batch) * outputs * inputs)

    # In float32 read and written, and once in bf16.
    stream = rows(config.width, 4 + 4 + 2)
    exchanged = 0
    if splits > 1:
        queries = padded(config.num_heads // kv_heads)
        exchanged = 4 * batch * kv_heads * splits * queries * (head_dim + 2)
    return (
        part(
            "embed",
            rows(config.num_codebooks * config.width) + rows(config.width, 4 + 2),
            (math.ceil(config.width / tiles["down"].rows),),
        ),
        product("qkv", rows(sizes.num_heads * head_dim)),
        part(
            "attend",
            sizes.kv_bytes(context, 1) + rows(sizes.num_heads * head_dim + attended) + exchanged,
            (batch, kv_heads, splits),
            flops=4.0 * batch * kv_heads * padded(1) * head_dim * context,
            walk=math.ceil(math.ceil(context / POSITION_TILE) / splits) * POSITION_TILE,
        ),
        product("out", stream),
        product("gate_up", rows(config.mlp_width)),
        product("down", stream),
        product("head", logits),
        part("choose", logits, (batch, config.num_codebooks)),
        part("settle", 30 * rows(config.num_codebooks, 8), (batch,)),
    )
