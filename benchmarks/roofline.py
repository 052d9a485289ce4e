"""A model of the decode step: bytes, launches and microseconds of its kernels, without a GPU.

    python -m benchmarks.roofline [--cards 4090,l40s,a100,h100,h200] [--batch 1,8,64]
        [--context 600] [--design eager|graph|fused|fused-int8] [--host-us 16]

Prints milliseconds per step, the share of the data sheet's bandwidth and audio seconds per second,
by card, design and batch; before that, if a design is named, the table of its kernels for each card
and batch. The designs:

    eager        today's step, launched operator by operator
    graph        today's step, replayed as a CUDA graph
    fused        a planned step of 144 launches: five a layer, and embed, head, choose, settle
    fused-int8   the same with the layers' matrices in int8

A kernel takes the longer of its memory traffic and its arithmetic, and then a latency that it has
however small its work is. docs/performance.md tells how near that comes to what was measured.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from benchmarks.cards import (
    CARDS,
    COMPUTE_SHARE,
    GAP_US,
    HOST_US,
    KERNEL_US,
    POINTWISE_US,
    POSITION_US,
    SM_BYTES_PER_US,
    Card,
)
from higgs_worker.engine.config import ModelConfig, Rope
from higgs_worker.engine.shapes import StepShapes

Design = Literal["eager", "graph", "fused", "fused-int8"]

PUBLISHED = ModelConfig(
    vocab_size=128256,
    width=3072,
    mlp_width=8192,
    num_layers=28,
    num_heads=24,
    num_kv_heads=8,
    head_dim=128,
    norm_eps=1e-5,
    rope=Rope(500000.0, 32.0, 0.125, 0.5, 1024),
    num_codebooks=8,
    codebook_size=1026,
    stream_bos_id=1024,
    stream_eos_id=1025,
)
"""Source: config.json of bosonai/higgs-audio-v2-generation-3B-base."""
MAX_LENGTH = 1 << 20
"""Positions of a slot: more than any context."""
FRAME_RATE = 25
"""Frames, and so decode steps, per second of audio."""
NUM_SPLITS, TILE = 8, 64
"""The fused design's attention: splits of a slot's positions, and positions of a tile."""


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
        return card.latency * (waves * kernels + self.launches * GAP_US)

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


@dataclass(frozen=True, slots=True)
class Step:
    """One decode step of a design."""

    design: Design
    batch: int
    parts: tuple[StepPart, ...]
    needed_bytes: float
    """The audio path's matrices, and the keys and values in use: what a step must read."""

    @property
    def launches(self) -> int:
        """Kernels of the step."""
        return sum(part.calls * part.launches for part in self.parts)

    @property
    def num_operators(self) -> int:
        """What the host launches in an eager step."""
        return sum(part.calls * len(part.kernels) for part in self.parts)

    def device_ms(self, card: Card) -> float:
        """Return the time of all kernels and the gaps between them."""
        return sum(part.calls * part.total_us(card) for part in self.parts) / 1e3

    def ms(self, card: Card, host_us: float = HOST_US) -> float:
        """Return the time of the step; an eager one may wait for the host."""
        device = self.device_ms(card)
        return max(device, self.num_operators * host_us / 1e3) if self.design == "eager" else device

    def share_of_bandwidth(self, card: Card, host_us: float = HOST_US) -> float:
        """Return what reading the needed bytes at the data sheet's bandwidth is of the step."""
        return self.needed_bytes / card.bandwidth / (self.ms(card, host_us) / 1e3)

    def audio_s_per_s(self, card: Card, host_us: float = HOST_US) -> float:
        """Return the audio seconds per second of all slots."""
        return self.batch / FRAME_RATE / (self.ms(card, host_us) / 1e3)


def step_of(design: Design, batch: int, context: int, config: ModelConfig = PUBLISHED) -> Step:
    """Return the step of a design for `batch` slots of `context` positions each."""
    if batch < 1 or context < 1:
        raise ValueError(f"batch {batch} and context {context} must both be at least 1")
    # Today's attention reads all positions of a shape.
    _, positions_read = StepShapes(batch, MAX_LENGTH, are_captured=True).fit(batch, context)
    sizes = _Sizes(config, batch, weight_size=1 if design == "fused-int8" else 2)
    is_fused = design.startswith("fused")
    parts = _fused_parts(sizes, context) if is_fused else _todays_parts(sizes, positions_read)
    return Step(design, batch, parts, sizes.weight_bytes() + sizes.kv_bytes(context))


class _Sizes:
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
        """Return the bytes of a matrix; int8 has a float32 scale per output, the head is bf16."""
        outputs, inputs = self.matrices[name]
        size = 2 if name == "head" else self.weight_size
        return outputs * inputs * size + (4 * outputs if size == 1 else 0)

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


def _todays_parts(sizes: _Sizes, positions_read: int) -> tuple[StepPart, ...]:
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


def _fused_parts(sizes: _Sizes, context: int) -> tuple[StepPart, ...]:
    """Return the planned kernels; norms, residuals, rotation, cache write and SiLU are in them."""
    config, rows = sizes.config, sizes.rows
    logits = rows(sizes.matrices["head"][0], 4)
    embedded = rows((config.num_codebooks + 1) * config.width)
    products = {name: sizes.product(name, "product") for name in sizes.matrices}
    attend = StepPart(
        "attend",
        config.num_layers,
        ("attend",),
        sizes.kv_bytes(context, 1) + 2 * rows(sizes.num_heads * config.head_dim),
        flops=4.0 * sizes.batch * config.num_heads * config.head_dim * context,
        walk=math.ceil(context / NUM_SPLITS / TILE) * TILE,
    )
    return (
        StepPart("embed", 1, ("embed",), embedded),
        products["qkv"],
        attend,
        products["out"],
        products["gate_up"],
        products["down"],
        products["head"],
        StepPart("choose", 1, ("choose",), logits),
        StepPart("settle", 1, ("settle",), 30 * rows(config.num_codebooks, 8)),
    )


def kernel_table(step: Step, card: Card, host_us: float = HOST_US) -> str:
    """Return one line per part of a step; bytes and times are those of one call, ms of the step."""
    lines = [
        f"{card.name}, {step.design}, batch {step.batch}: {step.launches} launches, "
        f"{step.ms(card, host_us):.2f} ms",
        f"{'part':<14}{'calls':>6}{'launches':>9}{'MB':>9}{'bandwidth':>10}{'compute':>9}"
        f"{'latency':>9}{'us':>8}{'ms':>7}  bound by",
    ]
    for part in step.parts:
        total = part.total_us(card)
        lines.append(
            f"{part.name:<14}{part.calls:>6}{part.calls * part.launches:>9}"
            f"{part.num_bytes / 1e6:>9.2f}{part.bandwidth_us(card):>10.1f}"
            f"{part.compute_us(card):>9.1f}{part.latency_us(card):>9.1f}{total:>8.1f}"
            f"{part.calls * total / 1e3:>7.2f}  {part.bound_by(card)}"
        )
    if step.design == "eager":
        host = step.num_operators * host_us / 1e3
        lines.append(f"the host: {step.num_operators} operators of {host_us:g} us, {host:.2f} ms")
    return "\n".join(lines)


def summary(
    cards: Sequence[Card],
    designs: Sequence[Design],
    batches: Sequence[int],
    context: int,
    host_us: float = HOST_US,
) -> str:
    """Return one line per card and design, as a table in markdown."""
    sizes = " / ".join(map(str, batches))
    lines = [
        f"| card | design | ms per step, B = {sizes} | % of bandwidth | audio seconds per second |",
        "| --- | --- | --: | --: | --: |",
    ]
    for card in cards:
        for design in designs:
            steps = [step_of(design, batch, context) for batch in batches]
            times = " / ".join(f"{step.ms(card, host_us):.1f}" for step in steps)
            shares = " / ".join(
                f"{100 * step.share_of_bandwidth(card, host_us):.0f}" for step in steps
            )
            audio = " / ".join(f"{step.audio_s_per_s(card, host_us):.0f}" for step in steps)
            lines.append(f"| {card.name} | {design} | {times} | {shares} | {audio} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables that the command line selects."""
    options = _parse(arguments)
    if options.design:
        for card in options.cards:
            for batch in options.batch:
                step = step_of(options.design, batch, options.context)
                print(kernel_table(step, card, options.host_us), end="\n\n")
    designs = [options.design] if options.design else get_args(Design)
    print(summary(options.cards, designs, options.batch, options.context, options.host_us))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    def cards(text: str) -> list[Card]:
        names = text.split(",")
        if unknown := set(names) - set(CARDS):
            named = ", ".join(sorted(unknown))
            raise argparse.ArgumentTypeError(f"no such card: {named}; there are {', '.join(CARDS)}")
        return [CARDS[name] for name in names]

    def positive(text: str) -> int:
        number = int(text)
        if number < 1:
            raise argparse.ArgumentTypeError(f"{number} is below 1")
        return number

    def batches(text: str) -> list[int]:
        return [positive(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(description="Model the decode step on a GPU.")
    parser.add_argument(
        "--cards", type=cards, default=list(CARDS.values()), help="such as h100,h200"
    )
    parser.add_argument("--batch", type=batches, default=[1, 8, 64], help="such as 1,8,64")
    parser.add_argument("--context", type=positive, default=600, help="positions in use in a slot")
    parser.add_argument("--design", choices=get_args(Design), help="print its kernels as well")
    parser.add_argument("--host-us", type=float, default=HOST_US, help="host time per operator")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
