"""The sink whose output is the JSON of a whole reply: the audio inside it, or in a bucket."""

import asyncio
import logging
from dataclasses import replace
from typing import Any

from higgs_worker.api.output import to_output
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.result import SpeechResult
from higgs_worker.audio.pcm import PCM
from higgs_worker.delivery.budget import SizeBudget
from higgs_worker.delivery.encoding import FileWriter
from higgs_worker.delivery.file import AudioFile, MemoryTarget, SaveDirectory
from higgs_worker.errors import ResultTooLarge, StorageFailed
from higgs_worker.storage.upload import StoredObject, Upload

log = logging.getLogger(__name__)


class ReplySink:
    """Returns the file inside the output, or its address in the bucket.

    An upload goes on while the audio is spoken. Audio that cannot be stored comes back as base64,
    if the budget allows; it is never lost.
    """

    def __init__(
        self,
        request: SpeechRequest,
        sample_rate: int,
        target: Upload | MemoryTarget,
        *,
        name: str,
        budget: SizeBudget,
        directory: SaveDirectory,
    ) -> None:
        """
        Args:
            request: says how the audio is shaped and encoded.
            sample_rate: of the PCM, in hertz.
            target: still empty. The opener of an upload aborts it after a failure.
            name: of the copy in the directory.
            budget: what the reply may still take.
            directory: gets a copy.
        """
        self._request = request
        self._writer = FileWriter(request, sample_rate)
        self._target = target
        self._name, self._budget, self._directory = name, budget, directory

    async def feed(self, pcm: PCM) -> None:
        """Encode the next samples; an upload sends what they complete."""
        if data := await asyncio.to_thread(self._writer.feed, pcm):
            self._target.feed(data)

    async def finish(self, result: SpeechResult) -> dict[str, Any]:
        """Return the output with the file or its address.

        Raises:
            ResultTooLarge: there is no bucket, and the budget does not allow the file.
            StorageFailed: the audio could be neither stored nor returned in the output.
        """
        rest, head = await asyncio.to_thread(self._writer.finish)
        storing = self._target.finish(rest, head=head)
        audio = await asyncio.to_thread(AudioFile.of, self._target.data, self._request)
        warnings = await self._directory.save(self._name, audio, result)
        result = replace(result, warnings=(*result.warnings, *warnings))
        output = await asyncio.to_thread(to_output, result, audio.info)  # thousands of segments
        if storing is None:
            await self._budget.add_base64(output, audio.data)
            return output
        try:
            add_address(output, await asyncio.wrap_future(storing))
        except StorageFailed as error:
            log.warning("the audio could not be stored: %s", error.message)
            output["warnings"].append(f"{error.message}. The audio is returned inside the result")
            try:
                await self._budget.add_base64(output, audio.data)
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
