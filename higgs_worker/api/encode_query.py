"""The query of a request to encode raw PCM: which file is wanted, and what the PCM is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import get_args

from higgs_worker.api.field_errors import wrong_field
from higgs_worker.api.query import parameters_by_name
from higgs_worker.api.request import TELEPHONE_FORMATS, Format, SpeechRequest
from higgs_worker.messages import quote

FORMATS: tuple[str, ...] = get_args(Format)
MIN_RATE, MAX_RATE, DEFAULT_RATE = 8000, 48_000, 24_000
"""Of the PCM, in hertz; a request's audio has the same bounds."""
_KNOWN = ("format", "sample_rate")
_NO_TEXT = "Spoken already."


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What is to become of PCM."""

    sample_rate: int
    """Of the PCM, in hertz."""
    request: SpeechRequest
    """Format and sample rate of the file; nothing is spoken."""


def parse_encode_query(parameters: Iterable[tuple[str, str]]) -> EncodeOptions:
    """Validate a query.

    Args:
        parameters: names and values, in order, without percent signs.

    Raises:
        InvalidRequest: names the parameter that is wrong.
    """
    advice = f"; there are {' and '.join(_KNOWN)}"
    sent = parameters_by_name(parameters, _KNOWN, place="route", advice=advice)
    listed = " or ".join(FORMATS)
    if "format" not in sent:
        raise wrong_field("format", f"is required in the address: ?format= with {listed}")
    if (format := sent["format"]) not in FORMATS:
        raise wrong_field("format", f"must be {listed}, not {quote(format)}")
    rate = _rate(sent.get("sample_rate", str(DEFAULT_RATE)))
    # Telephones have one rate, whatever the PCM has; the other files keep that of the PCM.
    kept = None if format in TELEPHONE_FORMATS else rate
    fields = {"text": _NO_TEXT, "format": format, "sample_rate": kept}
    return EncodeOptions(rate, SpeechRequest.parse(fields, max_text_chars=len(_NO_TEXT)))


def _rate(value: str) -> int:
    is_number = re.fullmatch(r"[0-9]{1,5}", value, re.ASCII)
    if not is_number or not MIN_RATE <= int(value) <= MAX_RATE:
        raise wrong_field(
            "sample_rate",
            f"must be a whole number from {MIN_RATE} to {MAX_RATE}, the rate of the PCM in hertz, "
            f"not {quote(value)}",
        )
    return int(value)
