"""OpenAI's speech API, as far as it is a matter of names: its requests as ours, lists, errors.

RunPod forwards `POST /openai/v1/audio/speech` as a job `{"openai_route": "/v1/audio/speech",
"openai_input": {…}}` and hands the job's output back as JSON; so audio comes as base64 or as an
address, never as the response's body. Every field of ours may stand beside OpenAI's.
Source: https://platform.openai.com/docs/api-reference/audio/createSpeech
"""

from collections.abc import Collection, Mapping
from typing import Any

from higgs_worker.errors import InvalidRequest, PromptTooLong, QueueFull, WorkerError
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
"""OpenAI's voices, which many clients ask for by themselves, and who speaks in their place."""


def route_of(asked: Mapping[Any, Any]) -> str:
    """Give the route of a forwarded request.

    Raises:
        InvalidRequest: there is no such route, or something stands beside it.
    """
    route = asked["openai_route"]
    if route not in ROUTES:
        raise InvalidRequest(f"openai_route must be one of {', '.join(ROUTES)}, not {quote(route)}")
    for key in asked:
        if key not in ("openai_route", "openai_input"):
            raise InvalidRequest(f"{quote(key)} cannot stand beside openai_route")
    return str(route)


def speech_input(body: object, voices: Collection[str]) -> dict[Any, Any]:
    """Turn the body of a speech request into a job's input, which is not checked yet.

    Args:
        body: OpenAI's fields and ours.
        voices: names that exist; a voice of OpenAI's that is not among them gets a stand-in.

    Raises:
        InvalidRequest: it asks for what a job cannot give.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequest(
            f'openai_input must be an object such as {{"input": "Hello."}}, not {quote(body)}'
        )
    asked = {key: value for key, value in body.items() if key != "model"}
    if asked.pop("stream_format", None) not in (None, "audio"):
        raise InvalidRequest(
            "stream_format must be 'audio' here: a job's answer is one JSON document; use a "
            "streaming endpoint's /run and /stream for audio while it is generated"
        )
    if not {"format", "response_format"} & asked.keys():
        asked["response_format"] = DEFAULT_FORMAT
    voice = asked.get("voice")
    if isinstance(voice, Mapping) and voice.keys() == {"id"}:
        voice = voice["id"]
    if isinstance(voice, str) and voice.casefold() not in {name.casefold() for name in voices}:
        voice = STAND_INS.get(voice.casefold(), voice)
    return asked | ({"voice": voice} if "voice" in asked else {})


def models(model: str) -> dict[str, Any]:
    """List the one model, as OpenAI lists its own."""
    owner = model.partition("/")[0]
    return {"object": "list", "data": [{"id": model, "object": "model", "owned_by": owner}]}


def voices(names: Collection[str]) -> dict[str, Any]:
    """List voices as the servers do that clients of OpenAI's API know."""
    return {"voices": [{"id": name, "name": name} for name in names]}


def error_object(error: WorkerError) -> dict[str, Any]:
    """Tell a failure as OpenAI's API does under `error`: message, type, param and code."""
    kind = "server_error"
    if isinstance(error, InvalidRequest | PromptTooLong):
        kind = "invalid_request_error"
    elif isinstance(error, QueueFull):
        kind = "rate_limit_error"
    problems = error.details.get("errors")
    field = problems[0]["field"] if isinstance(problems, list) and problems else None
    return {
        "message": error.message,
        "type": kind,
        "param": "input" if field == "text" else field,
        "code": error.code,
    }
