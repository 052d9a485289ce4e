"""RunPod's wrapping of a request: the job dict, which holds an id and the caller's `input`.

Read defensively, because both may be anything that JSON can hold. Knows no request.
"""

from collections.abc import Mapping
from typing import Any

from higgs_worker.errors import CredentialsRefused, InvalidRequest


def job_id(job: object) -> str:
    """Return what the platform calls the job."""
    found = job.get("id") if isinstance(job, Mapping) else None
    return found if isinstance(found, str) and found else "unknown"


def fields(job: object) -> Mapping[Any, Any]:
    """Return the caller's fields, unchecked; none where the input is no object."""
    asked = job.get("input") if isinstance(job, Mapping) else None
    return asked if isinstance(asked, Mapping) else {}


def content(job: object) -> Any:
    """Return what the caller sent as `input`.

    Raises:
        CredentialsRefused: credentials stand beside it.
        InvalidRequest: there is none.
    """
    if not isinstance(job, Mapping):
        raise InvalidRequest('the job must be an object such as {"id": "1", "input": {…}}')
    # The platform documents this sibling of `input`; others are its own affair.
    if job.get("s3Config"):
        raise CredentialsRefused(
            "credentials do not belong into a job, and 's3Config' holds some; set them in the "
            "endpoint's environment and replace any that were sent here"
        )
    if "input" not in job:
        raise InvalidRequest('the job has no input; send {"input": {"text": "Hello."}}')
    return job["input"]
