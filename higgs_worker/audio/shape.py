"""Change PCM: its sample rate, speed and loudness.

PCM is float32, mono, nominally in [-1, 1]. Every function returns a new array; the classes change
PCM that arrives in pieces. soxr resamples; FFmpeg, through PyAV, changes the speed (`atempo`) and
measures the loudness (`ebur128`). Both are imported at first use.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import AudioFrame

_MIN_SPEED, _MAX_SPEED = 0.25, 4.0
_SPEED_PUSH_S = 0.02
"""Half of it would bring the first sound 10 ms earlier and take twice the time."""

_LOUDNESS_PUSH_S = 1.0
"""Short, because frames are copies; longer ones are measured no faster."""
_BLOCK_S = 0.4
"""The shortest sound that BS.1770-4 measures."""
_SILENCE_LUFS = -70.0
"""What counts as silence there; `ebur128` says so where it measured nothing louder."""


def resample(pcm: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    """Return `[S * to_hz / from_hz] float32`, the same sound at another sample rate (soxr HQ)."""
    import soxr

    resampled: NDArray[np.float32] = soxr.resample(
        np.ascontiguousarray(pcm, np.float32), from_hz, to_hz, "HQ"
    )
    return resampled


class StreamResampler:
    """`resample` for PCM that arrives in pieces; the pieces, joined, equal the whole.

    Holds back up to about 40 ms at 24 kHz, the length of its filter.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def feed(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what `pcm`, `[S] float32`, completes; it may be empty."""
        return self._resample(pcm, last=False)

    def finish(self) -> NDArray[np.float32]:
        """Return the rest; nothing may be fed afterwards."""
        return self._resample(np.zeros(0, np.float32), last=True)

    def _resample(self, pcm: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        resampled: NDArray[np.float32] = self._stream.resample_chunk(
            np.ascontiguousarray(pcm, np.float32), last=last
        )
        return resampled


def ramp(num_samples: int) -> NDArray[np.float32]:
    """Return `[num_samples] float32` that rise from 0 to 1 as a raised cosine."""
    # Offset by half a sample, so that the reversed ramp is its complement.
    phase = (np.arange(num_samples, dtype=np.float32) + 0.5) / max(num_samples, 1)
    ramp_up: NDArray[np.float32] = (0.5 - 0.5 * np.cos(np.pi * phase)).astype(np.float32)
    return ramp_up


def change_speed(pcm: NDArray[np.float32], sample_rate: int, speed: float) -> NDArray[np.float32]:
    """Return `[round(S / speed)] float32`: the same speech, faster or slower, at the same pitch.

    Args:
        pcm: `[S] float32`.
        sample_rate: in hertz.
        speed: 0.25 to 4; 2 takes half the time.

    Raises:
        ValueError: the speed is out of range.
    """
    stream = StreamSpeed(sample_rate, speed)
    return np.concatenate([stream.feed(pcm), stream.finish()])


class StreamSpeed:
    """`change_speed` for PCM that arrives in pieces; the pieces, joined, equal the whole.

    At 24 kHz the first sound comes with 80 ms of PCM, because atempo first aligns two windows of 43
    ms. At a speed above 2 it takes 200 ms: one atempo follows another.
    """

    def __init__(self, sample_rate: int, speed: float) -> None:
        """See `change_speed` for the arguments and what is raised."""
        if not _MIN_SPEED <= speed <= _MAX_SPEED:
            raise ValueError(f"speed must be {_MIN_SPEED} to {_MAX_SPEED}, not {speed}")
        # Below 0.5 atempo fails and above 2 it skips samples; a chain of equal steps does neither.
        # At 1 the chain is empty.
        num_steps = math.ceil(abs(math.log2(speed)))
        steps = [("atempo", repr(speed ** (1 / max(1, num_steps))))] * num_steps
        # atempo passes on as much at a time as it makes of what it is given at a time.
        self._graph = _FilterGraph(sample_rate, steps, push_s=_SPEED_PUSH_S)
        self._sample_rate, self._speed = sample_rate, speed
        self._num_fed = 0
        self._num_changed = 0

    def feed(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what `pcm`, `[S] float32`, completes; it may be empty."""
        self._num_fed += len(pcm)
        changed = _joined(self._graph.feed(pcm))
        self._num_changed += len(changed)
        return changed

    def finish(self) -> NDArray[np.float32]:
        """Return the rest; nothing may be fed afterwards."""
        # atempo ends up to 0.3 s early and returns nothing for a very short sound. So silence is
        # appended, and the result is cut to length.
        reserve = np.zeros(self._sample_rate // 2, np.float32)
        rest = _joined(chain(self._graph.feed(reserve), self._graph.finish()))
        length = round(self._num_fed / self._speed) - self._num_changed
        return np.pad(rest[:length], (0, max(0, length - len(rest))))


def loudness_lufs(pcm: NDArray[np.float32], sample_rate: int) -> float:
    """Return the integrated, gated loudness in LUFS; minus infinity for silence.

    A sound shorter than one block of 400 ms is repeated to fill it.

    Source: ITU-R BS.1770-4, annex 1; FFmpeg's `ebur128`, which counts in steps of 0.01 LU.
    """
    if not len(pcm):
        return -math.inf
    block = math.ceil(_BLOCK_S * sample_rate)
    # ebur128 counts no block as louder than 10 LUFS, which PCM beyond full scale may be.
    scale = max(1.0, float(np.abs(pcm).max()))
    sound = (pcm if len(pcm) >= block else np.resize(pcm, block)) / np.float32(scale)
    measured = _SILENCE_LUFS
    meter = ("ebur128", "metadata=1:framelog=quiet")
    graph = _FilterGraph(sample_rate, [meter], push_s=_LOUDNESS_PUSH_S)
    for frame in chain(graph.feed(sound), graph.finish()):
        # The last frame has none if it is shorter than the others.
        measured = float(frame.metadata.get("lavfi.r128.I", measured))
    return measured + 20 * math.log10(scale) if measured > _SILENCE_LUFS else -math.inf


def match_loudness(
    pcm: NDArray[np.float32], sample_rate: int, target_lufs: float, max_peak: float = 0.97
) -> NDArray[np.float32]:
    """Return a copy at `target_lufs`, or as near to it as its peak allows.

    Args:
        pcm: `[S] float32`.
        sample_rate: in hertz.
        target_lufs: integrated loudness wanted, as `loudness_lufs` measures it.
        max_peak: no sample gets larger than this; the dynamics are not compressed.

    Returns:
        `[S] float32`; silence is returned as it is.
    """
    measured = loudness_lufs(pcm, sample_rate)
    if math.isinf(measured):
        return pcm.copy()
    gain = min(10 ** ((target_lufs - measured) / 20), max_peak / float(np.abs(pcm).max()))
    return pcm * np.float32(gain)


class WholeLoudness:
    """`match_loudness` for PCM that arrives in pieces, none of which is known before the last."""

    def __init__(self, sample_rate: int, target_lufs: float) -> None:
        """See `match_loudness` for the arguments."""
        self._sample_rate, self._target_lufs = sample_rate, target_lufs
        self._pieces: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]

    def feed(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Keep `pcm`, `[S] float32`; return nothing yet."""
        self._pieces.append(pcm)
        return pcm[:0]

    def finish(self) -> NDArray[np.float32]:
        """Return all of it; nothing may be fed afterwards."""
        pcm = np.concatenate(self._pieces)
        self._pieces.clear()
        return match_loudness(pcm, self._sample_rate, self._target_lufs)


class _FilterGraph:
    """A chain of FFmpeg's filters."""

    def __init__(
        self, sample_rate: int, filters: Sequence[tuple[str, str]], *, push_s: float
    ) -> None:
        """
        Args:
            sample_rate: of the PCM, in hertz.
            filters: the name and the options of each.
            push_s: the most that the first filter is given at once, in seconds.
        """
        from av.filter import Graph

        graph = Graph()
        self._source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
        self._sink = graph.add("abuffersink")
        graph.link_nodes(self._source, *(graph.add(*each) for each in filters), self._sink)
        graph.configure()
        self._graph = graph  # its nodes do not keep it, and crash without it
        self._sample_rate = sample_rate
        self._push_samples = round(push_s * sample_rate)

    def feed(self, pcm: NDArray[np.float32]) -> Iterator["AudioFrame"]:
        """Yield the frames that `pcm`, `[S] float32`, completes."""
        import av

        for start in range(0, len(pcm), self._push_samples):
            pushed = pcm[None, start : start + self._push_samples]
            frame = av.AudioFrame.from_ndarray(
                np.asarray(pushed, np.float32, order="C"), format="flt", layout="mono"
            )
            frame.sample_rate = self._sample_rate
            yield from self._push(frame)

    def finish(self) -> Iterator["AudioFrame"]:
        """Yield the last frames; nothing may be fed afterwards."""
        yield from self._push(None)

    def _push(self, frame: "AudioFrame | None") -> Iterator["AudioFrame"]:
        import av

        self._source.push(frame)
        while True:
            try:
                pulled = self._sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(pulled, av.AudioFrame)  # noqa: S101  the stubs cannot tell
            yield pulled


def _joined(frames: Iterable["AudioFrame"]) -> NDArray[np.float32]:
    planes = [frame.to_ndarray()[0] for frame in frames]
    return np.concatenate([np.zeros(0, np.float32), *planes])
