"""A request to speak one text: every field of it, with its bounds.

A request is validated once and is frozen from then on. All its problems are reported together,
under the names that the caller used.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any, Literal

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

from higgs_worker.api.field_errors import bound_of, describe_error
from higgs_worker.api.voice_spec import VoiceSpec, parse_speakers
from higgs_worker.errors import InvalidRequest
from higgs_worker.messages import (
    MAX_LISTED,
    MAX_QUOTED,
    check_readable,
    quote,
    shorten,
    too_long,
)

DEFAULT_SCENE = "Audio is recorded from a quiet room."

_VOICE_AUDIO, _VOICE_TEXT = ("voice_url", "ref_audio"), "ref_text"
_MAX_SUGGESTIONS = 5  # each takes a fifth of a millisecond, and a batch has 64 times as many keys
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")

Format = Literal["wav", "mp3", "flac", "opus", "aac", "pcm", "ulaw", "alaw"]
TELEPHONE_FORMATS = ("ulaw", "alaw")


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
    voice: VoiceSpec | None = Field(
        None,
        description="Who says it: the name of a voice, {audio, text}, a recording (address, data "
        "URI or base64) and its transcript, or {description}, a voice in words; null: the model "
        "chooses. voice_url or ref_audio together with ref_text say the same.",
    )
    speakers: Mapping[str, VoiceSpec | None] = Field(
        {},
        description="The voices of a dialogue, by the tags in the text: [SPEAKER0] or a name such "
        "as [Anna]; null: the model chooses. Without it, the model chooses all.",
    )
    dialogue: Literal["turns", "joint"] = Field(
        "turns",
        description="turns: each turn is spoken alone with its speaker's voice, so voices do not "
        "mix. joint: several turns at once, as the model was shown dialogues.",
    )
    language: str | None = Field(
        None,
        max_length=35,
        description="BCP-47 tag of the text, for reading numbers and finding sentences; null: "
        "it is detected.",
    )
    normalise: bool = Field(
        True,
        validation_alias=AliasChoices("normalise", "normalize"),
        description="Write out numbers, dates, units, abbreviations and symbols as they are said; "
        "false: the model reads the text as it stands.",
    )
    strict_tags: bool = Field(
        True,
        description="Refuse what looks like a tag and is none, such as [lagh]; false, and by "
        "default in OpenAI's requests: it is read as text.",
    )
    chunk_words: int = Field(
        100,
        ge=5,
        le=400,
        description="Long texts are spoken in chunks of at most this many words, ending at a "
        "sentence where there is one.",
    )
    context_chunks: int = Field(
        0,
        ge=0,
        le=8,
        description="0: chunks are spoken side by side, each with the voice. More: one after "
        "another, each hearing this many before it; slower, and closer in tone.",
    )
    retries: int = Field(
        1,
        ge=0,
        le=5,
        description="How often a chunk that sounds wrong (cut off, silent, looping) is spoken "
        "again with another seed; the best is kept.",
    )
    timestamps: Literal["none", "sentence"] = Field(
        "sentence", description="Whether the result tells when each sentence is heard."
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
    ras_window: int | None = Field(
        None,
        ge=0,
        le=64,
        description="Repetition-aware sampling looks back this many frames; 0 switches it off. "
        "Null: as the model's generation_config.json says, 7 in the published one.",
    )
    ras_max_repeats: int | None = Field(
        None,
        ge=1,
        le=64,
        description="A code that stands this often in the window is drawn again, from the model's "
        "unaltered probabilities. Null: as that file says, 2 in the published one.",
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
        description="Most seconds of audio, pauses and speed included; what would follow is left "
        "out. Null: a limit that follows from the text's length.",
    )
    format: Format = Field(
        "wav",
        validation_alias=AliasChoices("format", "response_format"),
        description="Encoding of the audio; pcm is 16 bits, little-endian, without a header; ulaw "
        "and alaw are G.711 as telephones use it, 8 bits, without a header.",
    )
    sample_rate: int | None = Field(
        None,
        ge=8000,
        le=48000,
        description="In hertz; null: 8000 for ulaw and alaw, 24000 for the others. mp3, opus and "
        "aac take the nearest rate above that they have.",
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
    output: Literal["auto", "base64", "s3"] = Field(
        "auto",
        description="How the audio is returned: base64 inside the result, or s3, an address in the "
        "endpoint's bucket; auto: s3 where the endpoint has a bucket.",
    )
    key: str | None = Field(
        None,
        max_length=1024,
        description="The object's key in the bucket, under the endpoint's prefix; null: a new one "
        "that nobody can guess. An object that exists is never overwritten.",
    )

    @property
    def audio_rate(self) -> int:
        """Sample rate that is wanted, in hertz."""
        if self.sample_rate is not None:
            return self.sample_rate
        return 8000 if self.format in TELEPHONE_FORMATS else 24000

    @field_validator("voice", mode="plain")
    @classmethod
    def _parse_voice(cls, value: object) -> VoiceSpec | None:
        return None if value is None else VoiceSpec.parse(value)

    @field_validator("speakers", mode="plain")
    @classmethod
    def _parse_speakers(cls, value: object) -> Mapping[str, VoiceSpec | None]:
        return parse_speakers(value)

    @field_validator("language")
    @classmethod
    def _check_language(cls, value: str | None) -> str | None:
        if value is not None and not _LANGUAGE.fullmatch(value):
            raise ValueError(f"must be a tag such as 'en' or 'de-AT', not {quote(value)}")
        return value

    @field_validator("text", "scene")
    @classmethod
    def _refuse_unreadable(cls, value: str | None) -> str | None:
        # pydantic reports lone surrogates itself; `predicate` words both in the same way.
        return None if value is None else check_readable(value)

    @field_validator("text")
    @classmethod
    def _refuse_empty_or_long(cls, value: str, info: ValidationInfo) -> str:
        if not value.strip():
            raise ValueError("is empty; send what should be said")
        limit = (info.context or {}).get("max_text_chars")
        if limit is not None and len(value) > limit:
            raise ValueError(too_long(value, limit))
        return value

    @field_validator("scene")
    @classmethod
    def _empty_is_none(cls, value: str | None) -> str | None:
        return value if value and value.strip() else None

    @classmethod
    def parse(cls, raw: object, *, max_text_chars: int) -> "SpeechRequest":
        """Validate the fields of a request.

        Args:
            raw: anything that JSON can hold; what comes from a caller was screened before.
            max_text_chars: the operator's limit for `text`.

        Raises:
            InvalidRequest: `details["errors"]` lists every problem as `{"field", "message"}`.
        """
        if not isinstance(raw, Mapping):
            raise InvalidRequest(
                f'input must be an object such as {{"text": "Hello."}}, not {quote(raw)}'
            )
        raw = _gather_voice(raw)
        spelled, problems = _resolve_names(raw)
        request = None
        try:
            request = cls.model_validate(
                {name: _cut(raw[key], cls.model_fields[name]) for name, key in spelled.items()},
                context={"max_text_chars": max_text_chars},
            )
        except ValidationError as error:
            for each in error.errors(include_url=False):
                name = str(each["loc"][0])
                key = spelled.get(name, name)
                problem = describe_error(each, raw.get(key), cls.model_fields[name])
                problems.append((key, f"{key} {problem}"))
        if request is None or problems:
            raise _invalid(problems)
        return request


def names_of(name: str) -> tuple[str, ...]:
    """Return every name a field of SpeechRequest may be sent under, its own first."""
    alias = SpeechRequest.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(each) for each in alias.choices)
    return (name,)


FIELDS_BY_NAME: Mapping[Any, str] = {
    each: name for name in SpeechRequest.model_fields for each in names_of(name)
}
"""Fields by every name that they may be sent under."""


def _cut(value: object, field: FieldInfo) -> object:
    """Return no more of a text than shows that it is too long: pydantic reads all it is given."""
    limit = bound_of(field, "max_length")
    return value if limit is None or not isinstance(value, str) else value[: limit + 1]


def _gather_voice(raw: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Put what other endpoints send in two fields into one, unless `voice` is there as well."""
    audio = [key for key in _VOICE_AUDIO if key in raw]
    if len(audio) != 1 or "voice" in raw:
        return raw
    rest = {key: value for key, value in raw.items() if key not in (audio[0], _VOICE_TEXT)}
    return rest | {"voice": {"audio": raw[audio[0]], "text": raw.get(_VOICE_TEXT)}}


def _resolve_names(raw: Mapping[Any, Any]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return which key fills which field, and what is wrong with the keys."""
    spelled: dict[str, str] = {}
    problems: list[tuple[str, str]] = []
    for key in raw:
        name = FIELDS_BY_NAME.get(key)
        if name is None:
            problems.append((shorten(str(key)), _unknown(key, len(problems))))
        elif name in spelled:
            both = f"{spelled[name]!r} and {key!r}"
            problems.append((key, f"{both} are two names of the same field; send one of them"))
        else:
            spelled[name] = key
    return spelled, problems


def _unknown(key: object, num_problems: int) -> str:
    if key in (*_VOICE_AUDIO, _VOICE_TEXT):
        return f"send voice alone, or one of voice_url and ref_audio with ref_text, not {key!r} so"
    # Comparing is slow for long keys and for very many of them, and helps nobody there.
    comparable = isinstance(key, str) and len(key) <= MAX_QUOTED and num_problems < _MAX_SUGGESTIONS
    near = difflib.get_close_matches(str(key).lower(), FIELDS_BY_NAME, n=1) if comparable else []
    return f"unknown field {quote(key)}" + (f"; did you mean {near[0]!r}?" if near else "")


def _invalid(problems: list[tuple[str, str]]) -> InvalidRequest:
    message = problems[0][1]
    if more := len(problems) - 1:
        message += f" (and {more} more)"
    listed = [{"field": key, "message": text} for key, text in problems[:MAX_LISTED]]
    return InvalidRequest(message, details={"errors": listed})
