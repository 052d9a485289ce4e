"""Errors as HTTP replies: a status, and OpenAI's envelope with message, type, param and code."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from higgs_worker.api import openai
from higgs_worker.api.output import to_json_safe
from higgs_worker.errors import (
    AccessRefused,
    DeadlineExceeded,
    EngineBroken,
    InvalidCheckpoint,
    InvalidRequest,
    PromptTooLong,
    QueueFull,
    RequestRefused,
    ResultTooLarge,
    StorageFailed,
    VolumeUnusable,
    WeightsNotFound,
    WeightsRefused,
    WeightsUnavailable,
    WorkerError,
    WorkerStopping,
)

STATUSES: Mapping[type[WorkerError], int] = {
    AccessRefused: 401,
    InvalidRequest: 400,
    PromptTooLong: 400,
    ResultTooLarge: 413,
    QueueFull: 429,
    StorageFailed: 502,
    DeadlineExceeded: 504,
    WorkerStopping: 503,
    EngineBroken: 503,
    InvalidCheckpoint: 503,
    VolumeUnusable: 503,
    WeightsNotFound: 503,
    WeightsRefused: 503,
    WeightsUnavailable: 503,
}
"""By error, its descendants included; all others are 500."""
_MAX_HEADER_CHARS = 500
RETRY_AFTER_S = {429: 2, 503: 5}
"""By status: when to ask again. A slot is free again within seconds; another worker is up later."""


def error_reply(error: WorkerError) -> JSONResponse:
    """Return the reply that tells an error."""
    status = status_of(error)
    return JSONResponse({"error": error_body(error)}, status, headers=error_headers(status))


def socket_refusal(error: WorkerError) -> JSONResponse:
    """Return the reply that refuses to open a websocket, with the reason where clients look.

    Deepgram's read the header `dg-error`.
    """
    line = " ".join(error.message.split())[:_MAX_HEADER_CHARS].encode("ascii", "replace").decode()
    body = {"err_code": error.code, "err_msg": error.message}
    status = status_of(error)
    return JSONResponse(body, status, headers=error_headers(status) | {"dg-error": line})


def status_of(error: WorkerError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, RequestRefused):
        return error.status
    return next((STATUSES[each] for each in type(error).__mro__ if each in STATUSES), 500)


def error_body(error: WorkerError) -> dict[str, Any]:
    """Return what stands under `error`: OpenAI's fields, and the details of ours."""
    body: dict[str, Any] = to_json_safe(
        openai.error_object(error) | ({"details": error.details} if error.details else {})
    )
    return body


def error_headers(status: int) -> dict[str, str]:
    """Return the headers that an error's reply has beside the usual ones."""
    headers = {}
    if status in RETRY_AFTER_S:
        headers["retry-after"] = str(RETRY_AFTER_S[status])
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    return headers
