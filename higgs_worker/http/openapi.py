"""What the OpenAPI document says of each route, made from the fields of a request.

Bodies are read by our own code, which bounds them before they are parsed; so FastAPI is told here
what it cannot see.
"""

from collections.abc import Mapping
from typing import Any

from higgs_worker.api.encode_query import DEFAULT_RATE, FORMATS, MAX_RATE, MIN_RATE
from higgs_worker.api.request import SpeechRequest
from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.voices.voice_file import NAME

TITLE = "Higgs Audio V2"
DESCRIPTION = (
    "Text to speech. `/v1/audio/speech` is OpenAI's route, with more fields; `/v1/speech` takes "
    "the body of a RunPod job. Text that is still being written is spoken over the websocket "
    "`/v1/speak`, which has the protocol of Deepgram's."
)
_OPENAI_NAMES = {"text": "input", "scene": "instructions", "format": "response_format"}
_VOICE = {
    "anyOf": [
        {"type": "string", "minLength": 1, "maxLength": 64, "description": "a voice's name"},
        {
            "type": "object",
            "properties": {
                "audio": {"type": "string", "description": "address, data URI or base64"},
                "text": {"type": "string", "description": "what is said in it"},
            },
            "required": ["audio", "text"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"description": {"type": "string"}},
            "required": ["description"],
            "additionalProperties": False,
        },
        {"type": "null"},
    ]
}
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "details": {"type": "object"},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
_MEANINGS = {
    400: "the request is wrong; the message says how",
    401: "the key is missing or wrong",
    403: "a page of another origin sent the request",
    304: "the client has it already",
    404: "there is no such thing",
    408: "the body came too slowly",
    409: "it is there already",
    413: "the body or the reply would be too large",
    414: "the address is too long",
    429: "too many requests wait; Retry-After says when to come again",
    500: "a failure of this request; the message says more",
    502: "the bucket did not take the audio",
    503: "the worker cannot speak now, or is stopping",
    504: "the operator's time limit has passed",
}
_USUAL = (400, 401, 403, 408, 413, 414, 429, 503)
"""What the gate refuses with."""
_SPEAKING = (*_USUAL, 500, 502, 504)


def speech() -> dict[str, Any]:
    """Return what is said of `POST /v1/audio/speech`."""
    properties: dict[str, Any] = {"model": {"type": "string", "description": "any; there is one"}}
    for name, field in _request_fields().items():
        properties[_OPENAI_NAMES.get(name, name)] = field
    properties["response_format"] = properties["response_format"] | {"default": "mp3"}
    properties["stream_format"] = {"enum": ["audio", "sse", None], "default": "audio"}
    examples = {
        "OpenAI": {"model": "higgs-audio-v2", "input": "Good morning.", "voice": "clara"},
        "a style": {
            "input": "And now the weather.",
            "voice": "bram",
            "instructions": "Audio is recorded in a radio studio.",
            "response_format": "opus",
            "seed": 7,
        },
        "a recording": {
            "input": "This is my voice.",
            "voice": {"audio": "https://files.example/me.wav", "text": "What I say in it."},
        },
    }
    audio = _audio() | {"text/event-stream": {}}
    return {
        "responses": _responses({200: ("the audio, from its first packet on", audio)}, _SPEAKING),
        "openapi_extra": _json_body(_object(properties, ["input"]), examples),
    }


def job() -> dict[str, Any]:
    """Return what is said of `POST /v1/speech`."""
    speech_input = _object(_request_fields(), ["text"])
    schema = _object({"input": {"anyOf": [speech_input, {"type": "object"}]}}, ["input"])
    examples = {
        "speech": {"input": {"text": "Good morning.", "voice": "clara"}},
        "dialogue": {
            "input": {
                "text": "[Anna] Is it raining? [Ben] Not yet.",
                "speakers": {"Anna": "clara", "Ben": "bram"},
            }
        },
        "batch": {"input": {"batch": [{"text": "One."}, {"text": "Two."}], "voice": "clara"}},
        "what would be spoken": {"input": {"action": "read", "text": "It costs $3."}},
    }
    output = {"application/json": {"schema": {"type": "object"}}}
    return {
        "responses": _responses({200: ("what a job returns", output)}, _SPEAKING),
        "openapi_extra": _json_body(schema, examples),
    }


def encode() -> dict[str, Any]:
    """Return what is said of `POST /v1/audio/encode`."""
    rates = {"minimum": MIN_RATE, "maximum": MAX_RATE, "default": DEFAULT_RATE}
    parameters = [
        {
            "name": "format",
            "in": "query",
            "required": True,
            "description": "of the file",
            "schema": {"type": "string", "enum": list(FORMATS)},
            "example": "mp3",
        },
        {
            "name": "sample_rate",
            "in": "query",
            "description": "of the PCM, in hertz",
            "schema": {"type": "integer", **rates},
            "example": DEFAULT_RATE,
        },
    ]
    pcm = {"schema": _BINARY | {"description": "16-bit little-endian samples, mono"}}
    body = {"required": True, "content": {"application/octet-stream": pcm}}
    return {
        "responses": _responses({200: ("the file", _audio())}, (*_USUAL, 500, 504)),
        "openapi_extra": {"parameters": parameters, "requestBody": body},
    }


def list_voices() -> dict[str, Any]:
    """Return what is said of `GET /v1/audio/voices`."""
    return {"responses": _responses({200: ("the voices", _json_object("voices"))}, (*_USUAL, 500))}


def save_voice() -> dict[str, Any]:
    """Return what is said of `POST /v1/audio/voices`."""
    text = {"type": "string"}
    fields = {
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "text": text | {"description": "what is said in the recording"},
        "description": text,
        "licence": text | {"description": "a note on who may use the voice"},
        "replace": {"type": "boolean", "default": False},
    }
    form = _object(fields | {"audio": _BINARY}, ["name", "audio", "text"])
    address = text | {"description": "address, data URI or base64"}
    body = _object(fields | {"audio": address}, ["name", "audio", "text"])
    content = {"multipart/form-data": {"schema": form}, "application/json": {"schema": body}}
    return {
        "status_code": 201,
        "responses": _responses({201: ("the voice", _json_object("voice"))}, _SPEAKING),
        "openapi_extra": {"requestBody": {"required": True, "content": content}},
    }


def update_voice() -> dict[str, Any]:
    """Return what is said of `PATCH /v1/audio/voices/{name}`."""
    note = {"type": ["string", "null"], "description": "null: it is removed"}
    fields = {
        "name": {"type": "string", "pattern": f"^{NAME.pattern}$", "description": "the new one"},
        "text": {"type": "string", "description": "what is said in the recording"},
        "description": note,
        "licence": note,
    }
    examples = {
        "a new name": {"name": "Hannah"},
        "a transcript": {"text": "What is really said in it."},
        "notes": {"description": "calm", "licence": None},
    }
    return {
        "responses": _responses({200: ("the voice", _json_object("voice"))}, (404, *_USUAL, 500)),
        "openapi_extra": _json_body(_object(fields, []) | {"minProperties": 1}, examples),
    }


def voice_audio() -> dict[str, Any]:
    """Return what is said of `GET /v1/audio/voices/{name}/audio`."""
    wav = {MIME_TYPES["wav"]: {"schema": _BINARY}}
    told = _responses({200: ("16-bit mono WAV at 24 kHz", wav)}, (404, *_USUAL, 500))
    return {"responses": told | {304: {"description": _MEANINGS[304]}}}


def delete_voice() -> dict[str, Any]:
    """Return what is said of `DELETE /v1/audio/voices/{name}`."""
    done = _json_object("deleted")
    return {"responses": _responses({200: ("it is gone", done)}, (404, *_USUAL, 500))}


def list_models() -> dict[str, Any]:
    """Return what is said of `GET /v1/models`."""
    return {"responses": _responses({200: ("the model", _json_object("data"))}, (*_USUAL, 500))}


def ping() -> dict[str, Any]:
    """Return what is said of `GET /ping`."""
    state = _json_object("status")
    return {
        "responses": {
            200: {"description": "it speaks", "content": state},
            204: {"description": "it is loading"},
            503: {"description": "it is broken or stopping", "content": state},
        }
    }


def metrics() -> dict[str, Any]:
    """Return what is said of `GET /metrics`."""
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {"responses": _responses({200: ("Prometheus' text", text)}, _USUAL)}


def live() -> dict[str, Any]:
    """Return what is said of `GET /health/live`."""
    return _health("the process works", "nothing can be spoken any more; replace it")


def ready() -> dict[str, Any]:
    """Return what is said of `GET /health/ready`."""
    return _health("it speaks", "not now")


_BINARY = {"type": "string", "format": "binary"}


def _audio() -> dict[str, Any]:
    return {each: {"schema": _BINARY} for each in sorted(set(MIME_TYPES.values()))}


def _request_fields() -> dict[str, Any]:
    fields: dict[str, Any] = SpeechRequest.model_json_schema()["properties"]
    for field in fields.values():
        field.pop("title", None)
    fields["voice"] |= _VOICE
    fields["speakers"] |= {"type": "object", "additionalProperties": _VOICE}
    return fields


def _object(properties: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": required,
        "additionalProperties": False,
    }


def _json_object(*required: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"type": "object", "required": list(required)}}}


def _json_body(schema: Mapping[str, Any], examples: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: {"value": value} for name, value in examples.items()}
    content = {"application/json": {"schema": schema, "examples": shown}}
    return {"requestBody": {"required": True, "content": content}}


def _responses(
    good: Mapping[int, tuple[str, Mapping[str, Any]]], bad: tuple[int, ...]
) -> dict[int | str, Any]:
    told: dict[int | str, Any] = {
        status: {"description": meaning, "content": content}
        for status, (meaning, content) in good.items()
    }
    for status in bad:
        content = {"application/json": {"schema": _ERROR}}
        told[status] = {"description": _MEANINGS[status], "content": content}
    return told


def _health(good: str, bad: str) -> dict[str, Any]:
    state = _json_object("status")
    return {
        "responses": {
            200: {"description": good, "content": state},
            503: {"description": bad, "content": state},
        }
    }
