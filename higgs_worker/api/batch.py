"""Many texts in one job: what each of them asks for, and all their answers as one.

    {"batch": [{"text": "One."}, {"text": "Two.", "seed": 7}], "voice": "clara", "format": "mp3"}

Fields beside `batch` hold for every text that does not say otherwise. Knows nothing of speaking.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from higgs_worker.api.request import SpeechRequest, names_of, refuse_credentials
from higgs_worker.errors import BatchFailed, InvalidRequest
from higgs_worker.messages import quote

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
    keys = Counter(
        key
        for each in batch
        if isinstance(each, Mapping) and isinstance(key := each.get("key"), str)
    )
    for key, count in keys.items():
        if count > 1:
            raise InvalidRequest(f"{count} entries have the key {quote(key)}; send each its own")
    return [_with_defaults(each, shared) for each in batch]


async def run_all(
    items: list[object],
    run: Callable[[int, object, Callable[..., None]], Awaitable[dict[str, Any]]],
    on_progress: Callable[[float, str], None],
) -> dict[str, Any]:
    """Run requests side by side and give their outputs, in order; a failure leaves others alone.

    Args:
        items: the requests.
        run: gives the output of one, which has an `error` if it failed; gets its number, the
            request and what it reports to.
        on_progress: is told how far all of them are.

    Raises:
        BatchFailed: all of them failed.
    """
    done = [0.0] * len(items)

    async def run_one(index: int, item: object) -> dict[str, Any]:
        def report(fraction: float, doing: str = "") -> None:
            done[index] = fraction
            on_progress(sum(done) / len(done), doing)

        output = await run(index, item, report)
        report(1.0)
        return {"index": index} | output

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_one(*each)) for each in enumerate(items)]
    outputs = [task.result() for task in tasks]
    num_failed = sum("error" in output for output in outputs)
    if num_failed == len(outputs):
        raise BatchFailed(
            f"none of the {num_failed} texts could be spoken; the first: {outputs[0]['error']}",
            details={"batch": outputs},
        )
    return {"batch": outputs, "num_failed": num_failed}


def _with_defaults(item: object, shared: Mapping[Any, Any]) -> object:
    """Fill in what an entry does not say, whichever of a field's names it uses."""
    if not isinstance(item, Mapping):
        return item
    said = {_FIELDS.get(key, key) for key in item}
    filled = {key: value for key, value in shared.items() if _FIELDS.get(key, key) not in said}
    return filled | dict(item)
