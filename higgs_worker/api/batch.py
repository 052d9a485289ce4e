"""Many requests sent as one.

    {"batch": [{"text": "One."}, {"text": "Two.", "seed": 7}], "voice": "clara", "format": "mp3"}

Fields beside `batch` hold for every entry that does not set them itself.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from higgs_worker.api.request import SpeechRequest, names_of
from higgs_worker.errors import InvalidRequest, WorkerError
from higgs_worker.messages import quote

MAX_TEXTS = 64
_OF_ONE_TEXT = (*names_of("text"), *names_of("key"))
"""Fields that cannot hold for several texts."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that are spoken side by side and answered in order."""

    entries: tuple[SpeechRequest | WorkerError, ...]
    """An entry that is wrong is an error of its own; it does not fail the others."""

    @classmethod
    def parse(cls, raw: Mapping[Any, Any], *, max_text_chars: int) -> "Batch":
        """Validate an input that has `batch`.

        Args:
            raw: the input; what comes from a caller was screened before.
            max_text_chars: the operator's limit for the text of each entry.

        Raises:
            InvalidRequest: the batch as a whole is wrong, or a field beside it.
        """
        batch = raw["batch"]
        if not isinstance(batch, list) or not 1 <= len(batch) <= MAX_TEXTS:
            found = f"{len(batch)} entries" if isinstance(batch, list) else quote(batch)
            raise InvalidRequest(
                f'batch must be a list of 1 to {MAX_TEXTS} requests such as {{"text": "Hello."}}, '
                f"not {found}"
            )
        shared = _parse_shared(raw)
        entries = tuple(_parse_entry(each, shared, max_text_chars) for each in batch)
        keys = Counter(each.key for each in entries if isinstance(each, SpeechRequest))
        for key, count in keys.items():
            if key is not None and count > 1:
                raise InvalidRequest(
                    f"{count} entries have the key {quote(key)}; send each its own"
                )
        return cls(entries)


def _parse_shared(raw: Mapping[Any, Any]) -> SpeechRequest:
    """Return the fields beside `batch`, as a request whose text says nothing."""
    shared = {key: value for key, value in raw.items() if key != "batch"}
    for key in shared:
        if key in _OF_ONE_TEXT:
            raise InvalidRequest(f"{key!r} cannot stand beside batch; put it into its entries")
    text = "-"
    return SpeechRequest.parse({"text": text} | shared, max_text_chars=len(text))


def _parse_entry(
    raw: object, shared: SpeechRequest, max_text_chars: int
) -> SpeechRequest | WorkerError:
    """Return an entry, with the shared fields that it does not set itself; or what is wrong."""
    try:
        entry = SpeechRequest.parse(raw, max_text_chars=max_text_chars)
    except WorkerError as error:
        return error
    unset = shared.model_fields_set - entry.model_fields_set
    return entry.model_copy(update={name: getattr(shared, name) for name in unset})
