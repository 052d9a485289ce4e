"""Codes -> PCM while codes still arrive: exact, and nothing is computed twice.

The decoder runs as a row of stages (see `stages.py`), each of which keeps the inputs that its next
outputs still need, so the PCM runs `lag` samples behind the codes. The whole decode pads with zeros
before the first frame and after the last; here a mask sets the same values to zero, stage by stage.
The joined pieces therefore equal the whole decode, whatever their sizes.

Streams that advance by the same number of frames share a call. On a GPU a call has one of a few
shapes, which are captured (see `graphs.py`). A piece at the start or the end of an audio is filled
up to such a shape with frames that do not exist: the mask makes zeros of all that they give. Memory
does not depend on the length of the audio. One thread at a time.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import accumulate, zip_longest

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.graphs import PieceGraphs, call_sizes
from higgs_worker.codec.stages import AudioMask, plan_stages
from higgs_worker.cuda import MIDDLE, Capture, Captures, hold_captures, own_stream

UNKNOWN_END = 1 << 40
"""Number of frames of a stream whose end is not known yet: more than any stream has."""
MAX_ROWS = 8
"""Streams per call. On a CPU more than eight seconds of audio fall out of the caches
(docs/performance.md)."""


@dataclass(frozen=True, slots=True, eq=False)
class CodecPiece:
    """Frames of one stream to decode now."""

    stream: int
    codes: NDArray[np.int64]
    """[F, K]."""
    is_last: bool = False
    """No frames follow: PCM comes up to the last sample, the lag included."""


class StreamingDecoder:
    """The decoder's weights and the state of several streams."""

    def __init__(
        self,
        decoder: CodecDecoder,
        num_streams: int,
        *,
        allow_tf32: bool = False,
        capture: Capture | None = None,
    ) -> None:
        """Allocate the state.

        Args:
            decoder: whose weights are used, as they are now.
            num_streams: streams that can be open at the same time.
            allow_tf32: whether a GPU may round what its convolutions multiply, see
                `convolution.py`; pieces then equal the whole decode up to that rounding.
            capture: captures calls as graphs, in `prepare`; None: every call is eager.
        """
        self.config = decoder.config
        self.num_streams = num_streams
        self._table = decoder.code_table
        self._device = decoder.code_table.table.device
        self._plans = plan_stages(decoder, allow_tf32=allow_tf32)
        # One row more than there are streams: rows that pad a captured call write there.
        self._states = torch.zeros(
            (num_streams + 1, sum(plan.num_state_values for plan in self._plans)),
            device=self._device,
        )
        """[num_streams + 1, values of all stages]."""
        self._num_fed = [0] * num_streams
        """Frames fed before the next call: those that only fill a call count, so the first ones may
        make it negative."""
        self._num_frames = [UNKNOWN_END] * num_streams
        self._captures = Captures(capture)
        self._graphs: PieceGraphs | None = None

    @property
    def lag(self) -> int:
        """Samples by which PCM runs behind the codes."""
        return self._plans[-1].lag

    @property
    def num_lag_frames(self) -> int:
        """Frames that must follow one before all its PCM is final."""
        return -(-self.lag // self.config.hop_length)

    def own_stream(self) -> AbstractContextManager[None]:
        """Run this thread's GPU work on a CUDA stream of its own, beside the engine's."""
        return own_stream(self._device, MIDDLE)

    def prepare(self) -> None:
        """Run and capture the calls of all shapes; without a GPU there is nothing to do.

        Call it in the thread that will call `advance`: cuDNN's plans belong to the thread that made
        them, and making those of one shape takes 47 ms (measured on an H100).
        """
        if not self._captures.enabled:
            return
        with hold_captures():
            self._graphs = PieceGraphs(
                self._decode,
                self._captures,
                max_rows=min(MAX_ROWS, self.num_streams),
                spare_row=self.num_streams,
                num_codebooks=self.config.num_codebooks,
                device=self._device,
            )

    def open(self, stream: int) -> None:
        """Reset a stream's state, for a new audio."""
        self._states[stream] = 0
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
        pcm = {piece.stream: [np.zeros(0, dtype=np.float32)] for piece in pieces}
        for parts in zip_longest(*map(self._parts, pieces)):
            calls: dict[tuple[int, bool], list[CodecPiece]] = {}
            for part in filter(None, parts):
                key = (len(part.codes), self._needs_mask(part.stream))
                calls.setdefault(key, []).append(part)
            for (num_frames, is_masked), together in calls.items():
                for first in range(0, len(together), MAX_ROWS):
                    rows = together[first : first + MAX_ROWS]
                    for stream, final in self._call(rows, num_frames, is_masked).items():
                        pcm[stream].append(final)
        return [np.concatenate(pcm[piece.stream]) for piece in pieces]

    def _parts(self, piece: CodecPiece) -> list[CodecPiece]:
        """Return what each of the calls that a piece needs is to be fed, in order."""
        stream, codes = piece.stream, piece.codes
        if piece.is_last:
            self._num_frames[stream] = self._num_fed[stream] + len(codes)
            # Behind the last frames, as many more as the stream lags.
            codes = _add_frames(codes, behind=self.num_lag_frames)
        if not len(codes):
            return []
        sizes = [len(codes)] if self._graphs is None else call_sizes(len(codes))
        num_missing = sum(sizes) - len(codes)
        if piece.is_last:
            codes = _add_frames(codes, behind=num_missing)
        elif self._num_fed[stream] == 0:
            codes = _add_frames(codes, before=num_missing)
            self._num_fed[stream] = -num_missing
        elif num_missing:
            # Between both ends nothing can be added. No such piece comes from a `PieceSchedule`.
            sizes = [len(codes)]
        parts = np.split(codes, list(accumulate(sizes[:-1])))
        return [CodecPiece(stream, part) for part in parts]

    def _needs_mask(self, stream: int) -> bool:
        """Whether the next outputs may depend on what the whole decode pads, or are captured."""
        is_inside = (
            self._num_fed[stream] >= self.num_lag_frames and self._num_frames[stream] == UNKNOWN_END
        )
        return self._graphs is not None or not is_inside

    def _call(
        self, pieces: list[CodecPiece], num_frames: int, is_masked: bool
    ) -> dict[int, NDArray[np.float32]]:
        """Decode `num_frames` of several streams in one call; returns each stream's final PCM."""
        streams = [piece.stream for piece in pieces]
        rows = torch.tensor(streams)
        codes = torch.from_numpy(np.stack([piece.codes.T for piece in pieces]))
        bounds = torch.tensor([self._bounds(stream) for stream in streams])
        if graph := self._graphs and self._graphs.find(len(pieces), num_frames):
            x = graph.run(rows, codes, bounds)
        else:
            device = self._device
            x = self._decode(
                rows.to(device), codes.to(device), bounds.to(device) if is_masked else None
            )
        pcm = x.cpu().numpy()
        final = {}
        for row, stream in enumerate(streams):
            final[stream] = pcm[row, self._final_part(stream, pcm.shape[1])]
            self._num_fed[stream] += num_frames
        return final

    def _bounds(self, stream: int) -> tuple[int, int]:
        """Return the audio's first frame and its end, counted from the next frame to be fed."""
        num_fed = self._num_fed[stream]
        return -num_fed, self._num_frames[stream] - num_fed

    def _final_part(self, stream: int, num_samples: int) -> slice:
        """Return which samples of a call's output exist in the whole decode."""
        first = self.config.hop_length * self._num_fed[stream] - self.lag
        end = self.config.hop_length * self._num_frames[stream]
        stop = max(0, min(num_samples, end - first))
        return slice(min(max(0, -first), stop), stop)

    def _decode(self, rows: Tensor, codes: Tensor, bounds: Tensor | None) -> Tensor:
        """Run codes through all stages, and update the streams' states in place.

        Args:
            rows: [B], of the states.
            codes: [B, K, F].
            bounds: [B, 2], the audio's first frame and its end, counted from the first of these
                frames; None: no output needs a mask.

        Returns:
            [B, F x hop_length], `lag` samples behind the codes.
        """
        mask = None
        if bounds is not None:
            mask = AudioMask(bounds, codes.shape[-1], self.num_lag_frames)
        states = self._states[rows]
        x: Tensor = self._table(codes)
        if mask is not None:
            x = x.mul_(mask.at(rate=1, lag=0))
        sizes = [plan.num_state_values for plan in self._plans]
        for plan, state in zip(self._plans, torch.split(states, sizes, dim=1), strict=True):
            stage = plan.stage
            state = state.view(len(rows), stage.channels, stage.state_size)
            x = torch.cat([state, x], dim=-1)
            state.copy_(x[..., -stage.state_size :])
            x = stage.run(x, None if mask is None else mask.at(plan.rate, plan.lag))
        self._states[rows] = states
        return x.squeeze(1)


def _add_frames(codes: NDArray[np.int64], *, before: int = 0, behind: int = 0) -> NDArray[np.int64]:
    """Return codes [F, K] with frames of zeros added."""
    return np.pad(codes, ((before, behind), (0, 0)))
