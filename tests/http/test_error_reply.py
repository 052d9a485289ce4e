"""Errors as HTTP replies."""

import json
from collections.abc import Iterator

import pytest

from higgs_worker.errors import EngineFailed, InvalidRequest, QueueFull, RequestRefused, WorkerError
from higgs_worker.http.error_reply import (
    RETRY_AFTER_S,
    STATUSES,
    error_reply,
    socket_refusal,
    status_of,
)

NO_STATUS_OF_THEIR_OWN = {
    "BatchFailed",
    "Cancelled",
    "DamagedVoice",
    "EngineFailed",
    "InternalError",
    "NoSound",
}
"""A failure of this one request: 500."""
NOT_FROM_A_REQUEST = {
    "DeploymentFailed",
    "InvalidDeployment",
    "InvalidSettings",
    "PlatformRefused",
    "PlatformUnavailable",
}


def _descendants(of: type[WorkerError]) -> Iterator[type[WorkerError]]:
    for each in of.__subclasses__():
        yield each
        yield from _descendants(each)


def test_every_error_has_a_status() -> None:
    """Nobody adds an error without a word on what it is over HTTP."""
    others = {
        each.__name__
        for each in _descendants(WorkerError)
        if each is not RequestRefused and not STATUSES.keys() & set(each.__mro__)
    }
    assert others == NO_STATUS_OF_THEIR_OWN | NOT_FROM_A_REQUEST


@pytest.mark.parametrize("status", [429, 503])
def test_when_to_come_again(status: int) -> None:
    """Every error that a retry may mend says when."""
    errors = [each for each, found in STATUSES.items() if found == status]
    assert errors
    for each in errors:
        assert error_reply(each("No.")).headers["retry-after"] == str(RETRY_AFTER_S[status])


def test_the_envelope_is_openai_s() -> None:
    """Message, type, param and code, whatever the error; details beside them."""
    wrong = InvalidRequest("No.", details={"errors": [{"field": "text", "message": "No."}]})
    for error, kind, param in [
        (wrong, "invalid_request_error", "input"),
        (QueueFull("No."), "rate_limit_error", None),
        (EngineFailed("No."), "server_error", None),
        (RequestRefused("No.", status=413), "invalid_request_error", None),
    ]:
        reply = error_reply(error)
        told = json.loads(reply.body)["error"]
        assert told.pop("details", error.details) == error.details
        assert told == {"message": "No.", "type": kind, "param": param, "code": error.code}
        assert reply.status_code == status_of(error)


def test_a_refused_websocket_says_why_in_a_header() -> None:
    """In one line of ASCII, whatever the caller wrote into it."""
    refusal = socket_refusal(InvalidRequest("No voice 'Zoë'\r\nset-cookie: a=b" + "x" * 1000))
    line = refusal.headers["dg-error"]
    assert line.startswith("No voice 'Zo?' set-cookie")
    assert len(line) <= 500
    assert json.loads(refusal.body)["err_code"] == "invalid_request"
