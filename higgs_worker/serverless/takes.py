"""A take: what the platform answers to a poll, and which jobs are in it.

The one place that decides this. A job that cannot be read is answered all the same, as long as its
id is known: its input is then the error that says why. What has no id cannot be answered and is
dropped; the log tells how much of it there was, and never what it was.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection
from itertools import islice
from typing import Any

from higgs_worker.api.json_text import check_part, parse_part
from higgs_worker.api.outline import JsonPart, parts
from higgs_worker.errors import InvalidRequest

_MAX_ELEMENTS = 10_000
"""Looked at in one answer, and in one job for its id; a worker asks for some dozens."""
_USABLE_ID = re.compile(r"[A-Za-z0-9._:~@=+-]{1,256}")
"""It becomes a part of an address and of a header, where other characters would do harm."""
_ID_MEMBER = re.compile(rb'\s*"id"\s*:\s*"([^"\\]*)"\s*')
_USED_MEMBERS = ("id", "input", "s3Config")
"""What `Job` reads. The SDK (1.12, 2.0) would make attributes of all, whatever they are called."""

log = logging.getLogger(__name__)


def read_jobs(answer: bytes, running: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the jobs that an answer brings, each once and none that runs already.

    Takes as long as the answer is large, in steps of some milliseconds; run it in a thread.

    Args:
        answer: a job or a list of jobs, in JSON.
        running: the ids of the jobs that have not ended.

    Returns:
        Dicts as the SDK has them, with the members that `Job` reads.
    """
    if not re.match(rb"\s*\[", answer):
        answer = b"[" + answer + b"]"
    jobs: dict[str, dict[str, Any]] = {}
    dropped: Counter[str] = Counter()
    for part in islice(parts(answer), _MAX_ELEMENTS):
        text = answer[part.start : part.end]
        if not text.strip():
            continue
        job = _read(text, part)
        job_id = job.get("id") if isinstance(job, dict) else None
        if not isinstance(job_id, str) or not _USABLE_ID.fullmatch(job_id):
            dropped["without a usable id"] += 1
        elif job_id in jobs or job_id in running:
            dropped["of a job that is here already"] += 1
        else:
            jobs[job_id] = {key: job[key] for key in _USED_MEMBERS if key in job}
    for what, num in dropped.items():
        log.warning("dropped %d of the elements that a poll brought: %s", num, what)
    return list(jobs.values())


def _read(text: bytes, part: JsonPart) -> Any:
    """Return an element of the answer; one that is not read has its id, and an error as input."""
    try:
        check_part(part)
        return parse_part(text)
    except InvalidRequest as error:
        return _unread(text, error)


def _unread(text: bytes, why: InvalidRequest) -> dict[str, Any]:
    if not re.match(rb"\s*\{", text):
        return {}
    found = [
        member[1].decode("utf-8", "replace")
        for part in islice(parts(text), _MAX_ELEMENTS)
        if (member := _ID_MEMBER.fullmatch(text, part.start, part.end))
    ]
    return {"id": found[-1], "input": why} if found else {}
