"""Where the audio of a request goes: into the reply, the bucket, a local directory.

What cannot be delivered is refused before it is spoken, as far as that can be known; what was
spoken is never thrown away.
"""

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.delivery.budget import SizeBudget
from higgs_worker.delivery.file import MemoryTarget, SaveDirectory
from higgs_worker.delivery.pieces import PieceQueue, PieceSink
from higgs_worker.delivery.reply import ReplySink
from higgs_worker.errors import InvalidRequest, ResultTooLarge
from higgs_worker.storage.storage import Storage
from higgs_worker.storage.upload import Upload
from higgs_worker.text.duration import expected_duration_s

# What a second of sound takes at least, in bytes; FLAC's is that of quiet speech.
_MIN_BYTES_PER_S = {"mp3": 8000, "opus": 3000, "aac": 8000, "flac": 12_000}
_BYTES_PER_SAMPLE = {"wav": 2, "pcm": 2, "ulaw": 1, "alaw": 1}
_NO_BUCKET = (
    "this endpoint has none; leave it out, or set HIGGS_S3_BUCKET and its keys on the endpoint"
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """Opens the sink that a request asks for."""

    storage: Storage | None = None
    """The bucket; None where the endpoint has none."""
    directory: SaveDirectory = field(default_factory=SaveDirectory)
    """Gets a copy of every result."""

    async def choose_key(
        self, name: str, request: SpeechRequest, budget: SizeBudget | None
    ) -> str | None:
        """Return the key under which the audio will be stored; None: it is not stored.

        Everything that can be known before the work is done is refused here.

        Args:
            name: starts the keys that are made here.
            request: what is asked for.
            budget: of the reply. None: the audio is streamed, and stored only on request.

        Raises:
            InvalidRequest: the key is not allowed, or there is no bucket.
            StorageFailed: the bucket does not answer.
            ResultTooLarge: the audio is certain to exceed the budget.
        """
        is_asked = request.output == "s3" or request.key is not None
        if request.output == "base64" and is_asked:
            raise InvalidRequest(
                "key names an object in the bucket, and output is base64; send one"
            )
        if self.storage is None:
            if is_asked:
                asked = "output is s3" if request.key is None else "key needs a bucket"
                raise InvalidRequest(f"{asked}; {_NO_BUCKET}")
        elif request.key is not None:
            key = self.storage.check_key(request.key)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self.storage.threads, self.storage.refuse_taken, key)
            return key
        elif is_asked or (budget is not None and request.output == "auto"):
            return self.storage.key_for(name, request.format)
        if budget is not None:
            _refuse_too_long_for_reply(request, budget.limit)
        return None

    @contextmanager
    def open_reply(
        self,
        name: str,
        request: SpeechRequest,
        sample_rate: int,
        *,
        key: str | None,
        budget: SizeBudget,
    ) -> Iterator[ReplySink]:
        """Open the sink of a request whose reply comes as a whole; leaving early undoes it.

        Args:
            name: of the copy in the directory.
            request: what is asked for.
            sample_rate: of the PCM, in hertz.
            key: as `choose_key` returned it.
            budget: of the reply.
        """
        with self._open_upload(key, request) as upload:
            yield ReplySink(
                request,
                sample_rate,
                upload or MemoryTarget(),
                name=name,
                budget=budget,
                directory=self.directory,
            )

    @contextmanager
    def open_pieces(
        self,
        name: str,
        request: SpeechRequest,
        sample_rate: int,
        queue: PieceQueue,
        *,
        key: str | None,
        tells_head: bool = True,
    ) -> Iterator[PieceSink]:
        """Open the sink of a request whose audio is streamed; leaving early undoes an upload."""
        with self._open_upload(key, request) as upload:
            is_copied = self.directory.path is not None
            target = upload or (MemoryTarget() if is_copied else None)
            yield PieceSink(
                request,
                sample_rate,
                queue,
                name=name,
                target=target,
                directory=self.directory,
                tells_head=tells_head,
            )

    def _open_upload(
        self, key: str | None, request: SpeechRequest
    ) -> AbstractContextManager[Upload | None]:
        if key is None or self.storage is None:
            return nullcontext()
        return self.storage.open(key, MIME_TYPES[request.format])


def _refuse_too_long_for_reply(request: SpeechRequest, limit: int) -> None:
    """Refuse a text whose audio cannot fit, before it is spoken.

    Half the likely length counts, or what the caller limits it to.
    """
    seconds = expected_duration_s(request.text) / request.speed / 2
    if request.max_duration_s is not None:
        seconds = min(seconds, request.max_duration_s)
    if request.format in _MIN_BYTES_PER_S:
        per_second = _MIN_BYTES_PER_S[request.format]
    else:
        per_second = _BYTES_PER_SAMPLE[request.format] * request.audio_rate
    num_bytes = round(4 / 3 * seconds * per_second)
    if num_bytes > limit:
        raise ResultTooLarge(
            f"the audio of this text would have more than {num_bytes / 1e6:.0f} MB and the "
            f"platform takes {limit / 1e6:.0f} MB; ask for mp3 or opus, send a shorter text "
            "or a lower max_duration_s, or give the endpoint a bucket (HIGGS_S3_BUCKET)",
            details={"num_bytes": num_bytes, "max_bytes": limit},
        )
