"""What may be asked for: every bound of a job stands here.

A request is validated once, at the edge, and is frozen from then on; all its problems are reported
together, in the caller's words and under the names the caller used. It knows neither RunPod's
wrapping of a job nor how speech is made.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from higgs_worker.errors import CredentialsRefused, InvalidRequest

DEFAULT_SCENE = "Audio is recorded from a quiet room."

_VOICE_AUDIO, _VOICE_TEXT = ("voice_url", "ref_audio"), "ref_text"
_MAX_VOICE_NAME = 64
_MAX_REFERENCE_CHARS = 30_000_000  # base64 of more than any request may hold
_MAX_REFERENCE_TEXT = 2000
_MAX_QUOTED = 40
_MAX_LISTED = 50  # a job of a million misspelled keys must not become a reply of that size
_MAX_INTEGER = 10**20  # larger ones are described, not quoted
# What no text holds on purpose: halves of surrogate pairs and C0 controls except \t \n \r.
_UNREADABLE = re.compile(r"[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f]")
_CREDENTIAL = re.compile(
    "secret|password|passwd|token|credential|accesskey|apikey|privatekey|s3config"
)


Format = Literal["wav", "mp3", "flac", "opus", "aac", "pcm"]


@dataclass(frozen=True, slots=True)
class VoiceChoice:
    """Who says it: a voice of the library, or a recording and what is said in it."""

    name: str | None = None
    audio: str = ""
    """http(s) address, data URI or base64."""
    text: str = ""

    @classmethod
    def parse(cls, value: object) -> "VoiceChoice":
        """Check a name or an object {"audio", "text"}.

        Raises:
            ValueError: with what follows the field's name in a sentence.
        """
        if isinstance(value, str):
            if not value.strip():
                raise ValueError("is empty; send the name of a voice, or null for none")
            return cls(name=_readable(value.strip(), _MAX_VOICE_NAME))
        if not isinstance(value, Mapping) or not value.keys() <= {"audio", "text"}:
            raise ValueError(
                'must be the name of a voice or an object {"audio", "text"}, not ' + _quote(value)
            )
        for key, what in (("audio", "an address or base64"), ("text", "what is said in it")):
            if not isinstance(value.get(key), str) or not value[key].strip():
                raise ValueError(f"needs {key!r}: {what}")
        return cls(
            audio=_readable(value["audio"].strip(), _MAX_REFERENCE_CHARS),
            text=_readable(value["text"].strip(), _MAX_REFERENCE_TEXT),
        )


class SpeechRequest(BaseModel):
    """One text to be spoken, and how."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    text: str = Field(
        max_length=1_000_000,
        validation_alias=AliasChoices("text", "input", "prompt", "transcript"),
        description="What to say.",
    )
    scene: str | None = Field(
        DEFAULT_SCENE,
        max_length=2000,
        validation_alias=AliasChoices("scene", "scene_prompt", "instructions"),
        description="Setting and style of the recording; null or an empty string: none is given.",
    )
    voice: VoiceChoice | None = Field(
        None,
        description="Who says it: the name of a voice, or {audio, text}, a recording (address, "
        "data URI or base64) and its transcript; null: the model chooses. voice_url or ref_audio "
        "together with ref_text say the same.",
    )
    temperature: float = Field(
        0.3, ge=0, le=2, description="How freely codes are drawn; 0 always takes the likeliest."
    )
    top_p: float = Field(
        0.95,
        ge=0,
        le=1,
        description="Draw from the likeliest codes that together have this probability; 0 keeps "
        "only the likeliest one.",
    )
    top_k: int = Field(
        50, ge=0, le=1026, description="Draw from this many of the likeliest codes; 0: from all."
    )
    ras_window: int = Field(
        7,
        ge=0,
        le=64,
        description="Repetition-aware sampling looks back this many frames; 0 switches it off.",
    )
    ras_max_repeats: int = Field(
        2,
        ge=1,
        le=64,
        description="A code that stands this often in the window is drawn again, from the model's "
        "unaltered probabilities.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=2**63 - 1,
        description="Same seed, same model, same request: same audio. Null: one is drawn, and the "
        "result names it.",
    )
    max_duration_s: float | None = Field(
        None,
        ge=0.2,
        le=600,
        description="Most seconds of audio; null: a limit that follows from the text's length.",
    )
    format: Format = Field(
        "wav",
        validation_alias=AliasChoices("format", "response_format"),
        description="Encoding of the audio; pcm is 16 bits, little-endian, without a header.",
    )
    sample_rate: int = Field(
        24000,
        ge=8000,
        le=48000,
        description="In hertz; mp3, opus and aac take the nearest rate above that they have.",
    )
    speed: float = Field(
        1.0, ge=0.25, le=4, description="How fast it is said; the pitch stays as it is."
    )
    loudness_lufs: float | None = Field(
        None,
        ge=-40,
        le=-5,
        description="Integrated loudness to bring the audio to, as far as its peaks allow; null: "
        "as the model speaks.",
    )
    output: Literal["base64"] = Field(
        "base64", description="How the audio is returned: base64 inside the result."
    )

    @field_validator("voice", mode="plain")
    @classmethod
    def _parse_voice(cls, value: object) -> VoiceChoice | None:
        return None if value is None else VoiceChoice.parse(value)

    @field_validator("text", "scene")
    @classmethod
    def _refuse_unreadable(cls, value: str | None) -> str | None:
        # pydantic reports lone surrogates itself; `_predicate` words both in the same way.
        if value is not None and (found := _UNREADABLE.search(value)):
            raise ValueError(_unreadable(found))
        return value

    @field_validator("text")
    @classmethod
    def _refuse_empty_or_long(cls, value: str, info: ValidationInfo) -> str:
        if not value.strip():
            raise ValueError("is empty; send what should be said")
        limit = (info.context or {}).get("max_text_chars")
        if limit is not None and len(value) > limit:
            raise ValueError(_too_long(value, limit))
        return value

    @field_validator("scene")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value if value and value.strip() else None

    @classmethod
    def parse(cls, raw: object, *, max_text_chars: int) -> "SpeechRequest":
        """Validate what a job holds under `input`.

        Args:
            raw: anything that JSON can hold.
            max_text_chars: the operator's limit for `text`.

        Raises:
            CredentialsRefused: a key looks like a credential; its value is never repeated.
            InvalidRequest: anything else is wrong; `details["errors"]` lists every problem as
                `{"field", "message"}`.
        """
        if not isinstance(raw, Mapping):
            raise InvalidRequest(
                f'input must be an object such as {{"text": "Hello."}}, not {_quote(raw)}'
            )
        _refuse_credentials(raw)
        raw = _gather_voice(raw)
        spelled, problems = _resolve_names(raw)
        request = None
        try:
            request = cls.model_validate(
                {name: raw[key] for name, key in spelled.items()},
                context={"max_text_chars": max_text_chars},
            )
        except ValidationError as error:
            for each in error.errors(include_url=False):
                name = str(each["loc"][0])
                predicate = _predicate(each, cls.model_fields[name])
                key = spelled.get(name, name)
                problems.append((key, f"{key} {predicate}"))
        if request is None or problems:
            raise _invalid(problems)
        return request


def names_of(name: str) -> tuple[str, ...]:
    """Return every name a field of SpeechRequest may be sent under, its own first."""
    alias = SpeechRequest.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(each) for each in alias.choices)
    return (name,)


def _gather_voice(raw: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Put what other endpoints send in two fields into one, unless `voice` is there as well."""
    audio = [key for key in _VOICE_AUDIO if key in raw]
    if len(audio) != 1 or "voice" in raw:
        return raw
    rest = {key: value for key, value in raw.items() if key not in (audio[0], _VOICE_TEXT)}
    return rest | {"voice": {"audio": raw[audio[0]], "text": raw.get(_VOICE_TEXT)}}


def _readable(value: str, max_chars: int) -> str:
    if found := _UNREADABLE.search(value):
        raise ValueError(_unreadable(found))
    if len(value) > max_chars:
        raise ValueError(f"has a part of {len(value)} characters; at most {max_chars} are allowed")
    return value


def _resolve_names(raw: Mapping[Any, Any]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return which key fills which field, and what is wrong with the keys."""
    fields = {each: name for name in SpeechRequest.model_fields for each in names_of(name)}
    spelled: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    for key in raw:
        name = fields.get(key)
        if name is None:
            problems.append((_cut(str(key)), _unknown(key, list(fields), len(problems))))
        elif name in spelled:
            both = f"{spelled[name]!r} and {key!r}"
            problems.append((key, f"{both} are two names of the same field; send one of them"))
        else:
            spelled[name] = key
    return spelled, problems


def _unknown(key: object, known: list[str], num_problems: int) -> str:
    if key in (*_VOICE_AUDIO, _VOICE_TEXT):
        return f"send voice alone, or one of voice_url and ref_audio with ref_text, not {key!r} so"
    # Comparing is slow for long keys and for very many of them, and helps nobody there.
    comparable = isinstance(key, str) and len(key) <= _MAX_QUOTED and num_problems < _MAX_LISTED
    near = difflib.get_close_matches(str(key).lower(), known, n=1) if comparable else []
    return f"unknown field {_quote(key)}" + (f"; did you mean {near[0]!r}?" if near else "")


def _refuse_credentials(raw: Mapping[Any, Any]) -> None:
    """Look at every key, at any depth; without recursion, for a job may be nested deeply."""
    found: list[str] = []
    pending: list[object] = [raw]
    while pending:
        value = pending.pop()
        if isinstance(value, Mapping):
            found += [key for key in value if isinstance(key, str) and _is_credential(key)]
            pending += value.values()
        elif isinstance(value, list):
            pending += value
    if found:
        shown = ", ".join(_quote(key) for key in found[:3])
        raise CredentialsRefused(
            f"credentials do not belong into a job, and {shown} looks like one; set them in the "
            "endpoint's environment and replace any that were sent here",
            details={
                "errors": [
                    {"field": _cut(key), "message": "looks like a credential"}
                    for key in found[:_MAX_LISTED]
                ]
            },
        )


def _is_credential(key: str) -> bool:
    # The plural counts things (max_new_tokens) and is only an unknown field.
    folded = re.sub(r"[-_\s]", "", key.lower()).replace("tokens", "")
    return _CREDENTIAL.search(folded) is not None


def _invalid(problems: list[tuple[str, str]]) -> InvalidRequest:
    message = problems[0][1]
    if more := len(problems) - 1:
        message += f" (and {more} more)"
    listed = [{"field": key, "message": text} for key, text in problems[:_MAX_LISTED]]
    return InvalidRequest(message, details={"errors": listed})


def _predicate(error: ErrorDetails, field: FieldInfo) -> str:
    """Return what follows the field's name in the sentence about one of pydantic's errors."""
    value, context = error["input"], error.get("ctx", {})
    if error["type"] == "missing":
        return "is required; send what should be said"
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] == "string_too_long":
        return _too_long(value, context["max_length"])
    if error["type"] == "string_unicode" and (found := _UNREADABLE.search(value)):
        return _unreadable(found)
    return f"must be {_expected(field)}, not {_quote(value)}"


def _expected(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return " or ".join(repr(each) for each in get_args(field.annotation))
    types = get_args(field.annotation) or (field.annotation,)
    words = {str: "a string", int: "a whole number", float: "a number", type(None): "null"}
    low, high = bound_of(field, "ge"), bound_of(field, "le")
    span = "" if low is None else f" from {low} to {high}"
    return " or ".join(words[each] + (span if each in (int, float) else "") for each in types)


def bound_of(field: FieldInfo, name: Literal["ge", "le", "max_length"]) -> Any:
    """Return a bound of a field of SpeechRequest; None when it has none of that name."""
    found = (getattr(each, name, None) for each in field.metadata)
    return next((each for each in found if each is not None), None)


def _unreadable(found: "re.Match[str]") -> str:
    code = ord(found.group())
    what = "a control character" if code < 0x20 else "half a character (a lone surrogate)"
    return (
        f"holds {what}, U+{code:04X}, at position {found.start()} counted from 0; remove it and "
        "send plain text in UTF-8"
    )


def _too_long(value: str, limit: int) -> str:
    return f"has {len(value)} characters and at most {limit} are allowed; send less at once"


def _quote(value: object) -> str:
    """Show a value in JSON's terms and never more than a little of it."""
    if isinstance(value, str):
        return repr(value[:_MAX_QUOTED]) + ("…" if len(value) > _MAX_QUOTED else "")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else f"{value} (not a finite number)"
    if isinstance(value, int):
        return str(value) if abs(value) <= _MAX_INTEGER else "a number of over 20 digits"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else f"a {type(value).__name__}"


def _cut(key: str) -> str:
    return key if len(key) <= _MAX_QUOTED else key[:_MAX_QUOTED] + "…"
