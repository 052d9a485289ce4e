"""OpenAI's speech API: its requests as ours, its lists, its errors.

RunPod forwards `POST /openai/v1/audio/speech` as a job `{"openai_route": "/v1/audio/speech",
"openai_input": {…}}` and returns the job's output as JSON. So audio comes as base64 or as an
address, never as the body of the response. Every field of ours may stand beside OpenAI's. Texts
sent there know nothing of our tags, so brackets are text by default.
Source: https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import (
    AccessRefused,
    InvalidRequest,
    PromptTooLong,
    QueueFull,
    RequestRefused,
    UnknownVoice,
    WorkerError,
)
from higgs_worker.messages import quote

SPEECH, VOICES, MODELS = "/v1/audio/speech", "/v1/audio/voices", "/v1/models"
ROUTES = (SPEECH, VOICES, MODELS)
DEFAULT_FORMAT = "mp3"
STAND_INS = {
    "alloy": "clara",
    "ash": "bram",
    "ballad": "bram",
    "cedar": "bram",
    "coral": "pippa",
    "echo": "bram",
    "fable": "edda",
    "marin": "clara",
    "nova": "pippa",
    "onyx": "bram",
    "sage": "edda",
    "shimmer": "pippa",
    "verse": "edda",
}
"""OpenAI's voices, which many clients send by default, and the voice that speaks instead."""


@dataclass(frozen=True, slots=True)
class OpenAISpeech:
    """A request to speak, sent in OpenAI's words."""

    request: SpeechRequest
    is_sse: bool = False
    """Whether the audio is wanted as server-sent events."""


@dataclass(frozen=True, slots=True)
class OpenAIList:
    """A request for one of OpenAI's lists."""

    route: str
    """VOICES or MODELS."""


def parse_openai(raw: Mapping[Any, Any], *, max_text_chars: int) -> OpenAISpeech | OpenAIList:
    """Validate an input that has `openai_route`.

    Raises:
        WorkerError: there is no such route, or its body is wrong.
    """
    route = raw["openai_route"]
    if route not in ROUTES:
        raise InvalidRequest(f"openai_route must be one of {', '.join(ROUTES)}, not {quote(route)}")
    for key in raw:
        if key not in ("openai_route", "openai_input"):
            raise InvalidRequest(f"{quote(key)} cannot stand beside openai_route")
    if route != SPEECH:
        return OpenAIList(route)
    body = raw.get("openai_input")
    speech = parse_speech(body, max_text_chars=max_text_chars)
    if speech.is_sse:
        raise InvalidRequest(
            "stream_format must be 'audio' here: a job's answer is one JSON document; use a "
            "streaming endpoint's /run and /stream for audio while it is generated"
        )
    return speech


def parse_speech(body: object, *, max_text_chars: int) -> OpenAISpeech:
    """Validate the body of a request to speak.

    Raises:
        InvalidRequest: it is wrong.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequest(
            f'the body must be an object such as {{"input": "Hello."}}, not {quote(body)}'
        )
    fields = {key: value for key, value in body.items() if key != "model"}
    stream_format = fields.pop("stream_format", None)
    if stream_format not in (None, "audio", "sse"):
        raise InvalidRequest(
            f"stream_format must be 'audio' or 'sse', not {quote(stream_format)}",
            details={"errors": [{"field": "stream_format", "message": "must be audio or sse"}]},
        )
    if not {"format", "response_format"} & fields.keys():
        fields["response_format"] = DEFAULT_FORMAT
    fields.setdefault("strict_tags", False)
    voice = fields.get("voice")
    if isinstance(voice, Mapping) and voice.keys() == {"id"}:
        fields["voice"] = voice["id"]
    request = SpeechRequest.parse(fields, max_text_chars=max_text_chars)
    return OpenAISpeech(request, is_sse=stream_format == "sse")


def has_stand_in(request: SpeechRequest) -> bool:
    """Return whether the request names one of OpenAI's voices."""
    return bool(request.voice and request.voice.name and request.voice.name.casefold() in STAND_INS)


def with_stand_in(request: SpeechRequest, voices: Collection[str]) -> SpeechRequest:
    """Return the request, with one of OpenAI's voices replaced by its stand-in.

    Args:
        request: as it was sent.
        voices: the names that exist here; a voice among them is left as it is.
    """
    name = request.voice.name if request.voice else None
    if name is None or name.casefold() in {each.casefold() for each in voices}:
        return request
    stand_in = STAND_INS.get(name.casefold())
    if stand_in is None:
        return request
    return request.model_copy(update={"voice": VoiceSpec(name=stand_in)})


def models(model: str) -> dict[str, Any]:
    """Return the list of models, which has one, in OpenAI's form."""
    owner = model.partition("/")[0]
    # When it was made is not known, and clients rely on a number.
    entry = {"id": model, "object": "model", "created": 0, "owned_by": owner}
    return {"object": "list", "data": [entry]}


def voices(names: Collection[str]) -> dict[str, Any]:
    """Return the list of voices, in the form that other servers of this API have."""
    return {"voices": [{"id": name, "name": name} for name in names]}


def error_object(error: WorkerError) -> dict[str, Any]:
    """Return what OpenAI's API has under `error`: message, type, param and code."""
    kind = "server_error"
    if isinstance(error, InvalidRequest | PromptTooLong | AccessRefused | RequestRefused):
        kind = "invalid_request_error"
    elif isinstance(error, QueueFull):
        kind = "rate_limit_error"
    problems = error.details.get("errors")
    field = problems[0]["field"] if isinstance(problems, list) and problems else None
    if isinstance(error, UnknownVoice):
        field = "voice"
    return {
        "message": error.message,
        "type": kind,
        "param": "input" if field == "text" else field,
        "code": error.code,
    }
