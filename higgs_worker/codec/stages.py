"""The decoder as a row of stages, each of which works on a stream piece by piece.

Every convolution of the decoder is symmetric: it looks as far ahead as back. A stage keeps the last
inputs, which its next outputs still need, and runs some samples behind the stage before it. The
whole decode pads with zeros before the first frame and after the last; here a mask sets the same
values to zero, between the stages. `streaming.py` runs them.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from higgs_worker.codec.convolution import Convolution
from higgs_worker.codec.decoder import CodecDecoder, ResidualUnit, Snake


class Stage(Protocol):
    """A part of the decoder; its state is the last inputs, which its next outputs still need."""

    rate_factor: int
    """Output samples per input sample."""
    lag: int
    """Output samples by which it runs behind its own input."""
    channels: int
    """Of the input."""
    state_size: int
    """Input samples in its state."""

    def run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the next outputs [B, C, S x rate_factor].

        Args:
            x: [B, channels, state_size + S], the state and the next inputs.
            mask: [B, 1, S x rate_factor], 1 for outputs that exist in the whole decode and 0 for
                the others, which become zero; None: all exist.
        """
        ...


class ConvStage:
    """A convolution with an odd number of taps, with or without an activation before it."""

    rate_factor = 1

    def __init__(self, conv: nn.Conv1d, snake: Snake | None, *, allow_tf32: bool) -> None:
        self._conv = Convolution(conv, allow_tf32=allow_tf32)
        self._snake = None if snake is None else snake.frozen()
        self.channels = conv.in_channels
        self.lag = conv.kernel_size[0] // 2
        self.state_size = 2 * self.lag

    def run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `Stage`."""
        if self._snake is not None:
            x = self._snake(x)
        y = self._conv(x)
        return y if mask is None else y.mul_(mask)


class UpsampleStage:
    """A transposed convolution: every output depends on two neighbouring inputs."""

    state_size = 1

    def __init__(self, conv: nn.ConvTranspose1d, snake: Snake, *, allow_tf32: bool) -> None:
        self._conv = Convolution(conv, allow_tf32=allow_tf32)
        self._snake = snake.frozen()
        self.channels = conv.in_channels
        self.rate_factor = conv.stride[0]
        self.lag = int(conv.padding[0])

    def run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `Stage`."""
        stride = self.rate_factor
        # The outputs at both ends lack one of their two inputs.
        y = self._conv(self._snake(x))[..., stride:-stride]
        return y if mask is None else y.mul_(mask)


class ResidualStage:
    """A residual unit; its input is delayed to match the lag of its convolution."""

    rate_factor = 1

    def __init__(self, unit: ResidualUnit, *, allow_tf32: bool) -> None:
        self._conv1 = Convolution(unit.conv1, allow_tf32=allow_tf32)
        self._conv2 = Convolution(unit.conv2, allow_tf32=allow_tf32)
        self._snake1, self._snake2 = unit.snake1.frozen(), unit.snake2.frozen()
        self.channels = unit.conv1.in_channels
        self.lag = int(unit.conv1.padding[0])
        self.state_size = 2 * self.lag

    def run(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """See `Stage`."""
        y = self._conv1(self._snake1(x))
        y = self._conv2(self._snake2(y))
        x = x[..., self.lag : -self.lag]
        # The stage before has masked x already.
        return y.add_(x) if mask is None else torch.addcmul(x, y, mask, out=y)


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage at its place in the decoder."""

    stage: Stage
    rate: int
    """Its output samples per frame."""
    lag: int
    """Output samples by which it runs behind the codes."""

    @property
    def num_state_values(self) -> int:
        """Values in its state of one stream."""
        return self.stage.channels * self.stage.state_size


class AudioMask:
    """Which outputs of a call exist in the whole decode: those between an audio's bounds."""

    def __init__(self, bounds: Tensor, num_frames: int, num_lag_frames: int) -> None:
        """Compare once per frame; the samples of a frame all exist or none does.

        Args:
            bounds: [B, 2] int64, the audio's first frame and its end, counted from the first frame
                of the call.
            num_frames: of the call.
            num_lag_frames: frames by which the last stage runs behind, rounded up.
        """
        self._num_frames, self._num_lag_frames = num_frames, num_lag_frames
        frame = torch.arange(-num_lag_frames, num_frames, device=bounds.device)
        first, end = bounds[:, :1], bounds[:, 1:]
        self._frames = ((frame >= first) & (frame < end)).float().unsqueeze(1)
        self._samples = {1: self._frames}
        """By rate."""

    def at(self, rate: int, lag: int) -> Tensor:
        """Return 1 for outputs that exist, else 0, [B, 1, num_frames x rate] float32.

        Args:
            rate: outputs per frame.
            lag: outputs by which they run behind the codes.
        """
        if rate not in self._samples:
            each = self._frames.unsqueeze(-1).expand(-1, -1, -1, rate)
            self._samples[rate] = each.flatten(-2)
        first = rate * self._num_lag_frames - lag
        return self._samples[rate][..., first : first + rate * self._num_frames]


def plan_stages(decoder: CodecDecoder, *, allow_tf32: bool = False) -> list[StagePlan]:
    """Return the stages of a decoder in order, with rates and lags added up."""
    plans = []
    rate, lag = 1, 0
    for stage in stages_of(decoder, allow_tf32=allow_tf32):
        rate *= stage.rate_factor
        lag = lag * stage.rate_factor + stage.lag
        plans.append(StagePlan(stage, rate, lag))
    return plans


def stages_of(decoder: CodecDecoder, *, allow_tf32: bool) -> list[Stage]:
    """Return the stages of a decoder, in order."""
    network = decoder.acoustic_decoder
    stages: list[Stage] = [ConvStage(network.conv1, None, allow_tf32=allow_tf32)]
    for block in network.blocks:
        stages.append(UpsampleStage(block.conv_t1, block.snake1, allow_tf32=allow_tf32))
        stages += [
            ResidualStage(unit, allow_tf32=allow_tf32)
            for unit in (block.res_unit1, block.res_unit2, block.res_unit3)
        ]
    stages.append(ConvStage(network.conv2, network.snake1, allow_tf32=allow_tf32))
    return stages
