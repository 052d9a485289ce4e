"""Codes -> PCM while the codes still come: exact, and nothing is computed twice.

Every convolution of the decoder is symmetric: it looks as far ahead as back. A stream keeps, per
stage, the inputs that the next outputs still need, so each stage runs some samples behind the one
before it and the PCM `lag` samples behind the codes. What the whole decode pads with zeros, before
the first frame and after the last, is zeroed here stage by stage; so the pieces joined equal the
whole decode, whatever their sizes.

Streams that advance by the same number of frames share a call, wherever in their audio they are;
on a GPU a call between a stream's ends is captured (see `graphs.py`). Memory does not depend on the
length of the audio. One thread at a time.
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
from higgs_worker.codec.graphs import StreamGraphs
from higgs_worker.cuda_graphs import Capture

NEVER = 1 << 40
"""A number of frames that no stream reaches: its end is not known yet."""
MAX_ROWS = 8
"""Streams in one call: a second of audio of each keeps a GPU busy; more only fall out of caches."""


class Stage(Protocol):
    """A part of the decoder that keeps the inputs its next outputs need."""

    rate_factor: int
    """Output samples per input sample."""
    lag: int
    """Output samples by which it runs behind its own input."""
    channels: int
    num_kept: int

    def run(self, kept: Tensor, x: Tensor) -> Tensor:
        """Compute as many outputs as inputs, times the rate factor.

        Args:
            kept: [B, channels, num_kept], the inputs before these.
            x: [B, channels, S].
        """
        ...


class ConvStage:
    """A convolution over an odd number of taps, maybe behind an activation."""

    rate_factor = 1

    def __init__(self, conv: nn.Conv1d, snake: Snake | None) -> None:
        self._conv, self._snake = conv, snake
        self.channels = conv.in_channels
        self.lag = conv.kernel_size[0] // 2
        self.num_kept = 2 * self.lag

    def run(self, kept: Tensor, x: Tensor) -> Tensor:
        """See `Stage`."""
        x = torch.cat([kept, x], dim=-1)
        if self._snake is not None:
            x = self._snake(x)
        return F.conv1d(x, self._conv.weight, self._conv.bias)


class UpsampleStage:
    """A transposed convolution: every output comes of two neighbouring inputs."""

    num_kept = 1

    def __init__(self, conv: nn.ConvTranspose1d, snake: Snake) -> None:
        self._conv, self._snake = conv, snake
        self.channels = conv.in_channels
        self.rate_factor = conv.stride[0]
        self.lag = int(conv.padding[0])

    def run(self, kept: Tensor, x: Tensor) -> Tensor:
        """See `Stage`."""
        stride = self.rate_factor
        x = self._snake(torch.cat([kept, x], dim=-1))
        y = F.conv_transpose1d(x, self._conv.weight, self._conv.bias, stride=stride)
        # What the first and the last input give alone is only half of the outputs there.
        return y[..., stride:-stride]


class ResidualStage:
    """A residual unit; its input waits for the convolution beside it."""

    rate_factor = 1

    def __init__(self, unit: ResidualUnit) -> None:
        self._unit = unit
        self.channels = unit.conv1.in_channels
        self.lag = int(unit.conv1.padding[0])
        self.num_kept = 2 * self.lag

    def run(self, kept: Tensor, x: Tensor) -> Tensor:
        """See `Stage`."""
        unit, num_outputs = self._unit, x.shape[-1]
        x = torch.cat([kept, x], dim=-1)
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
    """Nothing follows: the PCM that was held back comes too, to the last sample."""


class StreamingDecoder:
    """The decoder's weights plus the state of some streams.

    With `capture`, the step is captured here, before anyone waits: a capture holds up the device.
    """

    def __init__(
        self, decoder: CodecDecoder, num_streams: int, *, capture: Capture | None = None
    ) -> None:
        self.config = decoder.config
        self.num_streams = num_streams
        self._table = decoder.code_table
        self._device = decoder.code_table.table.device
        self._stages = stages_of(decoder)
        self._rates: list[int] = []
        self._lags: list[int] = []
        rate, lag = 1, 0
        for stage in self._stages:
            rate *= stage.rate_factor
            lag = lag * stage.rate_factor + stage.lag
            self._rates.append(rate)
            self._lags.append(lag)
        # One more than there are streams: the rows that pad a captured step write there.
        self._kept = [
            torch.zeros((num_streams + 1, stage.channels, stage.num_kept), device=self._device)
            for stage in self._stages
        ]
        self._num_fed = [0] * num_streams
        self._num_frames = [NEVER] * num_streams
        self._graphs: StreamGraphs | None = None
        if capture is not None:
            self._graphs = StreamGraphs(
                self._step,
                capture,
                max_rows=min(MAX_ROWS, num_streams),
                spare_row=num_streams,
                num_codebooks=self.config.num_codebooks,
                device=self._device,
            )

    @property
    def lag(self) -> int:
        """Samples by which PCM runs behind the codes."""
        return self._lags[-1]

    @property
    def num_lag_frames(self) -> int:
        """Frames that must follow one before it can be heard to its end."""
        return -(-self.lag // self.config.hop_length)

    def own_queue(self) -> AbstractContextManager[object]:
        """Let this thread's work on a GPU run beside that of others, not in line with it."""
        if self._device.type != "cuda":
            return nullcontext()
        queue = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        queue.wait_stream(torch.cuda.current_stream(self._device))  # the weights are being copied
        return torch.cuda.stream(queue)

    def open(self, stream: int) -> None:
        """Begin a stream; whatever it was is forgotten."""
        for kept in self._kept:
            kept[stream] = 0
        self._num_fed[stream] = 0
        self._num_frames[stream] = NEVER

    @torch.inference_mode()
    def advance(self, pieces: Sequence[CodecPiece]) -> list[NDArray[np.float32]]:
        """Decode more frames; PCM of each piece that is final by now, maybe empty.

        Args:
            pieces: at most one per stream.
        """
        pcm = {piece.stream: np.zeros(0, dtype=np.float32) for piece in pieces}
        calls: dict[tuple[int, bool], list[CodecPiece]] = {}
        for piece in pieces:
            if piece.is_last:
                self._num_frames[piece.stream] = self._num_fed[piece.stream] + len(piece.codes)
            if num_frames := self._num_pushed(piece):
                calls.setdefault((num_frames, self._is_inside(piece)), []).append(piece)
        for (num_frames, is_inside), together in calls.items():
            for first in range(0, len(together), MAX_ROWS):
                pcm |= self._run(together[first : first + MAX_ROWS], num_frames, is_inside)
        return [pcm[piece.stream] for piece in pieces]

    def _num_pushed(self, piece: CodecPiece) -> int:
        """Count the frames to push: after the last ones come as many as the stream holds back."""
        return len(piece.codes) + (self.num_lag_frames if piece.is_last else 0)

    def _is_inside(self, piece: CodecPiece) -> bool:
        """Whether the piece touches nothing of what the whole decode pads with zeros."""
        return self._num_fed[piece.stream] >= self.num_lag_frames and not piece.is_last

    def _run(
        self, pieces: list[CodecPiece], num_frames: int, is_inside: bool
    ) -> dict[int, NDArray[np.float32]]:
        """Push some frames of several streams through all stages; the final PCM of each."""
        streams = [piece.stream for piece in pieces]
        codes = np.zeros((len(pieces), self.config.num_codebooks, num_frames), dtype=np.int64)
        for row, piece in enumerate(pieces):
            codes[row, :, : len(piece.codes)] = piece.codes.T
        rows = torch.tensor(streams, device=self._device)
        pushed = torch.from_numpy(codes).to(self._device)
        if is_inside:
            graph = self._graphs and self._graphs.find(len(pieces), num_frames)
            x = graph.run(rows, pushed) if graph else self._step(rows, pushed)
        else:
            ends = [
                [self._num_fed[stream] for stream in streams],
                [self._num_frames[stream] for stream in streams],
            ]
            x = self._step(rows, pushed, torch.tensor(ends, device=self._device).unsqueeze(-1))
        pcm = x.cpu().numpy()
        final = {}
        for row, stream in enumerate(streams):
            first = self.config.hop_length * self._num_fed[stream] - self.lag
            last = self.config.hop_length * self._num_frames[stream]
            stop = max(0, min(pcm.shape[1], last - first))
            final[stream] = pcm[row, min(max(0, -first), stop) : stop].copy()
            self._num_fed[stream] += num_frames
        return final

    def _step(self, rows: Tensor, codes: Tensor, bounds: Tensor | None = None) -> Tensor:
        """Push codes through all stages.

        Args:
            rows: [B], where the state is.
            codes: [B, K, F].
            bounds: [2, B, 1], frames fed before and in all; None: these are far from either end.

        Returns:
            [B, F * hop_length], `lag` samples behind.
        """
        x: Tensor = self._table(codes)
        if bounds is not None:
            x = x * self._mask(bounds, 1, 0, x.shape[-1])
        for stage, rate, lag, kept in zip(
            self._stages, self._rates, self._lags, self._kept, strict=True
        ):
            before = kept[rows]
            kept[rows] = torch.cat([before, x], dim=-1)[..., -stage.num_kept :]
            x = stage.run(before, x)
            if bounds is not None:
                x = x.mul_(self._mask(bounds, rate, lag, x.shape[-1]))
        return x.squeeze(1)

    def _mask(self, bounds: Tensor, rate: int, lag: int, size: int) -> Tensor:
        """Mark the outputs of a stage that exist in the whole decode, [B, 1, size] float32."""
        fed, total = bounds[0], bounds[1]
        position = rate * fed - lag + torch.arange(size, device=self._device)
        return ((position >= 0) & (position < rate * total)).unsqueeze(1).float()


def stages_of(decoder: CodecDecoder) -> list[Stage]:
    """Take a decoder apart into its stages, in order."""
    network = decoder.acoustic_decoder
    stages: list[Stage] = [ConvStage(network.conv1, None)]
    for block in network.blocks:
        stages.append(UpsampleStage(block.conv_t1, block.snake1))
        stages += [
            ResidualStage(unit) for unit in (block.res_unit1, block.res_unit2, block.res_unit3)
        ]
    stages.append(ConvStage(network.conv2, network.snake1))
    return stages
