"""The parameters of an address: known ones, each sent once."""

import difflib
from collections.abc import Collection, Iterable

from higgs_worker.api.field_errors import wrong_field
from higgs_worker.messages import MAX_QUOTED


def parameters_by_name(
    parameters: Iterable[tuple[str, str]],
    known: Collection[str],
    *,
    place: str,
    repeatable: Collection[str] = (),
    advice: str = "",
) -> dict[str, str]:
    """Return the values by name.

    Args:
        parameters: names and values, in order, without percent signs.
        known: names that there are.
        place: what takes them: "websocket", "route".
        repeatable: those that may be sent again; the last one counts.
        advice: what ends the sentence about a name that is near to none.

    Raises:
        InvalidRequest: names the parameter that is unknown, or that was sent twice.
    """
    sent: dict[str, str] = {}
    for name, value in parameters:
        if name not in known:
            near = difflib.get_close_matches(name[:MAX_QUOTED].lower(), known, n=1)
            end = f"; did you mean {near[0]!r}?" if near else advice
            raise wrong_field(name[:MAX_QUOTED], f"is no parameter of this {place}{end}")
        if name in sent and name not in repeatable:
            raise wrong_field(name, "was sent twice; send it once")
        sent[name] = value
    return sent
