"""Try an endpoint: a first job where it has a queue, a first request where it has a load balancer.

It is what starts the first worker, which pulls the weights.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from higgs_worker.errors import DeploymentFailed

if TYPE_CHECKING:
    from higgs_worker.deploy.api import RunPodAPI

POLL_S = 5.0
"""Time between two looks."""
FIRST_TEXT = "Hello from your own endpoint."
PCM_BYTES_PER_S = 48_000
"""Of the format `pcm`: 24,000 samples of two bytes."""

_READY, _STARTING = 200, 204
"""Of a health check: a worker has spoken a sentence; a worker is loading."""
_LOG = "the last lines of their log in the console say why"


@dataclass(frozen=True, slots=True)
class FirstAudio:
    """Tries an endpoint, for as long as it may take."""

    api: "RunPodAPI"
    endpoint: str
    """The endpoint's id."""
    timeout_s: float
    on_progress: Callable[[float, str], None] = lambda fraction, note: None
    """Called after each look with the part of the time that is over, 0 to 1, and a note about the
    job and the workers."""

    def by_job(self) -> float:
        """Send a first job, and return the seconds of its audio.

        Raises:
            DeploymentFailed: the job failed, or took too long; the endpoint stays.
        """
        job = self.api.run(self.endpoint, {"text": FIRST_TEXT, "format": "mp3"})

        def look() -> tuple[float | None, str]:
            found = self.api.status(self.endpoint, str(job.get("id")))
            state = str(found.get("status"))
            if state == "COMPLETED":
                return _duration_s(found.get("output")), state
            if state in ("FAILED", "CANCELLED", "TIMED_OUT"):
                raise DeploymentFailed(
                    f"the first job ended as {state}: {found.get('error') or 'no reason given'}; "
                    "read the worker's log in the console"
                )
            workers = self.api.health(self.endpoint).get("workers", {})
            if workers.get("unhealthy"):
                raise DeploymentFailed(
                    f"{workers['unhealthy']} of the endpoint's workers are unhealthy; {_LOG}"
                )
            return None, f"{state.lower().replace('_', ' ')}; {_counts(workers)}"

        return self._wait(look, "the first job has not ended")

    def by_request(self) -> float:
        """Wait for a worker, let it speak over HTTP, and return the seconds of its audio.

        Raises:
            DeploymentFailed: no worker became ready in time, or the request failed; the endpoint
                stays.
        """

        def look() -> tuple[float | None, str]:
            ping = self.api.ask_worker(self.endpoint, "GET", "/ping")
            if ping is not None and ping.status_code == _READY:
                return 0.0, "ready"
            workers = self.api.workers(self.endpoint)
            # One may be replaced by another; RunPod ends those that stay so.
            if workers.get("unhealthy") and workers["unhealthy"] == workers.get("total"):
                raise DeploymentFailed(f"all of the endpoint's workers are unhealthy; {_LOG}")
            if ping is None:
                state = "no answer yet"
            elif ping.status_code == _STARTING:
                state = "a worker is starting"
            else:
                state = f"no worker is ready ({ping.status_code})"
            return None, f"{state}; {_counts(workers)}"

        self._wait(look, "no worker has become ready")
        body = {"model": "higgs", "input": FIRST_TEXT, "response_format": "pcm"}
        answer = self.api.ask_worker(self.endpoint, "POST", "/v1/audio/speech", body)
        if answer is None:
            raise DeploymentFailed(
                "a worker is ready, but the first request was not answered; read its log in the "
                "console"
            )
        kind = answer.headers.get("Content-Type", "")
        if answer.status_code != 200 or not kind.startswith("audio/"):
            raise DeploymentFailed(
                f"the first request was answered with {answer.status_code} and {kind or 'nothing'}:"
                f" {answer.text[:500]}; read the worker's log in the console"
            )
        if len(answer.content) < 2:
            raise DeploymentFailed("the first request was answered without audio")
        return len(answer.content) / PCM_BYTES_PER_S

    def _wait(self, look: Callable[[], tuple[float | None, str]], failure: str) -> float:
        """Look again and again until there is a result, and return it."""
        started_at, note = time.monotonic(), "not even looked at"
        while (waited_s := time.monotonic() - started_at) < self.timeout_s:
            result, note = look()
            if result is not None:
                return result
            self.on_progress(waited_s / self.timeout_s, note)
            time.sleep(POLL_S)
        raise DeploymentFailed(
            f"{failure} after {self.timeout_s:.0f} s ({note}); the endpoint stays as it is. The "
            "first start pulls 12 GB. If no worker has started at all, perhaps no such GPU is "
            "free: name more pools with --gpu"
        )


def _duration_s(output: Any) -> float:
    """Return the seconds of audio in a job's output, which a streaming endpoint makes a list."""
    last = output[-1] if isinstance(output, list) and output else output
    duration_s = last.get("audio", {}).get("duration_s") if isinstance(last, dict) else None
    if not isinstance(duration_s, int | float):
        raise DeploymentFailed(
            "the first job came back without audio; is the image one of this worker?"
        )
    return float(duration_s)


def _counts(workers: dict[str, Any]) -> str:
    """Describe how many workers are in which state."""
    counted = [f"{count} {name}" for name, count in workers.items() if count and name != "total"]
    return ", ".join(counted) or "none yet"
