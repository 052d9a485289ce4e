"""Log lines: JSON for machines, one short line for people at a terminal.

Each line carries the id of its job, taken from the context. Registered secrets, and what signs an
address, are masked in everything that is printed: message, extras and traceback. What a caller
wrote stands in no line, see `frames_of`. Libraries print warnings only, in the same way.
"""

import json
import logging
import math
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = "higgs_worker"

_MASK = "***"
_MAX_ERRORS = 10
_MIN_SECRET_LENGTH = 6  # masking every "a" or "true" would ruin the log and reveal the secret
_SIGNED = re.compile(r"""(?<=://)[^\s"'/?#@]+(?=@)|(?<=\?)[^\s"'<>?=]*=[^\s"'<>]*""")
"""A login, and a query. The latter also behind a path alone: so urllib3 prints it."""
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}

_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
_secrets: set[str] = set()


def setup(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send everybody's log lines to one stream, instead of where they went before.

    It is the handler that holds back what libraries say below WARNING, such as the address of each
    request: whatever levels they set, and whatever `logging.basicConfig` they call.

    Args:
        level: of the worker's own lines: DEBUG, INFO, WARNING or ERROR.
        stream: None for stderr, because results and the RunPod SDK use stdout.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(_HumanFormatter() if handler.stream.isatty() else _JsonFormatter())
    handler.addFilter(lambda record: _is_own(record) or record.levelno >= logging.WARNING)
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger(LOGGER).setLevel(level)


@contextmanager
def job_context(job_id: str) -> Iterator[None]:
    """Add the job's id to every line logged inside, by this task and those that it starts."""
    token = _job_id.set(job_id)
    try:
        yield
    finally:
        _job_id.reset(token)


def mask(secret: str) -> None:
    """Mask this value in all later log lines; values under six characters are ignored."""
    if len(secret) >= _MIN_SECRET_LENGTH:
        _secrets.add(secret)


def masked(text: str) -> str:
    """Return a text as a line may hold it: without registered secrets, logins and queries."""
    # Longest first: a secret that is the start of another must not leave the other's end visible.
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return _SIGNED.sub(_MASK, text)


def frames_of(error: BaseException) -> str:
    """Return the tracebacks of an error and of those that led to it, without their messages.

    A message may quote anything: a key that is missing, a text that cannot be encoded. So an error
    within a job is logged like this, as the extra `exception`, and not as `exc_info`.
    """
    told: list[str] = []
    pending: list[BaseException | None] = [error]
    while pending and len(told) < _MAX_ERRORS:
        if (each := pending.pop()) is None:
            continue
        frames = "".join(traceback.format_tb(each.__traceback__))
        number = f" (errno {each.errno})" if isinstance(each, OSError) and each.errno else ""
        kind = f"{type(each).__module__}.{type(each).__qualname__}{number}"
        told.append(f"Traceback (most recent call last):\n{frames}{kind}")
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        pending.append(each.__cause__ or (None if each.__suppress_context__ else each.__context__))
    return "\n\nwhich comes from\n\n".join(told)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": masked(record.getMessage()),
            "requestId": _to_json_safe(_job_id.get()),
        }
        if not _is_own(record):
            line["logger"] = record.name
        line |= {key: value for key, value in _extras(record).items() if key not in line}
        if trace := _trace(self, record):
            line["exception"] = trace
        return json.dumps(line)


class _HumanFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        parts = [self.formatTime(record, "%H:%M:%S"), record.levelname]
        if job_id := _job_id.get():
            parts.append(masked(f"[{job_id}]"))
        if not _is_own(record):
            parts.append(f"{record.name}:")
        parts.append(masked(record.getMessage()))
        parts += [f"{key}={value}" for key, value in _extras(record).items()]
        trace = _trace(self, record)
        return " ".join(parts) + (f"\n{trace}" if trace else "")


def _is_own(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == LOGGER


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: _to_json_safe(each) for key, each in vars(record).items() if key not in _STANDARD}


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    parts += [record.stack_info] if record.stack_info else []
    return masked("\n".join(parts))


def _to_json_safe(value: Any) -> Any:
    """Return a value that JSON can hold, with every text in it masked."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        return {masked(str(key)): _to_json_safe(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json_safe(each) for each in value]
    return masked(str(value))
