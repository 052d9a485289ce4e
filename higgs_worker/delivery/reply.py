"""Sinks whose output is the JSON of a reply: the audio as base64 inside it, or in a bucket."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

from higgs_worker.api.output import to_output
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.delivery.budget import SizeBudget
from higgs_worker.delivery.encoding import FileWriter
from higgs_worker.delivery.file import AudioFile, MemorySink, SaveDirectory
from higgs_worker.delivery.sink import PCM
from higgs_worker.errors import ResultTooLarge, StorageFailed
from higgs_worker.storage.upload import StoredObject, Upload

log = logging.getLogger(__name__)


class Base64Sink:
    """Returns the file inside the output."""

    def __init__(
        self,
        request: SpeechRequest,
        sample_rate: int,
        *,
        name: str,
        budget: SizeBudget,
        directory: SaveDirectory,
    ) -> None:
        """
        Args:
            request: says how the audio is shaped and encoded.
            sample_rate: of the PCM, in hertz.
            name: of the copy in the directory.
            budget: what the reply may still take.
            directory: gets a copy.
        """
        self._file = MemorySink(request, sample_rate)
        self._name, self._budget, self._directory = name, budget, directory

    async def feed(self, pcm: PCM) -> None:
        """Encode the next samples."""
        await self._file.feed(pcm)

    async def finish(self, result: SpeechResult) -> dict[str, Any]:
        """Return the output with the file in it.

        Raises:
            ResultTooLarge: the budget does not allow it.
        """
        audio = await self._file.finish(result)
        output = await _output_of(audio, result, self._name, self._directory)
        self._budget.add_base64(output, audio.data)
        return output


class S3Sink:
    """Uploads the file while it is spoken and returns its address.

    Audio that cannot be stored comes back as base64, if the budget allows; it is never lost.
    """

    def __init__(
        self,
        request: SpeechRequest,
        sample_rate: int,
        upload: Upload,
        *,
        name: str,
        budget: SizeBudget,
        directory: SaveDirectory,
    ) -> None:
        """
        Args:
            request: says how the audio is shaped and encoded.
            sample_rate: of the PCM, in hertz.
            upload: the object, still empty. Its opener aborts it after a failure.
            name: of the copy in the directory.
            budget: what the reply may still take.
            directory: gets a copy.
        """
        self._request = request
        self._writer = FileWriter(request, sample_rate)
        self._upload = upload
        self._name, self._budget, self._directory = name, budget, directory

    async def feed(self, pcm: PCM) -> None:
        """Encode the next samples and send what they complete."""
        if data := await asyncio.to_thread(self._writer.feed, pcm):
            self._upload.feed(data)

    async def finish(self, result: SpeechResult) -> dict[str, Any]:
        """Return the output with the address of the object.

        Raises:
            StorageFailed: the audio could be neither stored nor returned in the output.
        """
        rest, head = await asyncio.to_thread(self._writer.finish)
        storing = self._upload.finish(rest, head=head)
        audio = await asyncio.to_thread(AudioFile.of, self._upload.data, self._request)
        output = await _output_of(audio, result, self._name, self._directory)
        try:
            add_address(output, await asyncio.wrap_future(storing))
        except StorageFailed as error:
            log.warning("the audio could not be stored: %s", error.message)
            output["warnings"].append(f"{error.message}. The audio is returned inside the result")
            try:
                self._budget.add_base64(output, audio.data)
            except ResultTooLarge:
                raise error from None
        else:
            self._budget.add(output)
        return output


def add_address(output: dict[str, Any], stored: StoredObject) -> None:
    """Add to an output where its audio is stored."""
    output["audio"] |= {
        "bucket": stored.bucket,
        "key": stored.key,
        "url": stored.url,
        "expires_at": None if stored.expires_at is None else stored.expires_at.isoformat(),
    }


async def _output_of(
    audio: AudioFile, result: SpeechResult, name: str, directory: SaveDirectory
) -> dict[str, Any]:
    warnings = await directory.save(name, audio, result)
    return to_output(replace(result, warnings=(*result.warnings, *warnings)), audio.info)
