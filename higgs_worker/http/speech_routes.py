"""Routes that speak: OpenAI's, whose body is audio, and the job's, whose body is JSON."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from higgs_worker.api.batch import Batch
from higgs_worker.api.body import parse_body
from higgs_worker.api.json_text import parse_json
from higgs_worker.api.openai import OpenAISpeech, parse_speech
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.screening import screen
from higgs_worker.delivery.budget import SizeBudget
from higgs_worker.delivery.responder import Responder
from higgs_worker.errors import InvalidRequest
from higgs_worker.http import openapi
from higgs_worker.http.speech_reply import SpeechReply
from higgs_worker.messages import quote

MAX_REPLY_BYTES = 30_000_000
"""What RunPod's load balancer passes on."""


def speech_router(responder: Responder, *, max_text_chars: int) -> APIRouter:
    """Return the routes that speak with a responder.

    Args:
        responder: answers.
        max_text_chars: the operator's limit for a text.
    """
    router = APIRouter(tags=["speech"])

    @router.post("/v1/audio/speech", **openapi.speech())
    async def speak(request: Request) -> Response:
        """Speak a text; the body of the reply is the audio, from the first packet on."""
        raw = await request.body()

        def parse() -> OpenAISpeech:
            body = parse_json(raw)
            screen(body)
            return parse_speech(body, max_text_chars=max_text_chars)

        body = await asyncio.to_thread(parse)
        return SpeechReply(responder, body, request.state.request_id, request.state.started)

    @router.post("/v1/speech", **openapi.job())
    async def run_job(request: Request) -> Response:
        """Do what a job does: speech with all its fields, dialogues, batches, actions."""
        raw = await request.body()
        body = await asyncio.to_thread(
            lambda: parse_body(_job_input(parse_json(raw)), max_text_chars=max_text_chars)
        )
        name, budget = request.state.request_id, SizeBudget(MAX_REPLY_BYTES)
        if isinstance(body, Batch):
            output = await responder.speak_batch(name, body, budget, _nobody_watches)
        else:
            async with responder.deadlines.limit():
                if isinstance(body, SpeechRequest | OpenAISpeech):
                    asked = await responder.to_request(body)
                    output = await responder.speak(
                        name, asked, budget, _nobody_watches, request.state.started
                    )
                else:
                    output = await responder.act(body, budget)
        return JSONResponse(output)

    return router


def _job_input(raw: Any) -> Any:
    """Return the input of a job as it is sent to /run; it may also be sent alone."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("input"), Mapping):
        return raw
    screen({key: value for key, value in raw.items() if key != "input"})
    for key in raw:
        if key not in ("id", "input"):
            raise InvalidRequest(
                f"{quote(key)} beside input is for RunPod's queue, and this is a worker; leave it "
                "out"
            )
    return raw["input"]


def _nobody_watches(fraction: float, doing: str = "") -> None:
    """Take a report; an HTTP client gets none."""
