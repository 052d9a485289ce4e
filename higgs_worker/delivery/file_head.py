"""What makes a proper file of a stream: the bytes at its front that only the end could tell.

A WAV's sizes, FLAC's total and an MP3's Xing frame stand in front of the audio. A stream leaves
them open, so a file is encoded beside it, of which nothing but the front differs.
"""

from typing import TypedDict

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio.encode import MAX_HEAD_BYTES
from higgs_worker.audio.pcm import PCM
from higgs_worker.delivery.budget import to_base64
from higgs_worker.delivery.encoding import FileWriter

HEADED_FORMATS = ("wav", "flac", "mp3")
"""The formats whose stream is no proper file."""


class FileHead(TypedDict):
    """How to make a file of the stream: put `base64` in place of the first `replaces_bytes`."""

    base64: str
    replaces_bytes: int


class HeadedFile:
    """The file that is encoded beside a stream of the same PCM."""

    def __init__(self, request: SpeechRequest, sample_rate: int) -> None:
        self._writer = FileWriter(request, sample_rate)
        self._is_headed = request.format in HEADED_FORMATS
        self._num_file_bytes = 0
        self._num_stream_bytes = 0
        self._stream_front = bytearray()
        self._head = b""

    def feed(self, pcm: PCM, packet: bytes) -> bytes:
        """Return the bytes of the file that `pcm` completes. Blocks.

        Args:
            pcm: the next samples.
            packet: what the stream made of them.
        """
        self._count_packet(packet)
        data = self._writer.feed(pcm)
        self._num_file_bytes += len(data)
        return data

    def finish(self, packet: bytes) -> tuple[bytes, bytes]:
        """Return the last bytes of the file, and the head that replaces its first ones. Blocks.

        Args:
            packet: the stream's last one.
        """
        self._count_packet(packet)
        rest, self._head = self._writer.finish()
        self._num_file_bytes += len(rest)
        return rest, self._head

    def patch(self) -> FileHead | None:
        """Return how the finished stream becomes the finished file; None: it is one already."""
        if not self._is_headed:
            return None
        # From some point on both are equal, the file perhaps some bytes further on.
        shift = self._num_file_bytes - self._num_stream_bytes
        num_compared = min(len(self._stream_front), len(self._head) - shift)
        num_replaced = next(
            (
                index
                for index in range(num_compared, 0, -1)
                if self._stream_front[index - 1] != self._head[index - 1 + shift]
            ),
            0,
        )
        head = self._head[: num_replaced + shift]
        return FileHead(base64=to_base64(head), replaces_bytes=num_replaced)

    def _count_packet(self, packet: bytes) -> None:
        self._num_stream_bytes += len(packet)
        room = MAX_HEAD_BYTES - len(self._stream_front)
        self._stream_front += packet[:room]
