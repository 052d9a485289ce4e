"""A speech as packets while it is spoken, and the store between who speaks and who posts.

Joined, the packets of one speech are a file. Knows no job and no HTTP; what needs the whole sound
(loudness, another speed) cannot be done here and is refused.
"""

import asyncio
import hashlib

import numpy as np
from numpy.typing import NDArray

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio import encode, shape
from higgs_worker.errors import InvalidRequest

MIN_PIECE_S = 0.5
"""Each post takes a round trip: more of them than this would arrive later, not sooner."""
MAX_STORED_BYTES = 8_000_000


def is_whole(request: SpeechRequest) -> bool:
    """Whether what is asked for needs the whole sound."""
    return request.speed != 1 or request.loudness_lufs is not None


def check_streamable(request: SpeechRequest) -> None:
    """Refuse what cannot be done while a speech is under way.

    Raises:
        InvalidRequest: names the field.
    """
    if is_whole(request):
        field = "speed" if request.speed != 1 else "loudness_lufs"
        raise InvalidRequest(
            f"{field} needs the whole sound, and this endpoint streams; leave it out, or send this "
            "to an endpoint without HIGGS_STREAM",
            details={"errors": [{"field": field, "message": "cannot be streamed"}]},
        )


class Packer:
    """Turns the PCM of one speech into packets."""

    def __init__(self, request: SpeechRequest, sample_rate: int, *, is_file: bool = False) -> None:
        """Begin.

        Args:
            request: says format and sample rate.
            sample_rate: of the PCM.
            is_file: whether the packets become a file, whose head is known at its end, or are
                played as they come.
        """
        self._resampler: shape.StreamResampler | None = None
        if request.sample_rate != sample_rate:
            self._resampler = shape.StreamResampler(sample_rate, request.sample_rate)
        encoder = encode.FileEncoder if is_file else encode.StreamEncoder
        self._encoder = encoder(request.format, request.sample_rate)

    def feed(self, pcm: NDArray[np.float32]) -> bytes:
        """Return the packet that `pcm`, `[S] float32`, completes; it may be empty. Blocks."""
        return self._encoder.feed(pcm if self._resampler is None else self._resampler.feed(pcm))

    def finish(self) -> tuple[bytes, bytes]:
        """Return the last packet, and what takes the place of a file's first bytes. Blocks."""
        last = b"" if self._resampler is None else self._encoder.feed(self._resampler.finish())
        if isinstance(self._encoder, encode.FileEncoder):
            rest, head = self._encoder.finish()
            return last + rest, head
        return last + self._encoder.finish(), b""


class PacketDigest:
    """What can be said of packets that were passed on."""

    def __init__(self, *, keeps: bool) -> None:
        """Begin; `keeps`: whether the packets themselves are wanted in the end."""
        self.num_bytes = 0
        self.kept = bytearray()
        self._keeps = keeps
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of all of them."""
        return self._digest.hexdigest()

    def add(self, packet: bytes) -> None:
        """Take note of the next one."""
        self.num_bytes += len(packet)
        self._digest.update(packet)
        if self._keeps:
            self.kept += packet


class PacketStore:
    """Where packets gather while earlier ones are posted; one puts, one takes.

    When it is full, `put` waits. Generation does not: its PCM waits in the speech.
    """

    def __init__(self, max_piece_bytes: int) -> None:
        self._max_piece_bytes = max_piece_bytes
        self._changed = asyncio.Condition()
        self._bytes = bytearray()
        self._wanted_s = 0.0  # the first piece is wanted at once
        self._is_closed = False

    async def put(self, packet: bytes, duration_s: float) -> None:
        """Add a packet, and how much sound it came from."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._bytes) < MAX_STORED_BYTES)
            self._bytes += packet
            self._wanted_s -= duration_s
            self._changed.notify_all()

    async def close(self) -> None:
        """Say that nothing more will come."""
        async with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    async def take(self) -> bytes:
        """Wait for the next piece: all there is, but not too much; empty when there is no more."""
        async with self._changed:
            await self._changed.wait_for(self._has_piece)
            piece = bytes(self._bytes[: self._max_piece_bytes])
            del self._bytes[: self._max_piece_bytes]
            self._wanted_s = MIN_PIECE_S
            self._changed.notify_all()
            return piece

    def _has_piece(self) -> bool:
        num_bytes = len(self._bytes)
        if self._is_closed or num_bytes >= self._max_piece_bytes:
            return True
        return num_bytes > 0 and self._wanted_s <= 0
