"""One track of a recording while it is decoded: resampled as it comes, then mixed to mono.

Memory is bounded by the longest duration, whatever the rate and the length of the file. PyAV and
soxr are imported at first use.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from higgs_worker.audio.pcm import PCM
from higgs_worker.errors import InvalidAudio

if TYPE_CHECKING:
    from av import AudioFrame

_MAX_CHANNELS = 8
_MIN_RATE_HZ, _MAX_RATE_HZ = 4_000, 384_000
# Lossy codecs pad a file of exactly the longest duration by some frames.
_GRACE_S = 0.1
# Larger pieces are resampled no faster.
_PIECE_S = 0.25

# The zero level and the full scale of integer samples.
_SCALES = {"uint8": (128, 128), "int16": (0, 1 << 15), "int32": (0, 1 << 31)}
# The smallest step of what can be recorded: 24 bits, also in wider samples. Decoders of lossy
# codecs give noise below that of 16 bits where nothing was recorded.
_STEPS = {"uint8": 2**-7, "int16": 2**-15, "int32": 2**-23}
_LOSSLESS_FLOAT_STEP, _LOSSY_STEP = 2**-23, 2**-15

# A channel 20 dB below the loudest adds nothing but noise.
_QUIET_CHANNEL = 0.01
# Eight unlike channels keep an eighth of their power in the mean; those that keep less cancel.
_CANCELLED = 0.1


class AudioTrack:
    """Collects the frames of one track."""

    def __init__(self, codec: str, sample_rate: int, max_s: float, header_s: float) -> None:
        """
        Args:
            codec: FFmpeg's name of the decoder.
            sample_rate: of the result, in hertz.
            max_s: longest duration, in seconds.
            header_s: what the file says about its duration, in seconds; 0: nothing.
        """
        self._codec = codec
        self._sample_rate = sample_rate
        self._max_s = max_s
        self._header_s = header_s
        self._waiting: list[NDArray[np.float32]] = []
        self._num_waiting = 0
        self._num_decoded = 0
        self._num_resampled = 0
        self._rate = self._num_channels = 0

    @property
    def duration_s(self) -> float:
        """What was decoded, in seconds."""
        return self._num_decoded / self._rate if self._rate else 0.0

    def feed(self, frame: "AudioFrame") -> None:
        """Take the next frame.

        Raises:
            InvalidAudio: it is of a kind that is not accepted, or goes beyond the longest duration.
        """
        rate, num_channels = frame.sample_rate, frame.layout.nb_channels
        if not self._rate:
            self._start(rate, num_channels)
        elif (rate, num_channels) != (self._rate, self._num_channels):
            raise InvalidAudio(
                "the audio changes its sample rate or channels midway; convert it to mono at "
                "24000 Hz"
            )
        values = frame.to_ndarray()
        if frame.format.is_packed:
            values = values.reshape(-1, num_channels).T
        self._step = self._step_of(values.dtype.name)
        middle, full_scale = _SCALES.get(values.dtype.name, (0, 1))
        with np.errstate(over="ignore", invalid="ignore"):
            samples = (values.T.astype(np.float32) - middle) / np.float32(full_scale)
        self._num_decoded += len(samples)
        if self._num_decoded > (self._max_s + _GRACE_S) * rate:
            raise self._too_long()
        self._waiting.append(samples)
        self._num_waiting += len(samples)
        if self._num_waiting >= _PIECE_S * rate:
            self._resample(last=False)

    def finish(self) -> None:
        """Resample the rest; nothing may be fed afterwards."""
        if self._rate:
            self._resample(last=True)

    def is_silent(self) -> bool:
        """Return whether no channel swings by more than its samples' smallest step."""
        with np.errstate(invalid="ignore"):
            swing = (self._highest - self._lowest) / 2
        return bool((swing <= 1.01 * self._step).all())

    def mono(self) -> PCM:
        """Return the mean of the channels that hold sound, as `[S] float32`.

        Where these cancel (opposite phases), the loudest is returned instead. What exceeds full
        scale is scaled down to it.

        Raises:
            InvalidAudio: there are samples that are no numbers.
        """
        samples = self._samples[:, : self._num_resampled]
        highest, lowest = samples.max(), samples.min()
        if not np.isfinite([highest, lowest]).all():
            raise InvalidAudio(
                "the audio holds samples that are no numbers (NaN or infinite); export it again, "
                "as 16-bit WAV for example"
            )
        samples /= max(1.0, highest, -lowest)
        # One channel after the other, because temporary copies of all are large.
        powers = np.array([each.var() for each in samples])
        is_loud = powers >= _QUIET_CHANNEL * powers.max()
        mono: PCM = samples.mean(axis=0, where=is_loud[:, None])
        if mono.var() < _CANCELLED * powers[is_loud].mean():
            mono = samples[powers.argmax()].copy()
        return mono

    def _start(self, rate: int, num_channels: int) -> None:
        if not _MIN_RATE_HZ <= rate <= _MAX_RATE_HZ or not 1 <= num_channels <= _MAX_CHANNELS:
            raise InvalidAudio(
                f"the audio has {num_channels} channels at {rate} Hz, and up to {_MAX_CHANNELS} "
                f"at {_MIN_RATE_HZ} to {_MAX_RATE_HZ} Hz are accepted; convert it to mono at "
                "24000 Hz"
            )
        import soxr

        self._rate, self._num_channels = rate, num_channels
        self._resampler = soxr.ResampleStream(
            rate, self._sample_rate, num_channels, dtype="float32", quality="HQ"
        )
        max_samples = round((self._max_s + 2 * _GRACE_S) * self._sample_rate)
        self._samples = np.empty((num_channels, max_samples), np.float32)
        self._highest = np.full(num_channels, -np.inf)
        self._lowest = np.full(num_channels, np.inf)

    def _too_long(self) -> InvalidAudio:
        """Return the error; the header counts only if it, too, says that it is too long."""
        header_s, decoded_s = self._header_s, self.duration_s
        length_s = max(header_s, decoded_s)
        return InvalidAudio(
            f"the audio is {'' if header_s > decoded_s else 'over '}{length_s:.1f} s long and at "
            f"most {self._max_s:g} s are accepted; cut out the part in which the voice is clearest",
            details={"duration_s": round(length_s, 3), "max_s": self._max_s},
        )

    def _step_of(self, dtype: str) -> float:
        is_lossless = self._codec.startswith("pcm_")
        return _STEPS.get(dtype, _LOSSLESS_FLOAT_STEP if is_lossless else _LOSSY_STEP)

    def _resample(self, *, last: bool) -> None:
        empty = np.zeros((0, self._num_channels), np.float32)
        piece = np.concatenate([empty, *self._waiting])
        self._waiting, self._num_waiting = [], 0
        if len(piece):
            self._highest = np.maximum(self._highest, piece.max(axis=0))
            self._lowest = np.minimum(self._lowest, piece.min(axis=0))
        resampled = self._resampler.resample_chunk(np.ascontiguousarray(piece), last=last)
        end = self._num_resampled + len(resampled)
        self._samples[:, self._num_resampled : end] = resampled.T
        self._num_resampled = end
