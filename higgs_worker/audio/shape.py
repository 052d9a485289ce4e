"""Change PCM: its sample rate, speed and loudness.

PCM is float32, mono, nominally in [-1, 1]. Every function returns a new array. Loudness follows
ITU-R BS.1770-4. soxr resamples and FFmpeg's `atempo` (through PyAV) changes the speed; both are
imported at first use.
"""

import math

import numpy as np
from numpy.typing import NDArray

_MIN_SPEED, _MAX_SPEED = 0.25, 4.0

# From BS.1770-4: blocks of 400 ms every 100 ms. A block counts if it is louder than -70 LUFS and at
# most 10 LU below the mean of those that are.
_HOPS_PER_BLOCK = 4
_OFFSET_LU = -0.691
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE = 10 ** (-10.0 / 10)

# The filters settle in less than this: their slowest pole (38 Hz) decays by 120 dB in 0.1 s.
_SETTLE_HOPS = 5
_HOPS_AT_ONCE = 200


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
    import av
    from av.filter import Graph

    graph = Graph()
    source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
    sink = graph.add("abuffersink")
    # Below 0.5 atempo fails and above 2 it skips samples; a chain of equal steps does neither.
    num_steps = math.ceil(abs(math.log2(speed)))
    tempo = repr(speed ** (1 / num_steps))
    graph.link_nodes(source, *(graph.add("atempo", tempo) for _ in range(num_steps)), sink)
    graph.configure()

    # atempo ends up to 0.1 s early and returns nothing for a very short sound. So silence is
    # appended, and the result is cut to length.
    reserve = np.zeros(sample_rate // 2, np.float32)
    padded = np.concatenate([np.asarray(pcm, np.float32), reserve])
    pieces = []
    for start in range(0, len(padded) + sample_rate, sample_rate):
        piece = padded[start : start + sample_rate]
        frame = None
        if len(piece):
            frame = av.AudioFrame.from_ndarray(piece[None], format="flt", layout="mono")
            frame.sample_rate = sample_rate
        source.push(frame)
        while True:
            try:
                pulled = sink.pull()
            except (av.BlockingIOError, av.EOFError):
                break
            assert isinstance(pulled, av.AudioFrame)  # noqa: S101  the stubs cannot tell
            pieces.append(pulled.to_ndarray()[0])
        if frame is None:
            break
    changed = np.concatenate(pieces)[:length]
    return np.pad(changed, (0, length - len(changed)))


def loudness_lufs(pcm: NDArray[np.float32], sample_rate: int) -> float:
    """Return the integrated, gated loudness in LUFS; minus infinity for silence.

    A sound shorter than one block of 400 ms is repeated to fill it.

    Source: ITU-R BS.1770-4, annex 1 (one channel, so every weight is 1).
    """
    hop = round(sample_rate / 10)
    if 0 < len(pcm) < _HOPS_PER_BLOCK * hop:
        pcm = np.resize(pcm, _HOPS_PER_BLOCK * hop)
    hops = _hop_powers(pcm, hop, sample_rate)
    if len(hops) < _HOPS_PER_BLOCK:
        return -math.inf
    blocks = np.convolve(hops, np.full(_HOPS_PER_BLOCK, 1 / _HOPS_PER_BLOCK), "valid")
    loud = blocks[blocks > 10 ** ((_ABSOLUTE_GATE_LUFS - _OFFSET_LU) / 10)]
    if not len(loud):
        return -math.inf
    loud = loud[loud > _RELATIVE_GATE * loud.mean()]
    return _OFFSET_LU + 10 * math.log10(loud.mean())


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


def _hop_powers(pcm: NDArray[np.float32], hop: int, sample_rate: int) -> NDArray[np.float64]:
    """Return the mean square of each whole hop of K-weighted PCM, `[hops] float64`.

    The filter is applied to the spectrum, 20 s at a time to save memory. Each piece starts half a
    second early. The errors at its start (the filter starts at rest, and the spectrum is circular)
    have decayed before the part that counts.
    """
    num_hops = len(pcm) // hop
    lead = np.zeros(_SETTLE_HOPS * hop, np.float32)
    padded = np.concatenate([lead, pcm[: num_hops * hop]])
    powers = np.zeros(num_hops)
    for start in range(0, num_hops, _HOPS_AT_ONCE):
        end = min(start + _HOPS_AT_ONCE, num_hops)
        piece = padded[start * hop : (end + _SETTLE_HOPS) * hop]
        spectrum = np.fft.rfft(piece) * _k_weighting(len(piece), sample_rate)
        weighted = np.fft.irfft(spectrum, len(piece))[len(lead) :]
        powers[start:end] = np.square(weighted).reshape(-1, hop).mean(axis=1, dtype=np.float64)
    return powers


def _k_weighting(num_samples: int, sample_rate: int) -> NDArray[np.complex128]:
    """Return the frequency response of both K-weighting filters on the grid of `rfft`."""
    delay = np.exp(-2j * np.pi * np.fft.rfftfreq(num_samples))
    response: NDArray[np.complex128] = np.ones_like(delay)
    for b, a in k_weighting_filters(sample_rate):
        response *= (b[0] + delay * (b[1] + delay * b[2])) / (a[0] + delay * (a[1] + delay * a[2]))
    return response


def k_weighting_filters(
    sample_rate: int,
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """Return the two biquads of BS.1770 as `(b[3], a[3])`, for any sample rate.

    The standard lists them for 48 kHz only. They are the bilinear transforms of a high shelf and a
    high pass, whose analogue parameters were derived from that table.

    Source: ITU-R BS.1770-4, tables 1 and 2; libebur128, ebur128.c, ebur128_init_filter.
    """
    k, q = math.tan(math.pi * 1681.974450955533 / sample_rate), 0.7071752369554196
    gain = 10 ** (3.999843853973347 / 20)
    edge = gain**0.4996667741545416 * k / q
    shelf_b = np.array([gain + edge + k * k, 2 * (k * k - gain), gain - edge + k * k])
    shelf_a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])

    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    pass_b = np.array([1.0, -2.0, 1.0])  # as the table has it, not divided like the others
    pass_a = np.array([1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k])
    return (shelf_b / shelf_a[0], shelf_a / shelf_a[0]), (pass_b, pass_a / pass_a[0])
