"""PCM in, encoded bytes out: a whole file, or a stream of packets that a player can start on.

PCM is float32, mono, nominally in [-1, 1]; every format carries it as 16 bits. Loudness is never
changed here. The sample rate is changed only where a codec lacks it, see `encoded_rate`. Equal PCM
gives equal bytes: nothing here writes a time, a version or a random number. PyAV is imported at
the first encoding, because an invalid job or the command line's help should not wait for it.
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
    }
)

_FULL_SCALE = 32767  # the same on both sides, so that silence stays centred
_HEAD_BYTES = 8192
"""What a header takes of a file at most: what is held back until its length is known."""


@dataclass(frozen=True, slots=True)
class _Codec:
    """What FFmpeg needs to know: options of the codec, of the container, of it as a stream."""

    name: str
    container: str
    bit_rate: int | None = None
    coding: tuple[tuple[str, str], ...] = ()
    muxing: tuple[tuple[str, str], ...] = ()
    streaming: tuple[tuple[str, str], ...] = ()


# 64 kbit/s in mono is what 128 is in stereo, and MP3 has it at every sample rate; Opus needs less.
_CODECS = {
    "wav": _Codec("pcm_s16le", "wav"),
    # Without the 8 KiB that FFmpeg reserves for tags: there are none.
    "flac": _Codec("flac", "flac", muxing=(("metadata_header_padding", "0"),)),
    # The Xing header tells the length, which a stream does not know when it begins.
    "mp3": _Codec(
        "libmp3lame",
        "mp3",
        64_000,
        muxing=(("id3v2_version", "0"),),
        streaming=(("write_xing", "0"),),
    ),
    # A page of Ogg holds a second unless told otherwise, and a listener would wait for it.
    "opus": _Codec("libopus", "ogg", 48_000, streaming=(("page_duration", "20000"),)),
    # FFmpeg's default coder clicks at hard onsets (errors of 0.2 in speech at 64 kbit/s, 0.12 at
    # 96); this one stays under 0.07 at 96 and takes a third of the time.
    "aac": _Codec("aac", "adts", 96_000, coding=(("aac_coder", "fast"),)),
    "pcm": _Codec("pcm_s16le", "s16le"),
}


def encoded_rate(format: str, sample_rate: int) -> int:
    """Return the sample rate in hertz that `format` stores for PCM at `sample_rate`.

    WAV, FLAC and PCM take any rate. The others have a list (Opus 8, 12, 16, 24 and 48 kHz; MP3 and
    AAC also 11.025, 22.05, 32 and 44.1): the nearest rate above is taken, so that no sound is lost,
    or the highest where there is none above. Decoders play Opus at 48 kHz whatever was stored.

    Raises:
        ValueError: `format` is not a key of `MIME_TYPES`.
    """
    import av

    rates = av.Codec(_codec(format).name, "w").audio_rates
    if not rates:
        return sample_rate
    return min((rate for rate in rates if rate >= sample_rate), default=max(rates))


def encode(pcm: NDArray[np.float32], sample_rate: int, format: str) -> bytes:
    """Encode as a whole file, whose header tells the true length where the format has one.

    WAV, FLAC, MP3 and Opus play back exactly as long as `pcm`. AAC (ADTS) cannot say that its
    first frame of 1024 samples is the codec's run-up and that its last one is padded.

    Args:
        pcm: `[S] float32`; values outside [-1, 1] are clipped rather than wrapped round.
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
    """Encode PCM as it comes; the packets, joined, are the file.

    Nothing waits for long: of PCM fed 100 ms at a time, bytes come out 200 ms later at the latest,
    and at once in most formats. What only the end could tell is left open: a WAV header holds the
    sizes 0xFFFFFFFF, which players read as "to the end of the stream"; FLAC says that its length
    is unknown; MP3 has no Xing header, so its run-up (1105 samples) is heard as silence.

    Not thread-safe; different encoders may run in different threads.
    """

    def __init__(self, format: str, sample_rate: int) -> None:
        """Begin a stream; see `encode` for the arguments and what is raised."""
        self._file = _Buffer()
        self._writer = _ContainerWriter(self._file, format, sample_rate, streamed=True)

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the packet that `pcm`, `[S] float32`, completes; empty if it completes none.

        Raises:
            ValueError: `pcm` is not one-dimensional or holds NaN, or the stream is finished.
        """
        self._writer.write(pcm)
        return self._file.take()

    def finish(self) -> bytes:
        """Return the last packet and end the stream.

        Raises:
            ValueError: the stream is finished already.
        """
        self._writer.close()
        return self._file.take()


class FileEncoder:
    """Encode a whole file piece by piece: equal, in the end, to what `encode` gives.

    What comes out may be sent on at once, all but the file's head: it tells the length, and is
    known at the end. Not thread-safe; different encoders may run in different threads.
    """

    def __init__(self, format: str, sample_rate: int) -> None:
        """Begin a file; see `encode` for the arguments and what is raised."""
        self._file = _RewritableBuffer()
        self._writer = _ContainerWriter(self._file, format, sample_rate, streamed=False)

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the bytes that `pcm`, `[S] float32`, completes; perhaps none.

        Raises:
            ValueError: `pcm` is not one-dimensional or holds NaN, or the file is finished.
        """
        self._writer.write(pcm)
        return self._file.take()

    def finish(self) -> tuple[bytes, bytes]:
        """Return the last bytes, and the file's head, which takes the place of its first bytes.

        Raises:
            ValueError: the file is finished already.
        """
        self._writer.close()
        return self._file.take(), bytes(self._file.head)


class _Buffer:
    """A file that cannot seek: PyAV writes, `take` empties."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def write(self, data: bytes) -> int:
        self._buffer += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._buffer)
        self._buffer.clear()
        return taken


class _RewritableBuffer:
    """A file whose first bytes can be written again: PyAV writes and seeks, `take` empties."""

    def __init__(self) -> None:
        self.head = bytearray()
        self._buffer = bytearray()
        self._num_bytes = 0
        self._position = 0

    def write(self, data: bytes) -> int:
        start, self._position = self._position, self._position + len(data)
        self.head[start : self._position] = data[: max(0, _HEAD_BYTES - start)]
        if start == self._num_bytes:
            self._buffer += data
            self._num_bytes = self._position
        elif self._position > len(self.head):
            raise OSError("a file's head is longer than was held back")
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

    def take(self) -> bytes:
        taken = bytes(self._buffer)
        self._buffer.clear()
        return taken


class _ContainerWriter:
    """One stream of one container, written to `file` (which a whole file needs to be seekable)."""

    def __init__(self, file: Any, format: str, sample_rate: int, *, streamed: bool) -> None:
        codec = _codec(format)
        import av

        self._rate = encoded_rate(format, sample_rate)
        self._resampler: StreamResampler | None = None
        if self._rate != sample_rate:
            self._resampler = StreamResampler(sample_rate, self._rate)
        options = {"fflags": "+bitexact", **dict(codec.muxing)}
        if streamed:
            options |= {"flush_packets": "1", **dict(codec.streaming)}
        self._container = av.open(file, "w", format=codec.container, options=options)
        stream = self._container.add_stream(
            codec.name,
            rate=self._rate,
            options={"flags": "+bitexact", **dict(codec.coding)},
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
            raise ValueError("the stream is finished; begin another one")
        if pcm.ndim != 1:
            raise ValueError(f"PCM must be one-dimensional, not of shape {pcm.shape}")
        if np.isnan(pcm).any():
            raise ValueError("PCM holds NaN; the model or the codec computed something impossible")
        # A second at a time: the copies of a long file stay small.
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

        # Clipped once more: the resampler may overshoot.
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
