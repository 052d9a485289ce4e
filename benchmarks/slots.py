"""How many sequences a card holds at once, and beside which references: by the plan of memory.

    python -m benchmarks.slots

Prints the table of docs/runpod-serverless-guide.md, which a test holds to it. No GPU is needed: the
plan is the worker's own, with each card's memory.
"""

from bisect import bisect_left
from functools import cache, partial

import torch

from benchmarks.gpu.scale import REAL
from benchmarks.roofline import FRAME_RATE, PUBLISHED
from higgs_worker.codec.encoder_memory import held_bytes
from higgs_worker.engine.memory import plan_memory, weight_bytes
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.errors import InvalidSettings

CONTEXT_BYTES = 0.5e9
"""What CUDA itself takes of a card."""
CODEC_BYTES = 0.52e9
"""Decoder, its state and its captured calls; measured on an H100."""
ROUNDING = 1.019
"""Of the allocator: the weights in bfloat16 took 10.96 GB on an H100 where 10.75 are counted."""

CUDA = torch.device("cuda")
FORMATS = tuple(NumberFormat.named(name, CUDA) for name in ("bfloat16", "int8"))

CARDS_GIB = {
    "12 GB: RTX 3080 Ti, RTX 4070 Ti": 11.6,
    "16 GB: RTX A4000": 15.6,
    "20 GB: RTX A4500": 19.5,
    "24 GB with ECC: L4, A10": 22.0,
    "24 GB: RTX 3090, RTX 4090": 23.6,
    "32 GB: RTX 5090": 31.3,
    "40 GB: A100": 39.4,
    "48 GB with ECC: A40, L40S": 44.4,
    "80 GB: A100, H100": 79.1,
    "141 GB: H200": 139.7,
}
"""What CUDA reports as a card's memory, rounded down."""

DEFAULT_S, LONGEST_S = 60, 600
"""HIGGS_MAX_REFERENCE_S: the default, and the most that may be set."""
MAX_LENGTH = 4096
"""HIGGS_MAX_LENGTH: the default."""
OTHER_POSITIONS = 1384
"""Of a slot, beside its reference: a long chunk's text and 40 s of sound, and the transcript."""


def positions(reference_s: int) -> int:
    """Return the HIGGS_MAX_LENGTH that a reference needs, the default at least."""
    return max(MAX_LENGTH, FRAME_RATE * reference_s + OTHER_POSITIONS)


@cache
def loaded_bytes(number_format: NumberFormat) -> float:
    """Return what a card holds before it has slots."""
    return ROUNDING * weight_bytes(PUBLISHED, number_format, CUDA) + CONTEXT_BYTES + CODEC_BYTES


@cache
def encoder_bytes(reference_s: int) -> int:
    """Return what the encoder takes with its longest reference."""
    return held_bytes(REAL.codec, reference_s)


def num_slots(card_gib: float, number_format: NumberFormat, reference_s: int) -> int:
    """Return the slots that a worker takes by itself; 0: it refuses the card."""
    try:
        plan = plan_memory(
            PUBLISHED,
            number_format,
            CUDA,
            free_bytes=int(card_gib * 2**30 - loaded_bytes(number_format)),
            max_slots=None,
            max_length=positions(reference_s),
            encoder_bytes=encoder_bytes(reference_s),
        )
    except InvalidSettings:
        return 0
    return plan.num_slots


def longest_reference_s(card_gib: float, number_format: NumberFormat) -> int:
    """Return the longest reference beside which a card holds one slot, in steps of 10 s."""
    lengths = [*range(LONGEST_S, 0, -10), 0]
    slots = partial(num_slots, card_gib, number_format)
    return lengths[bisect_left(lengths[:-1], 1, key=slots)]


def table() -> str:
    """Return a row for each card."""
    rows = [
        f"| card | memory, GiB | weights | slots, references up to {DEFAULT_S} s | slots, up to "
        f"{LONGEST_S} s | longest reference |",
        "| --- | --: | --- | --: | --: | --: |",
    ]
    for card, gib in CARDS_GIB.items():
        for each in FORMATS:
            slots = " | ".join(str(num_slots(gib, each, s)) for s in (DEFAULT_S, LONGEST_S))
            longest = longest_reference_s(gib, each)
            rows.append(f"| {card} | {gib} | {each} | {slots} | {longest} s |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(table(), end="")
