"""RunPod's management API, and an endpoint's own; each failure becomes one clear sentence.

This is the protocol alone, not what is deployed with it. The key goes into a header and into no
message.
Source: https://docs.runpod.io/api-reference-v2, RFC 9457 for errors.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx2

from higgs_worker.errors import PlatformRefused, PlatformUnavailable

MANAGEMENT = "https://api.runpod.io/v2"
JOBS = "https://api.runpod.ai/v2"
WORKERS = "https://{}.api.runpod.ai"
"""Of an endpoint's workers, behind RunPod's load balancer; the endpoint's id stands in it."""
TIMEOUT_S = 30.0
"""How long one request may take."""
NUM_TRIES = 4
"""How often a request is made that is safe to repeat."""
MAX_WAIT_S = 60.0
"""Longest wait before a repeated request, whatever RunPod asks for."""

_LISTED_AS = {"serverless": "endpoints", "network-volumes": "networkVolumes"}
_HINTS = {
    401: "the key in RUNPOD_API_KEY is not accepted; make one under Settings, API Keys",
    402: "the account does not have enough credit; add some under Billing",
    403: "the key in RUNPOD_API_KEY may not do this; give it write access to Serverless",
    404: "there is no such thing in this account",
    409: "it is in use or exists already",
    422: "RunPod does not accept the configuration",
    429: "too many requests; try again in a minute",
}


class RunPodAPI:
    """Requests with one account's key; a context manager."""

    def __init__(
        self,
        key: str,
        *,
        management: str = MANAGEMENT,
        jobs: str = JOBS,
        workers: str = WORKERS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._management = management
        self._jobs = jobs
        self._workers = workers
        self._sleep = sleep
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT_S, follow_redirects=False
        )

    def __enter__(self) -> "RunPodAPI":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def list(self, kind: str) -> list[dict[str, Any]]:
        """Return all resources of a kind: `serverless` or `network-volumes`."""
        found = self._request("GET", f"{self._management}/{kind}")
        listed = found.get(_LISTED_AS[kind]) if isinstance(found, dict) else None
        if not isinstance(listed, list):
            raise PlatformUnavailable(
                f"RunPod's list of {kind} has an unknown form; check for a "
                "newer version of this worker"
            )
        return [each for each in listed if isinstance(each, dict)]

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create a resource and return it."""
        return self._request_object("POST", f"{self._management}/{kind}", body)

    def update(self, kind: str, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change some fields of a resource and return it."""
        return self._request_object("PATCH", f"{self._management}/{kind}/{name}", changes)

    def workers(self, endpoint: str) -> dict[str, Any]:
        """Return the numbers of an endpoint's workers by state, and their total."""
        url = f"{self._management}/serverless/{endpoint}/workers"
        summary = self._request_object("GET", url).get("summary")
        return summary if isinstance(summary, dict) else {}

    def health(self, endpoint: str) -> dict[str, Any]:
        """Return the numbers of an endpoint's workers and jobs by state."""
        return self._request_object("GET", f"{self._jobs}/{endpoint}/health")

    def run(self, endpoint: str, job: dict[str, Any]) -> dict[str, Any]:
        """Send a job and return the answer, which has its id."""
        return self._request_object("POST", f"{self._jobs}/{endpoint}/run", {"input": job})

    def status(self, endpoint: str, job_id: str) -> dict[str, Any]:
        """Return a job's state, and its output once it has one."""
        return self._request_object("GET", f"{self._jobs}/{endpoint}/status/{job_id}")

    def ask_worker(
        self, endpoint: str, method: str, path: str, body: Any = None
    ) -> httpx2.Response | None:
        """Send a request to whichever worker the load balancer chooses, once.

        Without a worker the balancer waits for two minutes before it answers; this does not.

        Returns:
            The worker's answer, or the balancer's own; None if none came in time, or if there is no
            such address yet.

        Raises:
            PlatformRefused: the key does not open this endpoint.
        """
        url = self._workers.format(endpoint) + path
        try:
            answer = self._client.request(method, url, json=body)
        except httpx2.HTTPError:
            return None
        if answer.status_code in (401, 403):
            _parse(method, url, answer)
        return answer

    def _request_object(self, method: str, url: str, body: Any = None) -> dict[str, Any]:
        found = self._request(method, url, body)
        if not isinstance(found, dict):
            raise PlatformUnavailable(
                f"{method} {url} answered with something that is not an object"
            )
        return found

    def _request(self, method: str, url: str, body: Any = None) -> Any:
        """Make a request, and repeat it after a failure if a repetition cannot do harm.

        Raises:
            PlatformRefused: RunPod refuses it; the same request would fail again.
            PlatformUnavailable: RunPod does not answer; the request may work later.
        """
        for tries_left in reversed(range(NUM_TRIES)):
            try:
                answer = self._client.request(method, url, json=body)
            except httpx2.HTTPError as error:
                # The request may have arrived, and creating a resource twice costs money.
                if method == "GET" and tries_left:
                    self._sleep(1.0)
                    continue
                raise PlatformUnavailable(
                    f"{method} {url} was not answered ({type(error).__name__}); check whether "
                    "this machine reaches it, and whether the change was made"
                ) from error
            may_repeat = answer.status_code == 429 or (
                answer.status_code >= 500 and method == "GET"
            )
            if may_repeat and tries_left:
                self._sleep(_retry_wait_s(answer))
                continue
            return _parse(method, url, answer)
        raise AssertionError("the last try returns or raises")


def _retry_wait_s(answer: httpx2.Response) -> float:
    value = answer.headers.get("Retry-After", "")
    return min(float(value) if value.isdigit() else 2.0, MAX_WAIT_S)


def _parse(method: str, url: str, answer: httpx2.Response) -> Any:
    try:
        found = answer.json()
    except (ValueError, UnicodeDecodeError):
        found = None
    if answer.is_success and found is not None:
        return found
    what = f"{method} {url} answered {answer.status_code}"
    if answer.status_code >= 500 or answer.is_success:
        raise PlatformUnavailable(f"{what}; RunPod may be down, see https://uptime.runpod.io")
    reason = _reason(found)
    hint = _HINTS.get(answer.status_code, "see RunPod's answer")
    raise PlatformRefused(f"{hint} ({what}{f': {reason}' if reason else ''})")


def _reason(found: Any) -> str:
    """Return the reason that an error's body gives, in at most 500 characters."""
    if not isinstance(found, dict):
        return ""
    reason = found.get("detail") or found.get("title") or found.get("error") or ""
    if errors := found.get("errors"):
        reason = f"{reason} {json.dumps(errors)}"
    return " ".join(str(reason).split())[:500]
