"""The query of Deepgram's `speak` websocket: a request of ours that lacks its text.

`?model=aura-2-thalia-en&encoding=linear16&sample_rate=24000`, and fields of ours beside theirs.
Their voices, which clients send by default, are spoken by voices of this worker.
Source: https://developers.deepgram.com/reference/text-to-speech/speak-streaming
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from higgs_worker.api import openai
from higgs_worker.api.field_errors import wrong_field
from higgs_worker.api.query import parameters_by_name
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.screening import looks_like_credential
from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import CredentialsRefused, InvalidRequest, UnknownVoice
from higgs_worker.messages import MAX_QUOTED, quote

DEFAULT_ENCODING = "linear16"
ENCODINGS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    # 44100 is in older versions of their reference.
    "linear16": ("pcm", (24000, 8000, 16000, 32000, 44100, 48000)),
    "mulaw": ("ulaw", (8000, 16000)),
    "alaw": ("alaw", (8000, 16000)),
}
"""By Deepgram's name: our format and its sample rates, the default one first."""
DEFAULT_MODEL = "aura-asteria-en"
_MODEL = re.compile(r"aura-(?:2-)?(?P<name>[a-z]+)(?:-(?P<language>[a-z]{2}))?")
# fmt: off
_MASCULINE = (
    "alvaro", "angus", "apollo", "arcas", "aries", "atlas", "cesare", "dionisio", "draco", "ebisu",
    "elio", "fabian", "flavio", "fujin", "hector", "helios", "hermes", "hyperion", "javier",
    "julius", "jupiter", "lars", "luciano", "mars", "neptune", "nestor", "odysseus", "orion",
    "orpheus", "perseo", "perseus", "pluto", "roman", "sander", "saturn", "sirio", "valerio",
    "zeus",
)
# fmt: on
"""Of Deepgram's voices; the others are feminine."""
MASCULINE_STAND_IN, FEMININE_STAND_IN = "bram", "clara"

_VOICE_NAMES = ("model", "voice", "description")
_OWN_TEXTS = ("language", "scene", "instructions")
_OWN_NUMBERS = ("seed", "speed", "temperature", "top_p", "top_k")
"""Fields of SpeechRequest, under its names."""
_WITHOUT_EFFECT = ("mip_opt_out", "tag")
"""Deepgram's: whether its models learn from a text, and a label on its bills."""
_FORMAT_NAMES = ("encoding", "sample_rate", "container")
_KNOWN = (*_VOICE_NAMES, *_FORMAT_NAMES, *_OWN_TEXTS, *_OWN_NUMBERS, *_WITHOUT_EFFECT)
_MAX_PARAMETERS = 50
_MAX_CHARS = 20_000  # a scene and a description, each character as %XX%XX%XX
_TO_BE_SAID = "What follows."


@dataclass(frozen=True, slots=True)
class SpeakOptions:
    """What holds for all texts of one websocket."""

    voice: str
    """Who speaks, as the caller asked for it: a name or a description."""
    request: SpeechRequest
    """Everything but the text."""

    def with_voice(self, voices: Collection[str]) -> "SpeakOptions":
        """Return the options with a voice that exists.

        Args:
            voices: the names that exist here; one of them comes before a stand-in.

        Raises:
            UnknownVoice: it is none of them, and none of Deepgram's or OpenAI's.
        """
        name = self.request.voice.name if self.request.voice else None
        if name is None:
            return self
        folded = name.casefold()
        if folded in {each.casefold() for each in voices}:
            return self
        update: dict[str, Any] = {}
        if found := _MODEL.fullmatch(folded):
            stand_in = MASCULINE_STAND_IN if found["name"] in _MASCULINE else FEMININE_STAND_IN
            # Their English voices are what clients send for any text; its language is detected.
            if self.request.language is None and found["language"] not in (None, "en"):
                update["language"] = found["language"]
        elif folded in openai.STAND_INS:
            stand_in = openai.STAND_INS[folded]
        else:
            near = difflib.get_close_matches(folded[:MAX_QUOTED], voices, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"there are {_listed(voices)}"
            raise UnknownVoice(f"no voice is called {quote(name)}; {advice}")
        update["voice"] = VoiceSpec(name=stand_in)
        return replace(self, request=self.request.model_copy(update=update))

    def to_request(self, text: str, *, language: str, seed: int) -> SpeechRequest:
        """Return the request for one text, which was checked when it came."""
        update = {"text": text, "language": language, "seed": seed}
        return self.request.model_copy(update=update)


def parse_query(parameters: Iterable[tuple[str, str]]) -> SpeakOptions:
    """Validate the query of a websocket.

    Args:
        parameters: names and values, in order, without percent signs.

    Raises:
        CredentialsRefused: a parameter looks like a credential.
        InvalidRequest: anything else is wrong.
    """
    sent = _as_mapping(parameters)
    fields: dict[str, Any] = {name: sent[name] for name in _OWN_TEXTS if name in sent}
    fields |= {name: _number(sent[name]) for name in _OWN_NUMBERS if name in sent}
    voice = sent.get("description", sent.get("voice", sent.get("model", DEFAULT_MODEL)))
    fields["voice"] = {"description": voice} if "description" in sent else voice
    fields["format"], fields["sample_rate"] = _encoding(sent)
    if sent.get("container", "none") != "none":
        raise wrong_field("container", "must be none: a websocket carries samples without a file")
    fields |= {"text": _TO_BE_SAID, "timestamps": "none", "strict_tags": False}
    return SpeakOptions(voice, SpeechRequest.parse(fields, max_text_chars=len(_TO_BE_SAID)))


def _as_mapping(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
    sent = parameters_by_name(
        _screened(parameters), _KNOWN, place="websocket", repeatable=_WITHOUT_EFFECT
    )
    if len(both := [name for name in _VOICE_NAMES if name in sent]) > 1:
        raise wrong_field(both[1], f"and {both[0]} both say whose voice it is; send one of them")
    return sent


def _screened(parameters: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield parameters, as long as they are few and short and none looks like a credential."""
    for number, (name, value) in enumerate(parameters, 1):
        if number > _MAX_PARAMETERS or len(name) + len(value) > _MAX_CHARS:
            raise InvalidRequest(
                f"the query has more than {_MAX_PARAMETERS} parameters, or one of more than "
                f"{_MAX_CHARS} characters"
            )
        if name not in _KNOWN and looks_like_credential(name):
            raise CredentialsRefused(
                f"a key does not belong into an address, which logs keep, and {quote(name)} looks "
                "like one; send it in the header Authorization, and replace one that was sent here"
            )
        yield name, value


def _encoding(sent: Mapping[str, str]) -> tuple[str, int]:
    """Return our format and the sample rate."""
    name = sent.get("encoding", DEFAULT_ENCODING)
    if name not in ENCODINGS:
        raise wrong_field("encoding", f"must be {' or '.join(ENCODINGS)}, not {quote(name)}")
    format, rates = ENCODINGS[name]
    rate = sent.get("sample_rate", str(rates[0]))
    if rate not in map(str, rates):
        known = " or ".join(str(each) for each in sorted(rates))
        raise wrong_field("sample_rate", f"must be {known} for {name}, not {quote(rate)}")
    return format, int(rate)


def _number(value: str) -> int | float | str:
    """Return what a text means as a number; what is none is refused with the field's own words."""
    if re.fullmatch(r"-?[0-9]{1,20}", value, re.ASCII):
        return int(value)
    if re.fullmatch(r"-?[0-9]{0,20}\.?[0-9]{1,20}", value, re.ASCII):
        return float(value)
    return value


def _listed(voices: Collection[str]) -> str:
    shown = ", ".join(sorted(voices)[:10])
    return f"{shown} and {len(voices) - 10} more" if len(voices) > 10 else shown
