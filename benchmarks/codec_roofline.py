"""A model of the codec's call on a GPU: kernels, arithmetic, memory traffic, and the time by card.

    python -m benchmarks.codec_roofline

The operators of a real call of 8 streams and 24 frames are counted on tensors without memory. Then:
what the decoder takes of a card, exact and with TF32, and what follows beside the fused step of 64
slots. docs/performance.md tells what is measured of it and what is guessed.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.cards import CARDS, GAP_US, Card
from benchmarks.gpu.scale import REAL
from benchmarks.measure import is_view
from benchmarks.roofline import FRAME_RATE, Design, step_of
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.piece_schedule import MAX_PIECE_FRAMES
from higgs_worker.codec.streaming import MAX_ROWS, StreamingDecoder

CALL_S = MAX_ROWS * MAX_PIECE_FRAMES / FRAME_RATE
"""Audio of a call, 7.7 s."""
FP32_FLOPS = 67e12
"""Of an H100 and an H200 without tensor cores. Source: NVIDIA's data sheets, SXM."""
EXACT_SHARE = 0.31
"""Of that, what cuDNN's convolutions reached: what is left of the 7.5 ms that a call took on an
H100, as measured with snakes of ten passes, when traffic and gaps are taken off."""
TF32_GAINS = (2.5, 7.4)
"""How many times as fast convolutions may be with TF32. Guessed: from what small products gain to
the ratio of the data sheet."""
TF32_LAYOUT_PASSES = 2
"""TF32 kernels want channels last: inputs and outputs may be turned around. Guessed."""
SNAKE_PASSES, FUSED_PASSES = 9, 2
"""Reads and writes of a snake's input in four operators, and in one kernel, which does not exist
yet."""
SLOTS, CONTEXT = 64, 600


@dataclass(frozen=True, slots=True)
class Call:
    """One call, per second of its audio where nothing else is said."""

    launches: int
    """Kernels of the call; the bias of a convolution is one of its own."""
    flops: float
    """Of the convolutions."""
    conv_bytes: float
    """Their inputs, weights and outputs."""
    pointwise_bytes: float
    """Read and written by everything else."""
    snake_bytes: float
    """One pass over the inputs of all snakes."""

    def ms(self, card: Card, *, conv_gain: float = 1, snake_passes: int = SNAKE_PASSES) -> float:
        """Return the time, in ms per second of audio.

        Args:
            card: an H100 or H200.
            conv_gain: how many times as fast as in float32 convolutions calculate.
            snake_passes: over memory, of each snake.
        """
        bandwidth = card.read_share * card.bandwidth
        layout = TF32_LAYOUT_PASSES * self.conv_bytes if conv_gain > 1 else 0
        fewer = (SNAKE_PASSES - snake_passes) * self.snake_bytes
        traffic_s = (self.pointwise_bytes + layout - fewer) / bandwidth
        compute_s = self.flops / (EXACT_SHARE * FP32_FLOPS * conv_gain)
        gaps_s = self.launches * GAP_US * card.latency / 1e6 / CALL_S
        return 1e3 * (traffic_s + max(compute_s, self.conv_bytes / bandwidth) + gaps_s)


class _Traffic(TorchDispatchMode):
    """Counts the kernels, the bytes and the arithmetic of a call."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes: Counter[str] = Counter()
        self.launches = self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operator, and count what it reads and writes."""
        result = func(*args, **(kwargs or {}))
        if is_view(func):
            return result
        name = func._schema.name.removeprefix("aten::")
        written = _nbytes(result)
        inputs = _nbytes(args)
        self.launches += 1
        if name == "_convolution":
            x, weight, is_transposed = args[0], args[1], args[6]
            self.flops += 2 * len(x) * weight.numel() * (x if is_transposed else result).shape[-1]
            # The bias is added in place.
            self.launches += 1
            self.num_bytes["bias"] += 2 * written
        elif name.startswith(("index", "_embedding")):
            inputs = written  # rows of it
        elif name == "copy_":
            inputs = written  # the target is only written
        self.num_bytes[name] += inputs + written
        return result


def _nbytes(value: Any) -> int:
    """Return the bytes of all tensors in it, each counted once."""
    tensors = {id(each): each for each in tree_leaves(value) if isinstance(each, Tensor)}
    return sum(each.numel() * each.element_size() for each in tensors.values())


def count_call() -> Call:
    """Count the operators of a call of the published sizes; nothing is calculated."""
    meta = torch.device("meta")
    with meta:
        streaming = StreamingDecoder(CodecDecoder(REAL.codec.codec).requires_grad_(False), 1)
        rows = torch.zeros(MAX_ROWS, dtype=torch.int64)
        codes = torch.zeros(MAX_ROWS, REAL.codec.codec.num_codebooks, MAX_PIECE_FRAMES).long()
        bounds = torch.zeros(MAX_ROWS, 2, dtype=torch.int64)
    with torch.no_grad(), _Traffic() as traffic:
        streaming._decode(rows, codes, bounds)
    conv_bytes = traffic.num_bytes.pop("_convolution")
    return Call(
        traffic.launches,
        traffic.flops / CALL_S,
        conv_bytes / CALL_S,
        traffic.num_bytes.total() / CALL_S,
        # Nothing else takes a sine.
        traffic.num_bytes["sin_"] / 2 / CALL_S,
    )


def table(call: Call) -> str:
    """Return what the call takes of the cards, alone and beside the fused step."""
    rows = [
        "| card | convolutions | snakes | ms per audio s | alone | beside fused | fused-int8 |",
        "| --- | --- | --- | --: | --: | --: | --: |",
    ]
    low, high = TF32_GAINS
    gains = {"exact": 1.0, f"TF32, x {low}": low, f"TF32, x {high}": high}
    for card in (CARDS["h100"], CARDS["h200"]):
        for snakes, passes in (("as they are", SNAKE_PASSES), ("one kernel", FUSED_PASSES)):
            for name, gain in gains.items():
                ms = call.ms(card, conv_gain=gain, snake_passes=passes)
                beside = " | ".join(_beside(card, ms, each) for each in ("fused", "fused-int8"))
                rows.append(
                    f"| {card.name} | {name} | {snakes} | {ms:.2f} | {1e3 / ms:,.0f} | {beside} |"
                )
    return "\n".join(rows)


def _beside(card: Card, codec_ms: float, design: Design) -> str:
    """Return the audio seconds per second if step and codec take turns, and if they overlap."""
    step_ms = step_of(design, SLOTS, CONTEXT).ms(card) * FRAME_RATE / SLOTS
    in_turns, at_once = 1e3 / (step_ms + codec_ms), 1e3 / max(step_ms, codec_ms)
    return f"{in_turns:,.0f} to {at_once:,.0f}"


def main() -> None:
    """Print what was counted, and the table."""
    call = count_call()
    print(
        f"{call.launches} kernels a call; per audio second {call.flops / 1e9:.1f} GFLOP, "
        f"{call.conv_bytes / 1e9:.2f} GB of convolutions and {call.pointwise_bytes / 1e9:.2f} of "
        f"the rest, {SNAKE_PASSES * call.snake_bytes / 1e9:.2f} of them snakes\n"
    )
    print(table(call))


if __name__ == "__main__":
    main()
