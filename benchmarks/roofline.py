"""A model of the decode step: bytes, launches and microseconds of its kernels, without a GPU.

    python -m benchmarks.roofline [--cards 4090,l40s,a100,h100,h200] [--batch 1,8,64]
        [--context 600] [--design NAME] [--host-us 16]

Prints milliseconds per step, the share of the data sheet's bandwidth and audio seconds per second,
by card, design and batch; before that, if a design is named, the table of its kernels for each card
and batch. The designs:

    eager            torch's step, launched operator by operator
    graph            torch's step, replayed as a CUDA graph
    fused            the fused kernels in a graph: five launches a layer, and four more
    fused-pdl        the same, each kernel set up while the one before it still runs; Hopper only
    fused-int8       the fused kernels with the layers' matrices in int8
    fused-int8-pdl   both

A kernel takes the longer of its memory traffic and its arithmetic, and then a latency that it has
however small its work is. docs/performance.md tells how near that comes to what was measured.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from benchmarks.cards import CARDS, HOST_US, Card
from benchmarks.step_parts import StepPart, StepSizes, fused_parts, todays_parts
from higgs_worker.engine.config import ModelConfig, Rope
from higgs_worker.engine.shapes import StepShapes

Design = Literal["eager", "graph", "fused", "fused-pdl", "fused-int8", "fused-int8-pdl"]

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
    sizes = StepSizes(config, batch, weight_size=1 if "int8" in design else 2)
    parts = (
        fused_parts(sizes, context, is_dependent=design.endswith("-pdl"))
        if design.startswith("fused")
        else todays_parts(sizes, positions_read)
    )
    return Step(design, batch, parts, sizes.weight_bytes() + sizes.kv_bytes(context))


def designs_of(card: Card, designs: Sequence[Design] = get_args(Design)) -> list[Design]:
    """Return the designs that a card can run."""
    return [each for each in designs if card.has_dependent_launches or not each.endswith("-pdl")]


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
        for design in designs_of(card, designs):
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
            for batch in options.batch if designs_of(card, [options.design]) else ():
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
