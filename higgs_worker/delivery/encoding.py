"""The PCM of one request as bytes: of a proper file, or of packets that are played as they come."""

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import AudioInfo
from higgs_worker.audio import encode, shape
from higgs_worker.errors import InvalidRequest


def needs_whole(request: SpeechRequest) -> bool:
    """Return whether the whole sound must be there before the first byte of its file."""
    return request.speed != 1 or request.loudness_lufs is not None


def check_streamable(request: SpeechRequest) -> None:
    """Refuse what cannot be done while a speech is under way.

    Raises:
        InvalidRequest: names the field.
    """
    if needs_whole(request):
        field = "speed" if request.speed != 1 else "loudness_lufs"
        raise InvalidRequest(
            f"{field} needs the whole sound, and this endpoint streams; leave it out, or send this "
            "to an endpoint without HIGGS_STREAM",
            details={"errors": [{"field": field, "message": "cannot be streamed"}]},
        )


def audio_info(request: SpeechRequest, num_bytes: int, sha256: str) -> AudioInfo:
    """Return the description of a request's encoded audio."""
    return AudioInfo(
        format=request.format,
        mime_type=encode.MIME_TYPES[request.format],
        sample_rate=encode.encoded_rate(request.format, request.sample_rate),
        num_bytes=num_bytes,
        sha256=sha256,
    )


class FileWriter:
    """Encodes the PCM of one request as a file with a true header: length, Xing, FLAC's total.

    The bytes may be passed on as they come, all but the file's head, which is known at the end.
    """

    def __init__(self, request: SpeechRequest, sample_rate: int) -> None:
        """
        Args:
            request: speed, loudness, sample rate and format of the file.
            sample_rate: of the PCM, in hertz.
        """
        self._request, self._sample_rate = request, sample_rate
        self._encoder = _Encoder(encode.FileEncoder, request, sample_rate)
        self._whole: list[NDArray[np.float32]] | None = [] if needs_whole(request) else None
        """The PCM so far, where nothing can be encoded before it is complete."""

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the bytes that `pcm`, `[S] float32`, completes; perhaps none. Blocks."""
        if self._whole is not None:
            self._whole.append(pcm)
            return b""
        return self._encoder.feed(pcm)

    def finish(self) -> tuple[bytes, bytes]:
        """Return the last bytes, and the head, which replaces the file's first bytes. Blocks."""
        data = b""
        if self._whole is not None:
            data = self._encoder.feed(self._shape(np.concatenate(self._whole)))
            self._whole.clear()
        data += self._encoder.flush()
        rest, head = self._encoder.encoder.finish()
        return data + rest, head

    def _shape(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        request = self._request
        if request.speed != 1:
            pcm = shape.change_speed(pcm, self._sample_rate, request.speed)
        if request.loudness_lufs is not None:
            pcm = shape.match_loudness(pcm, self._sample_rate, request.loudness_lufs)
        return pcm


class PacketWriter:
    """Encodes the PCM of one request as packets that a player can start on.

    Joined, the packets are a stream whose header leaves the length open. The request must be
    streamable, see `check_streamable`.
    """

    def __init__(self, request: SpeechRequest, sample_rate: int) -> None:
        """
        Args:
            request: sample rate and format of the packets.
            sample_rate: of the PCM, in hertz.
        """
        self._encoder = _Encoder(encode.StreamEncoder, request, sample_rate)
        self._digest = hashlib.sha256()
        self.num_bytes = 0

    @property
    def sha256(self) -> str:
        """Of all packets so far."""
        return self._digest.hexdigest()

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the packet that `pcm`, `[S] float32`, completes; it may be empty. Blocks."""
        return self._count(self._encoder.feed(pcm))

    def finish(self) -> bytes:
        """Return the last packet. Blocks."""
        return self._count(self._encoder.flush() + self._encoder.encoder.finish())

    def _count(self, packet: bytes) -> bytes:
        self.num_bytes += len(packet)
        self._digest.update(packet)
        return packet


_AnyEncoder = TypeVar("_AnyEncoder", encode.FileEncoder, encode.StreamEncoder)


class _Encoder(Generic[_AnyEncoder]):
    """An encoder behind a resampler, both made when they are first needed.

    Making them imports their libraries, which must not happen in the event loop.
    """

    def __init__(
        self,
        kind: Callable[[str, int], _AnyEncoder],
        request: SpeechRequest,
        sample_rate: int,
    ) -> None:
        self._kind: Callable[[str, int], _AnyEncoder] = kind
        self._request, self._sample_rate = request, sample_rate
        self._encoder: _AnyEncoder | None = None
        self._resampler: shape.StreamResampler | None = None

    @property
    def encoder(self) -> _AnyEncoder:
        """The encoder itself."""
        if self._encoder is None:
            request = self._request
            self._encoder = self._kind(request.format, request.sample_rate)
            if request.sample_rate != self._sample_rate:
                self._resampler = shape.StreamResampler(self._sample_rate, request.sample_rate)
        return self._encoder

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the bytes that `pcm` completes."""
        encoder = self.encoder
        return encoder.feed(pcm if self._resampler is None else self._resampler.feed(pcm))

    def flush(self) -> bytes:
        """Return the bytes that the end of the PCM completes."""
        encoder = self.encoder
        return b"" if self._resampler is None else encoder.feed(self._resampler.finish())
