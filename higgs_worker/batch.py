"""Many texts in one job: what each of them asks for.

    {"batch": [{"text": "One."}, {"text": "Two.", "seed": 7}], "voice": "clara", "format": "mp3"}

Fields beside `batch` hold for every text that does not say otherwise. Knows nothing of speaking.
"""

from collections.abc import Mapping
from typing import Any

from higgs_worker.errors import InvalidRequest
from higgs_worker.schema import SpeechRequest, names_of, refuse_credentials
from higgs_worker.wording import quote

MAX_TEXTS = 64
_OF_ONE_TEXT = (*names_of("text"), *names_of("key"), "action")
"""What cannot hold for several."""
_FIELDS: dict[Any, str] = {
    each: name for name in SpeechRequest.model_fields for each in names_of(name)
}
_FIELDS |= dict.fromkeys(("voice_url", "ref_audio", "ref_text"), "voice")
"""By every name that it may be sent under."""


def items_of(raw: Mapping[Any, Any]) -> list[object]:
    """Give the requests of a batch, each as it would be sent alone; they are not checked yet.

    Raises:
        CredentialsRefused: a key looks like a credential.
        InvalidRequest: it is no batch.
    """
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
    return [_with_defaults(each, shared) for each in batch]


def _with_defaults(item: object, shared: Mapping[Any, Any]) -> object:
    """Fill in what an entry does not say, whichever of a field's names it uses."""
    if not isinstance(item, Mapping):
        return item
    said = {_FIELDS.get(key, key) for key in item}
    filled = {key: value for key, value in shared.items() if _FIELDS.get(key, key) not in said}
    return filled | dict(item)
