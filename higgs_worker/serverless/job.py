"""RunPod's job: the dict that the SDK hands over, parsed once into an id and a typed body.

The only reader of that dict. Both its wrapping and the caller's `input` may be anything that JSON
can hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from higgs_worker.api.body import Body, parse_body
from higgs_worker.errors import CredentialsRefused, InvalidRequest, WorkerError


@dataclass(frozen=True, slots=True)
class Job:
    """One job, valid or refused."""

    id: str
    body: Body | Exception
    """What to do, or why that cannot be done."""
    is_openai: bool
    """Whether it is answered as OpenAI's API answers."""

    @classmethod
    def parse(cls, raw: object, *, max_text_chars: int) -> "Job":
        """Return the job that a dict of the SDK's holds. Never raises for what a caller sent.

        Takes some tenths of a second for the largest inputs; run it in a thread.

        Args:
            raw: as the SDK hands it over; `input` may be the error why it was not read.
            max_text_chars: the operator's limit for the text of a request.
        """
        job = raw if isinstance(raw, Mapping) else {}
        found, content = job.get("id"), job.get("input")
        body: Body | Exception
        try:
            body = parse_body(_content(raw), max_text_chars=max_text_chars)
        except Exception as error:  # the runner tells a defect from a refusal
            body = error
        return cls(
            id=found if isinstance(found, str) and found else "unknown",
            body=body,
            is_openai=isinstance(content, Mapping) and "openai_route" in content,
        )


def _content(raw: object) -> Any:
    """Return what the caller sent as `input`.

    Raises:
        CredentialsRefused: credentials stand beside it.
        InvalidRequest: there is none.
        WorkerError: it was not read.
    """
    if not isinstance(raw, Mapping):
        raise InvalidRequest('the job must be an object such as {"id": "1", "input": {…}}')
    # RunPod documents this sibling of `input`; its other fields are the platform's own.
    if raw.get("s3Config"):
        raise CredentialsRefused(
            "credentials do not belong into a job, and 's3Config' holds some; set them in the "
            "endpoint's environment and replace any that were sent here"
        )
    if "input" not in raw:
        raise InvalidRequest('the job has no input; send {"input": {"text": "Hello."}}')
    if isinstance(raw["input"], WorkerError):
        raise raw["input"]
    return raw["input"]
