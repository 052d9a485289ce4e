"""The PCM of one request as bytes: of a proper file, or of packets that are played as they come."""

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import AudioInfo
from higgs_worker.audio import encode, shape
from higgs_worker.errors import InvalidRequest


def needs_whole(request: SpeechRequest) -> bool:
    """Return whether the whole sound must be there before the first byte of its file."""
    return request.loudness_lufs is not None


def check_streamable(request: SpeechRequest) -> None:
    """Refuse what cannot be done while a speech is under way.

    Raises:
        InvalidRequest: names the field.
    """
    if needs_whole(request):
        raise InvalidRequest(
            "loudness_lufs needs the whole sound, and this endpoint streams; leave it out, or send "
            "this to an endpoint without HIGGS_STREAM",
            details={"errors": [{"field": "loudness_lufs", "message": "cannot be streamed"}]},
        )


def audio_info(request: SpeechRequest, num_bytes: int, sha256: str) -> AudioInfo:
    """Return the description of a request's encoded audio."""
    return AudioInfo(
        format=request.format,
        mime_type=encode.MIME_TYPES[request.format],
        sample_rate=encode.encoded_rate(request.format, request.audio_rate),
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
        self._encoder = _Encoder(encode.FileEncoder, request, sample_rate)

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the bytes that `pcm`, `[S] float32`, completes; perhaps none. Blocks."""
        return self._encoder.feed(pcm)

    def finish(self) -> tuple[bytes, bytes]:
        """Return the last bytes, and the head, which replaces the file's first bytes. Blocks."""
        data = self._encoder.flush()
        rest, head = self._encoder.encoder.finish()
        return data + rest, head


class PacketWriter:
    """Encodes the PCM of one request as packets that a player can start on.

    Joined, the packets are a stream whose header leaves the length open. The request must be
    streamable, see `check_streamable`.
    """

    def __init__(self, request: SpeechRequest, sample_rate: int) -> None:
        """
        Args:
            request: speed, sample rate and format of the packets.
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


class _Stage(Protocol):
    """Changes PCM that arrives in pieces."""

    def feed(self, pcm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what `pcm` completes."""

    def finish(self) -> NDArray[np.float32]:
        """Return the rest."""


class _Encoder(Generic[_AnyEncoder]):
    """An encoder behind what changes the PCM: all made when they are first needed.

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

    @cached_property
    def encoder(self) -> _AnyEncoder:
        """The encoder itself."""
        return self._kind(self._request.format, self._request.audio_rate)

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the bytes that `pcm` completes."""
        for stage in self._stages:
            pcm = stage.feed(pcm)
        return self.encoder.feed(pcm)

    def flush(self) -> bytes:
        """Return the bytes that the end of the PCM completes."""
        rest = np.zeros(0, np.float32)
        for stage in self._stages:
            rest = np.concatenate([stage.feed(rest), stage.finish()])
        return self.encoder.feed(rest)

    @cached_property
    def _stages(self) -> tuple[_Stage, ...]:
        request, rate = self._request, self._sample_rate
        stages: list[_Stage] = []
        if request.speed != 1:
            stages.append(shape.StreamSpeed(rate, request.speed))
        if request.loudness_lufs is not None:
            stages.append(shape.WholeLoudness(rate, request.loudness_lufs))
        if request.audio_rate != rate:
            stages.append(shape.StreamResampler(rate, request.audio_rate))
        return tuple(stages)
