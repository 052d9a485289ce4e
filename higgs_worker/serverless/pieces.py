"""The streamed pieces of one job, as the SDK posts and keeps them."""

from typing import Any

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio.encode import MIME_TYPES, encoded_rate
from higgs_worker.delivery.budget import to_base64, trim
from higgs_worker.serverless.limits import ENVELOPE_BYTES, MAX_PIECE_BYTES, MAX_STREAMED_BYTES


class QuietOutput(dict[str, Any]):
    """An output that shows nothing of itself.

    The SDK (1.12, 2.0) makes a text of every output, several times, even where it logs none: of the
    largest one that takes a tenth of a second, and where it does log, the log has the audio.
    """

    def __repr__(self) -> str:
        return "{…}"


class StreamedPieces:
    """Makes pieces, and keeps the job's output within the platform's limit.

    The SDK (1.12, 2.0) keeps the very objects that it posted and makes the job's output of them. So
    audio that would make the output too large can be taken out of them once it has been streamed.
    """

    def __init__(self, request: SpeechRequest, max_bytes: int) -> None:
        """
        Args:
            request: what the pieces are of.
            max_bytes: of the job's output.
        """
        self.has_dropped_audio = False
        """Whether the audio was taken out of the job's output."""
        self._head = {
            "format": request.format,
            "mime_type": MIME_TYPES[request.format],
            "sample_rate": encoded_rate(request.format, request.audio_rate),
        }
        self._max_bytes = max_bytes
        self._num = 0
        self._num_bytes = 0
        self._kept: list[dict[str, Any]] = []

    def make(self, audio: bytes) -> QuietOutput:
        """Return the next piece."""
        return QuietOutput(index=self._num, audio=self._head | {"base64": to_base64(audio)})

    def add(self, piece: dict[str, Any]) -> None:
        """Count a piece that the SDK has posted."""
        self._num += 1
        self._num_bytes += len(piece["audio"]["base64"]) + ENVELOPE_BYTES
        self._kept.append(piece)
        if self._num_bytes > self._max_bytes - MAX_STREAMED_BYTES:
            self.has_dropped_audio = True
        if self.has_dropped_audio:
            for each in self._kept:
                del each["audio"]
            self._kept.clear()

    def finish(self, output: dict[str, Any]) -> None:
        """Make the output the last piece: number it, and cut it to what a piece may hold."""
        output["index"] = self._num
        if self.has_dropped_audio and "key" not in output["audio"]:
            output["warnings"].append(
                "the pieces together are more than the platform keeps of a job; their audio was "
                "only streamed"
            )
        trim(output, MAX_PIECE_BYTES)
