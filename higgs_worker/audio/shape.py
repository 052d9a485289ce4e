"""Change PCM: its sample rate, speed and loudness.

PCM is float32, mono, nominally in [-1, 1]. Every function returns a new array. soxr resamples;
FFmpeg, through PyAV, changes the speed (`atempo`) and measures the loudness (`ebur128`). Both are
imported at first use.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import AudioFrame

_MIN_SPEED, _MAX_SPEED = 0.25, 4.0

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
    if not _MIN_SPEED <= speed <= _MAX_SPEED:
        raise ValueError(f"speed must be {_MIN_SPEED} to {_MAX_SPEED}, not {speed}")
    length = round(len(pcm) / speed)
    if speed == 1 or not length:
        return pcm[:length].copy()
    # Below 0.5 atempo fails and above 2 it skips samples; a chain of equal steps does neither.
    num_steps = math.ceil(abs(math.log2(speed)))
    steps = [("atempo", repr(speed ** (1 / num_steps)))] * num_steps
    # atempo ends up to 0.1 s early and returns nothing for a very short sound. So silence is
    # appended, and the result is cut to length.
    reserve = np.zeros(sample_rate // 2, np.float32)
    frames = _filtered(np.concatenate([pcm, reserve]), sample_rate, *steps)
    changed = np.concatenate([frame.to_ndarray()[0] for frame in frames])[:length]
    return np.pad(changed, (0, length - len(changed)))


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
    for frame in _filtered(sound, sample_rate, ("ebur128", "metadata=1:framelog=quiet")):
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


def _filtered(
    pcm: NDArray[np.float32], sample_rate: int, *filters: tuple[str, str]
) -> Iterator["AudioFrame"]:
    """Yield what a chain of FFmpeg's filters makes of `pcm`, `[S] float32`.

    Args:
        pcm: passed on one second at a time.
        sample_rate: in hertz.
        filters: the name and the options of each.
    """
    import av
    from av.filter import Graph

    graph = Graph()
    source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, *(graph.add(*each) for each in filters), sink)
    graph.configure()
    seconds = [pcm[start : start + sample_rate] for start in range(0, len(pcm), sample_rate)]
    for second in [*seconds, None]:
        frame = None
        if second is not None:
            piece = np.asarray(second[None], np.float32, order="C")
            frame = av.AudioFrame.from_ndarray(piece, format="flt", layout="mono")
            frame.sample_rate = sample_rate
        source.push(frame)
        while True:
            try:
                pulled = sink.pull()
            except (av.BlockingIOError, av.EOFError):
                break
            assert isinstance(pulled, av.AudioFrame)  # noqa: S101  the stubs cannot tell
            yield pulled
