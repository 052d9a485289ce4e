"""Many requests sent as one.

    {"batch": [{"text": "One."}, {"text": "Two.", "seed": 7}], "voice": "clara", "format": "mp3"}

Fields beside `batch` hold for every entry that does not set them itself.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from higgs_worker.api.request import SpeechRequest, names_of, refuse_credentials
from higgs_worker.errors import InvalidRequest, WorkerError
from higgs_worker.messages import quote

MAX_TEXTS = 64
_OF_ONE_TEXT = (*names_of("text"), *names_of("key"), "action")
"""Fields that cannot hold for several texts."""
_FIELDS: dict[Any, str] = {
    each: name for name in SpeechRequest.model_fields for each in names_of(name)
}
_FIELDS |= dict.fromkeys(("voice_url", "ref_audio", "ref_text"), "voice")
"""Fields by every name that they may be sent under."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests that are spoken side by side and answered in order."""

    entries: tuple[SpeechRequest | WorkerError, ...]
    """An entry that is wrong is an error of its own; it does not fail the others."""

    @classmethod
    def parse(cls, raw: Mapping[Any, Any], *, max_text_chars: int) -> "Batch":
        """Validate an input that has `batch`.

        Raises:
            CredentialsRefused: a key looks like a credential.
            InvalidRequest: the batch as a whole is wrong.
        """
        entries: list[SpeechRequest | WorkerError] = []
        for each in _entries(raw):
            try:
                entries.append(SpeechRequest.parse(each, max_text_chars=max_text_chars))
            except WorkerError as error:
                entries.append(error)
        return cls(tuple(entries))


def _entries(raw: Mapping[Any, Any]) -> list[object]:
    """Return the entries of a batch, each as it would be sent alone."""
    refuse_credentials(raw)
    batch = raw["batch"]
    if not isinstance(batch, list) or not 1 <= len(batch) <= MAX_TEXTS:
        found = f"{len(batch)} entries" if isinstance(batch, list) else quote(batch)
        raise InvalidRequest(
            f'batch must be a list of 1 to {MAX_TEXTS} requests such as {{"text": "Hello."}}, not '
            f"{found}"
        )
    shared = {key: value for key, value in raw.items() if key != "batch"}
    for key in shared:
        if key in _OF_ONE_TEXT:
            raise InvalidRequest(f"{key!r} cannot stand beside batch; put it into its entries")
    keys = Counter(
        key
        for each in batch
        if isinstance(each, Mapping) and isinstance(key := each.get("key"), str)
    )
    for key, count in keys.items():
        if count > 1:
            raise InvalidRequest(f"{count} entries have the key {quote(key)}; send each its own")
    return [_with_defaults(each, shared) for each in batch]


def _with_defaults(item: object, shared: Mapping[Any, Any]) -> object:
    """Fill in the fields that an entry does not set, under whichever of their names."""
    if not isinstance(item, Mapping):
        return item
    said = {_FIELDS.get(key, key) for key in item}
    filled = {key: value for key, value in shared.items() if _FIELDS.get(key, key) not in said}
    return filled | dict(item)
