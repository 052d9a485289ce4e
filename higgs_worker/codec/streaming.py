"""Codes -> PCM while codes still arrive: exact, and nothing is computed twice.

Every convolution of the decoder is symmetric: it looks as far ahead as back. A stream keeps, per
stage, the inputs that the next outputs still need. So each stage runs some samples behind the one
before it, and the PCM runs `lag` samples behind the codes. The whole decode pads with zeros before
the first frame and after the last; here a mask sets the same values to zero, stage by stage. The
joined pieces therefore equal the whole decode, whatever their sizes.

Streams that advance by the same number of frames share a call, wherever in their audio they are. On
a GPU, calls inside a stream are captured (see `graphs.py`). Memory does not depend on the length of
the audio. One thread at a time.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from higgs_worker.codec.decoder import CodecDecoder, ResidualUnit, Snake
from higgs_worker.codec.graphs import PieceGraphs
from higgs_worker.cuda import Capture

UNKNOWN_END = 1 << 40
"""Number of frames of a stream whose end is not known yet: more than any stream has."""
MAX_ROWS = 8
"""Streams per call. On a CPU more than eight seconds of audio fall out of the caches
(docs/performance.md)."""


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

    def run(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next outputs [B, C, S x rate_factor].

        Args:
            state: [B, channels, state_size], the inputs before these.
            x: [B, channels, S], the next inputs.
        """
        ...


class ConvStage:
    """A convolution with an odd number of taps, with or without an activation before it."""

    rate_factor = 1

    def __init__(self, conv: nn.Conv1d, snake: Snake | None) -> None:
        self._conv, self._snake = conv, snake
        self.channels = conv.in_channels
        self.lag = conv.kernel_size[0] // 2
        self.state_size = 2 * self.lag

    def run(self, state: Tensor, x: Tensor) -> Tensor:
        """See `Stage`."""
        x = torch.cat([state, x], dim=-1)
        if self._snake is not None:
            x = self._snake(x)
        return F.conv1d(x, self._conv.weight, self._conv.bias)


class UpsampleStage:
    """A transposed convolution: every output depends on two neighbouring inputs."""

    state_size = 1

    def __init__(self, conv: nn.ConvTranspose1d, snake: Snake) -> None:
        self._conv, self._snake = conv, snake
        self.channels = conv.in_channels
        self.rate_factor = conv.stride[0]
        self.lag = int(conv.padding[0])

    def run(self, state: Tensor, x: Tensor) -> Tensor:
        """See `Stage`."""
        stride = self.rate_factor
        x = self._snake(torch.cat([state, x], dim=-1))
        y = F.conv_transpose1d(x, self._conv.weight, self._conv.bias, stride=stride)
        # The outputs at both ends lack one of their two inputs.
        return y[..., stride:-stride]


class ResidualStage:
    """A residual unit; its input is delayed to match the lag of its convolution."""

    rate_factor = 1

    def __init__(self, unit: ResidualUnit) -> None:
        self._unit = unit
        self.channels = unit.conv1.in_channels
        self.lag = int(unit.conv1.padding[0])
        self.state_size = 2 * self.lag

    def run(self, state: Tensor, x: Tensor) -> Tensor:
        """See `Stage`."""
        unit, num_outputs = self._unit, x.shape[-1]
        x = torch.cat([state, x], dim=-1)
        conv = unit.conv1
        y = F.conv1d(unit.snake1(x), conv.weight, conv.bias, dilation=conv.dilation)
        y = F.conv1d(unit.snake2(y), unit.conv2.weight, unit.conv2.bias)
        return y.add_(x[..., self.lag : self.lag + num_outputs])


@dataclass(frozen=True, slots=True, eq=False)
class CodecPiece:
    """Frames of one stream to decode now."""

    stream: int
    codes: NDArray[np.int64]
    """[F, K]."""
    is_last: bool = False
    """No frames follow: PCM comes up to the last sample, the lag included."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage at its place in the decoder."""

    stage: Stage
    rate: int
    """Its output samples per frame."""
    lag: int
    """Output samples by which it runs behind the codes."""


def plan_stages(decoder: CodecDecoder) -> list[StagePlan]:
    """Return the stages of a decoder in order, with rates and lags added up."""
    plans = []
    rate, lag = 1, 0
    for stage in stages_of(decoder):
        rate *= stage.rate_factor
        lag = lag * stage.rate_factor + stage.lag
        plans.append(StagePlan(stage, rate, lag))
    return plans


class StreamingDecoder:
    """The decoder's weights and the state of several streams."""

    def __init__(
        self, decoder: CodecDecoder, num_streams: int, *, capture: Capture | None = None
    ) -> None:
        """Allocate the state, and capture the graphs now: capturing later would block the device.

        Args:
            decoder: whose weights are used.
            num_streams: streams that can be open at the same time.
            capture: captures calls as graphs; None: every call is eager.
        """
        self.config = decoder.config
        self.num_streams = num_streams
        self._table = decoder.code_table
        self._device = decoder.code_table.table.device
        self._plans = plan_stages(decoder)
        # One row more than there are streams: rows that pad a captured call write there.
        self._states = [
            torch.zeros(
                (num_streams + 1, plan.stage.channels, plan.stage.state_size), device=self._device
            )
            for plan in self._plans
        ]
        self._num_fed = [0] * num_streams
        self._num_frames = [UNKNOWN_END] * num_streams
        self._graphs: PieceGraphs | None = None
        if capture is not None:
            self._graphs = PieceGraphs(
                self._decode,
                capture,
                max_rows=min(MAX_ROWS, num_streams),
                spare_row=num_streams,
                num_codebooks=self.config.num_codebooks,
                device=self._device,
            )

    @property
    def lag(self) -> int:
        """Samples by which PCM runs behind the codes."""
        return self._plans[-1].lag

    @property
    def num_lag_frames(self) -> int:
        """Frames that must follow one before all its PCM is final."""
        return -(-self.lag // self.config.hop_length)

    def own_cuda_stream(self) -> AbstractContextManager[object]:
        """Run this thread's GPU work on a CUDA stream of its own, beside the engine's."""
        if self._device.type != "cuda":
            return nullcontext()
        own = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        own.wait_stream(torch.cuda.current_stream(self._device))  # it may still copy the weights
        return torch.cuda.stream(own)

    def open(self, stream: int) -> None:
        """Reset a stream's state, for a new audio."""
        for state in self._states:
            state[stream] = 0
        self._num_fed[stream] = 0
        self._num_frames[stream] = UNKNOWN_END

    @torch.inference_mode()
    def advance(self, pieces: Sequence[CodecPiece]) -> list[NDArray[np.float32]]:
        """Decode one piece of each of some streams.

        Args:
            pieces: at most one per stream.

        Returns:
            per piece, the PCM that has become final, [S] with S possibly 0.
        """
        pcm = {piece.stream: np.zeros(0, dtype=np.float32) for piece in pieces}
        calls: dict[tuple[int, bool], list[CodecPiece]] = {}
        for piece in pieces:
            if piece.is_last:
                self._num_frames[piece.stream] = self._num_fed[piece.stream] + len(piece.codes)
            if num_frames := self._num_call_frames(piece):
                calls.setdefault((num_frames, self._is_inside(piece)), []).append(piece)
        for (num_frames, is_inside), together in calls.items():
            for first in range(0, len(together), MAX_ROWS):
                pcm |= self._call(together[first : first + MAX_ROWS], num_frames, is_inside)
        return [pcm[piece.stream] for piece in pieces]

    def _num_call_frames(self, piece: CodecPiece) -> int:
        """Return the frames to decode: behind the last ones, as many more as the stream lags."""
        return len(piece.codes) + (self.num_lag_frames if piece.is_last else 0)

    def _is_inside(self, piece: CodecPiece) -> bool:
        """Whether the piece needs no mask: no output depends on what the whole decode pads."""
        return self._num_fed[piece.stream] >= self.num_lag_frames and not piece.is_last

    def _call(
        self, pieces: list[CodecPiece], num_frames: int, is_inside: bool
    ) -> dict[int, NDArray[np.float32]]:
        """Decode `num_frames` of several streams in one call; returns each stream's final PCM."""
        streams = [piece.stream for piece in pieces]
        padded = np.zeros((len(pieces), self.config.num_codebooks, num_frames), dtype=np.int64)
        for row, piece in enumerate(pieces):
            padded[row, :, : len(piece.codes)] = piece.codes.T
        rows = torch.tensor(streams, device=self._device)
        codes = torch.from_numpy(padded).to(self._device)
        if is_inside:
            graph = self._graphs and self._graphs.find(len(pieces), num_frames)
            x = graph.run(rows, codes) if graph else self._decode(rows, codes)
        else:
            bounds = [
                [self._num_fed[stream] for stream in streams],
                [self._num_frames[stream] for stream in streams],
            ]
            x = self._decode(rows, codes, torch.tensor(bounds, device=self._device).unsqueeze(-1))
        pcm = x.cpu().numpy()
        final = {}
        for row, stream in enumerate(streams):
            final[stream] = pcm[row, self._final_part(stream, pcm.shape[1])].copy()
            self._num_fed[stream] += num_frames
        return final

    def _final_part(self, stream: int, num_samples: int) -> slice:
        """Return which samples of a call's output exist in the whole decode."""
        first = self.config.hop_length * self._num_fed[stream] - self.lag
        end = self.config.hop_length * self._num_frames[stream]
        stop = max(0, min(num_samples, end - first))
        return slice(min(max(0, -first), stop), stop)

    def _decode(self, rows: Tensor, codes: Tensor, bounds: Tensor | None = None) -> Tensor:
        """Run codes through all stages, and update their states in place.

        Args:
            rows: [B], of the states.
            codes: [B, K, F].
            bounds: [2, B, 1], frames fed before and in all; None: no output needs a mask.

        Returns:
            [B, F x hop_length], `lag` samples behind the codes.
        """
        x: Tensor = self._table(codes)
        if bounds is not None:
            x = x * self._mask(bounds, 1, 0, x.shape[-1])
        for plan, states in zip(self._plans, self._states, strict=True):
            state = states[rows]
            states[rows] = torch.cat([state, x], dim=-1)[..., -plan.stage.state_size :]
            x = plan.stage.run(state, x)
            if bounds is not None:
                x = x.mul_(self._mask(bounds, plan.rate, plan.lag, x.shape[-1]))
        return x.squeeze(1)

    def _mask(self, bounds: Tensor, rate: int, lag: int, size: int) -> Tensor:
        """Return 1 for outputs that exist in the whole decode, else 0, [B, 1, size] float32."""
        fed, total = bounds[0], bounds[1]
        position = rate * fed - lag + torch.arange(size, device=self._device)
        return ((position >= 0) & (position < rate * total)).unsqueeze(1).float()


def stages_of(decoder: CodecDecoder) -> list[Stage]:
    """Return the stages of a decoder, in order."""
    network = decoder.acoustic_decoder
    stages: list[Stage] = [ConvStage(network.conv1, None)]
    for block in network.blocks:
        stages.append(UpsampleStage(block.conv_t1, block.snake1))
        stages += [
            ResidualStage(unit) for unit in (block.res_unit1, block.res_unit2, block.res_unit3)
        ]
    stages.append(ConvStage(network.conv2, network.snake1))
    return stages
