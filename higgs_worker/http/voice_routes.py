"""Routes for the voices of the library, and for the list of models."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from higgs_worker.api import openai
from higgs_worker.api.action import DeleteVoice, ListVoices, SaveVoice, UpdateVoice
from higgs_worker.api.json_text import parse_json
from higgs_worker.api.openai import OpenAIList
from higgs_worker.api.screening import screen
from higgs_worker.audio.encode import MIME_TYPES
from higgs_worker.delivery.budget import to_base64
from higgs_worker.delivery.responder import Responder
from higgs_worker.errors import InvalidRequest, RequestRefused, UnknownVoice
from higgs_worker.http import openapi
from higgs_worker.messages import quote

MAX_FORM_FIELDS = 20
_FORM = "multipart/form-data"
_RECORDED = "audio_sample"
"""OpenAI's word for a voice that was made of a recording."""
_NAMES = {
    "audio_sample": "audio",
    "consent": "licence",
    "file": "audio",
    "ref_audio": "audio",
    "ref_text": "text",
    "transcript": "text",
    "license": "licence",
}
"""What OpenAI and other servers call the fields of a form."""


def voice_router(responder: Responder) -> APIRouter:
    """Return the routes about voices and models."""
    router = APIRouter(tags=["voices"])

    @router.get("/v1/audio/voices", **openapi.list_voices())
    async def list_voices() -> Response:
        """List the voices: those that are built in, and those of the volume."""
        listed = await responder.act(ListVoices())
        voices = [{"id": each["name"], **each} for each in listed["voices"]]
        return JSONResponse({"voices": voices})

    @router.post("/v1/audio/voices", **openapi.save_voice())
    async def save_voice(request: Request) -> Response:
        """Save a recording and its transcript as a voice, for all workers of the volume."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM:
            fields = await _form_fields(request)
        else:
            fields = await _json_fields(request)
        screen(fields)
        if (kind := fields.pop("type", _RECORDED)) != _RECORDED:
            raise InvalidRequest(f"type must be {_RECORDED}, not {quote(kind)}, or be left out")
        saving = SaveVoice.parse(fields)
        async with responder.deadlines.limit():
            saved = await responder.act(saving)
        return JSONResponse({**_as_openai_s(saved["voice"]), **saved}, 201)

    @router.patch("/v1/audio/voices/{name}", **openapi.update_voice())
    async def update_voice(name: str, request: Request) -> Response:
        """Change the name, the transcript or the notes of a voice; its recording stays."""
        changes = await _json_fields(request)
        screen(changes)
        updating = UpdateVoice.parse(name, changes, renamed_by="name")
        with _not_found():
            updated = await responder.act(updating)
        return JSONResponse({**_as_openai_s(updated["voice"]), **updated})

    @router.get("/v1/audio/voices/{name}/audio", **openapi.voice_audio())
    async def voice_audio(name: str, request: Request) -> Response:
        """Return the recording of a voice, as the model hears it."""
        with _not_found():
            voice = await asyncio.to_thread(responder.actions.library.get, name)
        responder.count_success()
        # What is kept of it is asked for again each time: a voice may be replaced or removed.
        headers = {"etag": f'"{voice.key}"', "cache-control": "private, no-cache"}
        if _is_known(voice.key, request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(voice.wav, media_type=MIME_TYPES["wav"], headers=headers)

    @router.delete("/v1/audio/voices/{name}", **openapi.delete_voice())
    async def delete_voice(name: str) -> Response:
        """Remove a voice from the volume."""
        with _not_found():
            await responder.act(DeleteVoice(name))
        return JSONResponse({"id": name, "object": "audio.voice.deleted", "deleted": True})

    @router.get("/v1/models", **openapi.list_models())
    async def list_models() -> Response:
        """List the model, which is one."""
        return JSONResponse(await responder.act(OpenAIList(openai.MODELS)))

    return router


@contextmanager
def _not_found() -> Iterator[None]:
    """Turn an unknown voice into a 404.

    The error's own words may quote the caller, and those of a refusal are logged.
    """
    try:
        yield
    except UnknownVoice as error:
        sentence = "no voice is saved under this name; GET /v1/audio/voices lists them"
        raise RequestRefused(sentence, status=404) from error


def _is_known(key: str, if_none_match: str) -> bool:
    """Return whether a client says that it has what has this key."""
    tags = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in tags or f'"{key}"' in tags


def _as_openai_s(voice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a voice as OpenAI's API describes one."""
    created_at = int(datetime.fromisoformat(voice["created_at"]).timestamp())
    name = voice["name"]
    told = {"id": name, "object": "audio.voice", "name": name, "type": _RECORDED}
    return told | {"created_at": created_at}


async def _json_fields(request: Request) -> dict[str, Any]:
    raw = await request.body()
    fields = await asyncio.to_thread(parse_json, raw)
    if not isinstance(fields, Mapping):
        raise InvalidRequest(f"the body must be an object, not {quote(fields)}")
    return dict(fields)


async def _form_fields(request: Request) -> dict[str, Any]:
    """Return the fields of a form as those of the action; a file becomes base64."""
    try:
        form = await request.form(max_files=1, max_fields=MAX_FORM_FIELDS)
    except HTTPException as error:
        raise InvalidRequest(f"the form cannot be read: {error.detail}") from error
    try:
        return await _read_form(form)
    finally:
        await form.close()


async def _read_form(form: FormData) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for sent, value in form.multi_items():
        name = _NAMES.get(sent, sent)
        if name in fields:
            raise InvalidRequest(f"{quote(sent)} is there twice, perhaps under another name")
        if isinstance(value, UploadFile):
            fields[name] = await asyncio.to_thread(to_base64, await value.read())
        else:
            fields[name] = value
    if isinstance(replace := fields.get("replace"), str):
        fields["replace"] = {"true": True, "false": False}.get(replace.lower(), replace)
    return fields
