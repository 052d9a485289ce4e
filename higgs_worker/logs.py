"""Log lines: JSON for machines, one short line for people at a terminal.

Each line carries the id of the job it belongs to, taken from the context. Registered secrets are
masked in everything that is printed: message, extras and traceback. It knows nothing of what the
worker does, and configures only the worker's own logger.
"""

import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = "higgs_worker"

_MASK = "***"
_MIN_SECRET_LENGTH = 6  # masking every "a" or "true" would ruin the log and reveal the secret
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
_secrets: set[str] = set()


def setup(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send the worker's log to one stream, in place of wherever it went before.

    Args:
        level: DEBUG, INFO, WARNING or ERROR.
        stream: None takes stderr, because stdout belongs to results and to the RunPod SDK.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_HumanFormatter() if handler.stream.isatty() else _JsonFormatter())
    logger = logging.getLogger(LOGGER)
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False


@contextmanager
def job_context(job_id: str) -> Iterator[None]:
    """Mark every line written inside, by this task and those it starts, with the job's id."""
    token = _job_id.set(job_id)
    try:
        yield
    finally:
        _job_id.reset(token)


def mask(secret: str) -> None:
    """Never print this value again; one of fewer than six characters is no secret."""
    if len(secret) >= _MIN_SECRET_LENGTH:
        _secrets.add(secret)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": _masked(record.getMessage()),
            "requestId": _plain(_job_id.get()),
        }
        line |= {key: value for key, value in _extras(record).items() if key not in line}
        if trace := _trace(self, record):
            line["exception"] = trace
        return json.dumps(line)


class _HumanFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        parts = [self.formatTime(record, "%H:%M:%S"), record.levelname]
        if job_id := _job_id.get():
            parts.append(_masked(f"[{job_id}]"))
        parts.append(_masked(record.getMessage()))
        parts += [f"{key}={value}" for key, value in _extras(record).items()]
        trace = _trace(self, record)
        return " ".join(parts) + (f"\n{trace}" if trace else "")


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: _plain(each) for key, each in vars(record).items() if key not in _STANDARD}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    parts += [record.stack_info] if record.stack_info else []
    return _masked("\n".join(parts))


def _plain(value: Any) -> Any:
    """Return what JSON can hold, with every text in it masked."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {_masked(str(key)): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _masked(str(value))


def _masked(text: str) -> str:
    # Longest first: a secret that begins another must not leave the other's end behind.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return text
