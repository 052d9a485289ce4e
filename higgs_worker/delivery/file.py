"""Sinks that keep a proper file: in memory, or in a local file that grows while it is spoken."""

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import AudioInfo, SpeechResult
from higgs_worker.atomic_file import write_atomic
from higgs_worker.audio.pcm import PCM
from higgs_worker.delivery.encoding import FileWriter, audio_info

_MAX_STEM_CHARS = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AudioFile:
    """A whole file in memory."""

    data: bytes
    info: AudioInfo

    @classmethod
    def of(cls, data: bytes, request: SpeechRequest) -> "AudioFile":
        """Return the file that `data` is for a request."""
        return cls(data, audio_info(request, len(data), hashlib.sha256(data).hexdigest()))


class MemoryTarget:
    """Collects the bytes of a file, as an upload does."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def data(self) -> bytes:
        """All bytes so far."""
        return bytes(self._data)

    def feed(self, data: bytes) -> None:
        """Append bytes."""
        self._data += data

    def finish(self, rest: bytes = b"", *, head: bytes = b"") -> None:
        """Append the last bytes and replace the first ones by the head."""
        self._data += rest
        self._data[: len(head)] = head


class MemorySink:
    """Keeps the file in memory."""

    def __init__(self, request: SpeechRequest, sample_rate: int) -> None:
        """
        Args:
            request: says how the audio is shaped and encoded.
            sample_rate: of the PCM, in hertz.
        """
        self._request = request
        self._writer = FileWriter(request, sample_rate)
        self._target = MemoryTarget()

    async def feed(self, pcm: PCM) -> None:
        """Encode the next samples."""
        self._target.feed(await asyncio.to_thread(self._writer.feed, pcm))

    async def finish(self, result: SpeechResult) -> AudioFile:
        """Return the file."""
        rest, head = await asyncio.to_thread(self._writer.finish)
        self._target.finish(rest, head=head)
        return await asyncio.to_thread(AudioFile.of, self._target.data, self._request)


class PathSink:
    """Writes a local file as its bytes come; its head is put right at the end. A context manager.

    Until then the head says, where the format has one, that the length is unknown, and players
    play what is there.
    """

    def __init__(self, path: Path, request: SpeechRequest, sample_rate: int) -> None:
        """
        Args:
            path: the file, which is created or replaced.
            request: says how the audio is shaped and encoded.
            sample_rate: of the PCM, in hertz.

        Raises:
            OSError: the file cannot be written.
        """
        self._writer = FileWriter(request, sample_rate)
        self._file = path.open("wb")

    def __enter__(self) -> "PathSink":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    async def feed(self, pcm: PCM) -> None:
        """Encode the next samples and write what they complete."""
        await asyncio.to_thread(self._write, pcm)

    async def finish(self, result: SpeechResult) -> SpeechResult:
        """Write the rest and the head; return the result as it is."""
        await asyncio.to_thread(self._complete)
        return result

    def _write(self, pcm: PCM) -> None:
        self._file.write(self._writer.feed(pcm))
        self._file.flush()

    def _complete(self) -> None:
        rest, head = self._writer.finish()
        self._file.write(rest)
        self._file.seek(0)
        self._file.write(head)


@dataclass(frozen=True, slots=True)
class SaveDirectory:
    """A local directory that gets a copy of every result; none where `path` is None."""

    path: Path | None = None

    async def save(self, name: str, audio: AudioFile, result: SpeechResult) -> list[str]:
        """Write a file named after a job; return the warnings, of which a failure is one."""
        if self.path is None:
            return []
        path = self.path / f"{_file_stem(name)}.{audio.info.format}"
        try:
            await asyncio.to_thread(_write_file, path, audio.data)
        except OSError as error:
            warning = f"the audio could not be saved as {path}: {error.strerror or error}"
            log.warning(warning)
            return [warning]
        log.info(
            "saved %s: %.2f s of audio in %.2f s", path, result.duration_s, result.timing.total_s
        )
        return []


def _file_stem(name: str) -> str:
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")
    return safe[:_MAX_STEM_CHARS] or "job"


def _write_file(path: Path, audio: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, audio, replace=True)
