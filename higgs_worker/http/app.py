"""The HTTP application: routes, what they pass, and how they tell errors."""

import logging
from dataclasses import replace

from fastapi import FastAPI, Request, Security, WebSocket
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from higgs_worker.delivery.responder import Responder
from higgs_worker.errors import RequestRefused, WorkerError
from higgs_worker.http import openapi
from higgs_worker.http.access import Access
from higgs_worker.http.encode_routes import encode_router
from higgs_worker.http.error_reply import error_reply
from higgs_worker.http.gate import REQUEST_ID, App, Gate
from higgs_worker.http.health_routes import health_router, metrics_router
from higgs_worker.http.page_routes import add_page
from higgs_worker.http.patience import Patience
from higgs_worker.http.readiness import Readiness
from higgs_worker.http.speak_socket import SpeakSocket
from higgs_worker.http.speech_routes import speech_router
from higgs_worker.http.voice_routes import voice_router
from higgs_worker.settings import Settings

_EXPOSED = (REQUEST_ID, "x-higgs-seed", "x-higgs-sample-rate", "retry-after")
"""Headers that a page of another origin may read."""

log = logging.getLogger(__name__)


def create_app(
    responder: Responder,
    readiness: Readiness,
    settings: Settings,
    patience: Patience,
) -> Gate:
    """Return the application behind its gate.

    Args:
        responder: answers.
        readiness: knows how the worker is.
        settings: limits, and who may use the server.
        patience: how slow clients may be.
    """
    app = _plain_app(responder)
    app.include_router(health_router(readiness))
    # For the document alone: the gate has looked at the key already.
    with_key = [Security(HTTPBearer(auto_error=False))] if settings.api_key else []
    for router in (
        speech_router(responder, max_text_chars=settings.max_text_chars),
        encode_router(responder),
        voice_router(responder),
        metrics_router(responder.metrics),
    ):
        app.include_router(router, dependencies=with_key)
    add_page(app)
    gate = Gate(
        app,
        responder,
        access=Access(settings.api_key, settings.cors_origins),
        max_body_bytes=settings.max_body_bytes,
        patience=patience,
    )
    conversations = SpeakSocket(
        replace(responder, kind="websocket"),
        max_text_chars=settings.max_text_chars,
        stopping=gate.stopping,
    )

    @app.websocket("/v1/speak")
    async def converse(websocket: WebSocket) -> None:
        await conversations.serve(websocket, websocket.state.request_id)

    return gate


def create_health_app(responder: Responder, readiness: Readiness) -> App:
    """Return an application that has the health routes alone, for a port of its own."""
    app = _plain_app(responder, has_pages=False)
    app.include_router(health_router(readiness))
    access = Access(None, ())
    return Gate(app, responder, access=access, max_body_bytes=0, patience=Patience())


def with_cors(gate: App, settings: Settings) -> App:
    """Return the application with what browsers ask for before they let a foreign page use it."""
    if not settings.cors_origins:
        return gate
    return CORSMiddleware(
        gate,
        allow_origins=sorted(settings.cors_origins),
        allow_methods=["GET", "POST", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )


def _plain_app(responder: Responder, *, has_pages: bool = True) -> FastAPI:
    """Return an application that tells errors in OpenAI's envelope, and perhaps its own routes."""
    app = FastAPI(
        title=openapi.TITLE,
        description=openapi.DESCRIPTION,
        openapi_url="/openapi.json" if has_pages else None,
        redoc_url=None,
    )

    @app.exception_handler(WorkerError)
    @app.exception_handler(Exception)
    async def tell(request: Request, error: Exception) -> JSONResponse:
        told = request.state
        return error_reply(responder.to_error(told.request_id, error, told.started))

    @app.exception_handler(HTTPException)
    async def tell_unknown(request: Request, error: HTTPException) -> JSONResponse:
        sentence = {
            404: "there is no such route; GET /docs lists them",
            405: "this route has other methods; GET /docs lists them",
        }.get(error.status_code, str(error.detail))
        return error_reply(RequestRefused(sentence, status=error.status_code))

    return app
