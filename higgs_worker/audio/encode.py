"""Encode PCM as a whole file, as a growing file, or as a stream that a player can start on.

PCM is float32, mono, nominally in [-1, 1]; every format is given 16-bit samples, of each of which
G.711 (`ulaw`, `alaw`) makes the 8 bits that telephones send. Loudness stays as it is. The sample
rate changes only where a codec does not support it, see `encoded_rate`. Equal PCM gives equal
bytes: no time, version or random number is written. PyAV is imported at the first encoding, because
neither an invalid job nor the command line's help should wait for it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from higgs_worker.audio.shape import StreamResampler

MIME_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "wav": "audio/wav",
        "flac": "audio/flac",
        "mp3": "audio/mpeg",
        "opus": "audio/ogg",
        "aac": "audio/aac",
        "pcm": "audio/pcm",
        "ulaw": "audio/PCMU",
        "alaw": "audio/PCMA",
    }
)
"""G.711 has the names that RFC 4856 gives it. Their parameter `rate` is left out, as for pcm:
outputs have `sample_rate`. `audio/basic` means µ-law at 8 kHz alone, and players expect Sun's
header in it.
"""

_FULL_SCALE = 32767  # the same for both signs, so that zero stays zero
MAX_HEAD_BYTES = 8192
"""Upper bound for the part of a file that is rewritten once its length is known."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """FFmpeg's names and options for one format."""

    name: str
    container: str
    bit_rate: int | None = None
    """Bits per second; None for lossless codecs."""
    codec_options: tuple[tuple[str, str], ...] = ()
    container_options: tuple[tuple[str, str], ...] = ()
    stream_options: tuple[tuple[str, str], ...] = ()
    """More container options, for streams alone."""


# 64 kbit/s in mono equals 128 in stereo, and MP3 supports it at every sample rate; Opus needs less.
_CODECS = {
    "wav": _Codec("pcm_s16le", "wav"),
    # No padding: FFmpeg would reserve 8 KiB for tags, and there are none.
    "flac": _Codec("flac", "flac", container_options=(("metadata_header_padding", "0"),)),
    # The Xing header holds the length, which is unknown when a stream starts.
    "mp3": _Codec(
        "libmp3lame",
        "mp3",
        64_000,
        container_options=(("id3v2_version", "0"),),
        stream_options=(("write_xing", "0"),),
    ),
    # An Ogg page holds one second by default, and a listener would wait for it.
    "opus": _Codec("libopus", "ogg", 48_000, stream_options=(("page_duration", "20000"),)),
    # FFmpeg's default coder clicks at hard onsets (errors of 0.2 in speech at 64 kbit/s, 0.12 at
    # 96). The fast one stays under 0.07 at 96 and takes a third of the time.
    "aac": _Codec("aac", "adts", 96_000, codec_options=(("aac_coder", "fast"),)),
    "pcm": _Codec("pcm_s16le", "s16le"),
    "ulaw": _Codec("pcm_mulaw", "mulaw"),
    "alaw": _Codec("pcm_alaw", "alaw"),
}


def encoded_rate(format: str, sample_rate: int) -> int:
    """Return the sample rate in hertz that `format` stores for PCM at `sample_rate`.

    WAV, FLAC, PCM and G.711 take any rate. The others have a list (Opus 8, 12, 16, 24 and 48 kHz;
    MP3 and AAC also 11.025, 22.05, 32 and 44.1). They store the nearest rate above, so that no
    sound is lost, or their highest rate if none is above. Decoders play Opus at 48 kHz in any case.

    Raises:
        ValueError: `format` is not a key of `MIME_TYPES`.
    """
    import av

    rates = av.Codec(_codec(format).name, "w").audio_rates
    if not rates:
        return sample_rate
    return min((rate for rate in rates if rate >= sample_rate), default=max(rates))


def encode(pcm: NDArray[np.float32], sample_rate: int, format: str) -> bytes:
    """Return PCM as a whole file; its header holds the true length if the format has one.

    WAV, FLAC, MP3 and Opus play back exactly as long as `pcm`. AAC (ADTS) cannot mark its first
    1024 samples as the encoder's delay, nor the padding of its last frame.

    Args:
        pcm: `[S] float32`; values outside [-1, 1] are clipped.
        sample_rate: of `pcm`, in hertz; see `encoded_rate` for what is stored.
        format: a key of `MIME_TYPES`.

    Raises:
        ValueError: `pcm` is not one-dimensional or holds NaN, or the format is unknown.
    """
    file = BytesIO()
    writer = _ContainerWriter(file, format, sample_rate, streamed=False)
    writer.write(pcm)
    writer.close()
    return file.getvalue()


class StreamEncoder:
    """Encode PCM as it arrives; the packets, joined, are the stream.

    The delay is short: if PCM is fed 100 ms at a time, bytes come out at most 200 ms later, and at
    once in most formats. Nothing is rewritten, so the length stays open. A WAV header holds the
    sizes 0xFFFFFFFF, which players read as "to the end of the stream". FLAC marks its length as
    unknown. MP3 has no Xing header, so the encoder's delay (1105 samples) is heard as silence.

    Not thread-safe; different encoders may run in different threads.
    """

    def __init__(self, format: str, sample_rate: int) -> None:
        """See `encode` for the arguments and what is raised."""
        self._file = _Buffer()
        self._writer = _ContainerWriter(self._file, format, sample_rate, streamed=True)

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the packet that `pcm`, `[S] float32`, completes; empty if it completes none.

        Raises:
            ValueError: `pcm` is not one-dimensional or holds NaN, or the stream is finished.
        """
        self._writer.write(pcm)
        return self._file.drain()

    def finish(self) -> bytes:
        """Return the last packet and end the stream.

        Raises:
            ValueError: the stream is finished already.
        """
        self._writer.close()
        return self._file.drain()


class FileEncoder:
    """Encode a file that grows; once finished, it equals what `encode` returns.

    Append what `feed` returns, then what `finish` returns; last, replace the file's first bytes by
    its head, which then holds the length. A player that opens the unfinished file reads it like a
    stream: a WAV header holds the sizes 0xFFFFFFFF until then. Opus comes out a second at a
    time and lags by up to two.

    Not thread-safe; different encoders may run in different threads.
    """

    def __init__(self, format: str, sample_rate: int) -> None:
        """See `encode` for the arguments and what is raised."""
        self._file = _RewritableBuffer()
        self._writer = _ContainerWriter(self._file, format, sample_rate, streamed=False)

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the bytes that `pcm`, `[S] float32`, completes; they may be empty.

        Raises:
            ValueError: `pcm` is not one-dimensional or holds NaN, or the file is finished.
        """
        self._writer.write(pcm)
        return self._file.drain()

    def finish(self) -> tuple[bytes, bytes]:
        """Return the last bytes, and the file's head, which replaces its first bytes.

        Raises:
            ValueError: the file is finished already.
        """
        self._writer.close()
        return self._file.drain(), bytes(self._file.head)


class _Buffer:
    """A file in memory that cannot seek: PyAV writes, `drain` empties it."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def write(self, data: bytes) -> int:
        self._buffer += data
        return len(data)

    def drain(self) -> bytes:
        drained = bytes(self._buffer)
        self._buffer.clear()
        return drained


class _RewritableBuffer:
    """A file in memory whose first bytes can be rewritten, also after `drain`."""

    def __init__(self) -> None:
        self.head = bytearray()
        self._buffer = bytearray()
        self._num_bytes = 0
        self._position = 0

    def write(self, data: bytes) -> int:
        start, self._position = self._position, self._position + len(data)
        self.head[start : self._position] = data[: max(0, MAX_HEAD_BYTES - start)]
        if start == self._num_bytes:
            self._buffer += data
            self._num_bytes = self._position
        elif self._position > len(self.head):
            raise OSError("PyAV rewrote more of the file than its head")
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += self._num_bytes
        elif whence == os.SEEK_CUR:
            offset += self._position
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def drain(self) -> bytes:
        drained = bytes(self._buffer)
        self._buffer.clear()
        return drained


class _ContainerWriter:
    """Writes one audio stream in one container.

    Only a streamed container may go into a `file` that cannot seek.
    """

    def __init__(self, file: Any, format: str, sample_rate: int, *, streamed: bool) -> None:
        codec = _codec(format)
        import av

        self._rate = encoded_rate(format, sample_rate)
        self._resampler: StreamResampler | None = None
        if self._rate != sample_rate:
            self._resampler = StreamResampler(sample_rate, self._rate)
        options = {"fflags": "+bitexact", "flush_packets": "1", **dict(codec.container_options)}
        if streamed:
            options |= dict(codec.stream_options)
        self._container = av.open(file, "w", format=codec.container, options=options)
        stream = self._container.add_stream(
            codec.name,
            rate=self._rate,
            options={"flags": "+bitexact", **dict(codec.codec_options)},
            layout="mono",
        )
        assert isinstance(stream, av.AudioStream)  # noqa: S101  the stubs cannot tell
        if codec.bit_rate is not None:
            stream.bit_rate = codec.bit_rate
        self._stream = stream
        self._num_samples = 0
        self._closed = False
        self._container.start_encoding()

    def write(self, pcm: NDArray[np.float32]) -> None:
        if self._closed:
            raise ValueError("the stream is finished; start another one")
        if pcm.ndim != 1:
            raise ValueError(f"PCM must be one-dimensional, not of shape {pcm.shape}")
        if np.isnan(pcm).any():
            raise ValueError("PCM holds NaN; the model or the codec computed something impossible")
        # One second at a time keeps the copies of a long file small.
        for start in range(0, len(pcm), self._rate):
            piece = np.clip(pcm[start : start + self._rate], -1.0, 1.0)
            self._encode(piece if self._resampler is None else self._resampler.feed(piece))

    def close(self) -> None:
        if self._closed:
            raise ValueError("the stream is finished already")
        self._closed = True
        if self._resampler is not None:
            self._encode(self._resampler.finish())
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def _encode(self, pcm: NDArray[np.float32]) -> None:
        if not len(pcm):
            return
        import av

        # Clipped again: the resampler may overshoot.
        samples = np.rint(np.clip(pcm, -1.0, 1.0) * _FULL_SCALE).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = self._rate
        frame.time_base = Fraction(1, self._rate)
        frame.pts = self._num_samples
        self._num_samples += len(samples)
        self._container.mux(self._stream.encode(frame))


def _codec(format: str) -> _Codec:
    if format not in _CODECS:
        raise ValueError(f"no format '{format}'; there are {', '.join(_CODECS)}")
    return _CODECS[format]
