"""A speech as pieces that are posted while it is spoken, and the queue between both sides.

Joined, the pieces are a stream whose header leaves the length open. To keep them as a file, replace
its first bytes as the `file_head` of the output says; what this worker itself keeps (an object, a
saved copy) is a proper file already.
"""

import asyncio
import logging
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from higgs_worker.api.output import to_output
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.audio.pcm import PCM
from higgs_worker.delivery.encoding import PacketWriter, audio_info
from higgs_worker.delivery.file import AudioFile, MemoryTarget, SaveDirectory
from higgs_worker.delivery.file_head import HEADED_FORMATS, HeadedFile
from higgs_worker.delivery.reply import add_address
from higgs_worker.errors import StorageFailed
from higgs_worker.storage.upload import StoredObject, Upload

MIN_PIECE_S = 0.5
"""Each post takes a round trip; shorter pieces would arrive later, not sooner."""
MAX_QUEUED_BYTES = 8_000_000

log = logging.getLogger(__name__)


class PieceQueue:
    """Packets that gather while earlier ones are posted: one side puts, one side takes.

    A full queue makes `put` wait. Generation goes on; its PCM waits in the speech.
    """

    def __init__(self, max_piece_bytes: int, *, min_piece_s: float = MIN_PIECE_S) -> None:
        """
        Args:
            max_piece_bytes: of one piece.
            min_piece_s: sound in each piece after the first; 0 where sending one costs little.
        """
        self._max_piece_bytes = max_piece_bytes
        self._min_piece_s = min_piece_s
        self._changed = asyncio.Condition()
        self._bytes = bytearray()
        self._missing_s = 0.0
        """Sound that is missing from the next piece; the first piece is wanted at once."""
        self._is_closed = False

    async def put(self, packet: bytes, duration_s: float) -> None:
        """Add a packet and the length of the sound that it came from."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._bytes) < MAX_QUEUED_BYTES)
            self._bytes += packet
            self._missing_s -= duration_s
            self._changed.notify_all()

    async def close(self) -> None:
        """End the queue; what is in it can still be taken."""
        async with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    async def take(self) -> bytes:
        """Wait for the next piece and return it; empty at the end."""
        async with self._changed:
            await self._changed.wait_for(self._has_piece)
            piece = bytes(self._bytes[: self._max_piece_bytes])
            del self._bytes[: self._max_piece_bytes]
            self._missing_s = self._min_piece_s
            self._changed.notify_all()
            return piece

    def _has_piece(self) -> bool:
        num_bytes = len(self._bytes)
        if self._is_closed or num_bytes >= self._max_piece_bytes:
            return True
        return num_bytes > 0 and self._missing_s <= 0


class PieceSink:
    """Fills a queue with packets; beside it, a proper file goes where one is kept."""

    def __init__(
        self,
        request: SpeechRequest,
        sample_rate: int,
        queue: PieceQueue,
        *,
        name: str,
        target: Upload | MemoryTarget | None,
        directory: SaveDirectory,
        tells_head: bool = True,
    ) -> None:
        """
        Args:
            request: speed, sample rate and format; it must be streamable, see `check_streamable`.
            sample_rate: of the PCM, in hertz.
            queue: what is filled; closed at the end of the audio.
            name: of the copy in the directory.
            target: where the file goes; None keeps none. The opener of an upload aborts it after
                a failure.
            directory: gets a copy.
            tells_head: whether the output tells how the stream becomes a file.
        """
        self._request, self._sample_rate = request, sample_rate
        self._queue, self._target = queue, target
        self._name, self._directory = name, directory
        self._packets = PacketWriter(request, sample_rate)
        is_needed = target is not None or (tells_head and request.format in HEADED_FORMATS)
        self._file = HeadedFile(request, sample_rate) if is_needed else None
        self.storage_failure: StorageFailed | None = None
        """Why the audio is not in the bucket although it should be."""

    async def feed(self, pcm: PCM) -> None:
        """Encode the next samples and queue the packet that they complete."""
        packet = await asyncio.to_thread(self._packets.feed, pcm)
        # First to the listener, who does not wait for the file.
        await self._queue.put(packet, len(pcm) / self._sample_rate / self._request.speed)
        if self._file is not None:
            data = await asyncio.to_thread(self._file.feed, pcm, packet)
            if self._target is not None:
                self._target.feed(data)

    async def finish(self, result: SpeechResult) -> dict[str, Any]:
        """End the queue, complete the file, and return the output without the audio."""
        last = await asyncio.to_thread(self._packets.finish)
        await self._queue.put(last, 0.0)
        await self._queue.close()  # the listener does not wait for the file
        info = audio_info(self._request, self._packets.num_bytes, self._packets.sha256)
        if self._file is None:
            return await asyncio.to_thread(to_output, result, info)
        rest, head = await asyncio.to_thread(self._file.finish, last)
        storing = self._target.finish(rest, head=head) if self._target is not None else None
        if self._target is not None:
            audio = await asyncio.to_thread(AudioFile.of, self._target.data, self._request)
            warnings = await self._directory.save(self._name, audio, result)
            result = replace(result, warnings=(*result.warnings, *warnings))
            if storing is not None:
                info = audio.info
        output = await asyncio.to_thread(to_output, result, info)
        if patch := self._file.patch():
            output["audio"]["file_head"] = patch
        if storing is not None:
            await self._add_address(output, storing)
        return output

    async def _add_address(self, output: dict[str, Any], storing: "Future[StoredObject]") -> None:
        try:
            add_address(output, await asyncio.wrap_future(storing))
        except StorageFailed as error:
            log.warning("the audio could not be stored: %s", error.message)
            output["warnings"].append(f"{error.message}. The audio was only streamed")
            self.storage_failure = error
