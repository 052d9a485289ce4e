"""Create or update an endpoint on RunPod, as a file describes it, and send it a first job.

An existing endpoint is found by its name, so deploying twice changes nothing. Nothing is ever
deleted. This module knows what an endpoint needs; `api.py` knows how to ask RunPod.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from higgs_worker.errors import DeploymentFailed, InvalidDeployment

POOLS_GB = {
    "AMPERE_16": 16,
    "AMPERE_24": 24,
    "ADA_24": 24,
    "ADA_32_PRO": 32,
    "AMPERE_48": 48,
    "ADA_48_PRO": 48,
    "AMPERE_80": 80,
    "ADA_80_PRO": 80,
    "HOPPER_141": 141,
    "BLACKWELL_96": 96,
    "BLACKWELL_180": 180,
}
"""RunPod's pools of GPUs, and the memory of each GPU."""
NEEDED_GB, NEEDED_INT8_GB = 20, 12
"""Memory that a GPU needs: 11 GB for the weights, or 6 in 8 bits; the rest is for a few slots, the
codec and CUDA graphs."""
PLACEHOLDER = "OWNER"
"""Stands in the file's image until somebody names their own."""
VOLUME_GB = 30
"""Size of a new volume; weights, environment and voices take 20 GB."""
POLL_S = 5.0
"""Time between two requests for the first job's status."""
FIRST_TEXT = "Hello from your own endpoint."

_SENTENCES = {
    "created": "created",
    "updated": "updated: {changed}",
    "unchanged": "already as the file says",
}


class API(Protocol):
    """The requests to RunPod that a deployment needs; `api.RunPodAPI` makes them."""

    def list(self, kind: str) -> list[dict[str, Any]]:
        """Return all resources of a kind."""

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create a resource and return it."""

    def update(self, kind: str, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change some fields of a resource and return it."""

    def health(self, endpoint: str) -> dict[str, Any]:
        """Return the numbers of an endpoint's workers and jobs by state."""

    def run(self, endpoint: str, job: dict[str, Any]) -> dict[str, Any]:
        """Send a job and return its id."""

    def status(self, endpoint: str, job_id: str) -> dict[str, Any]:
        """Return a job's state, and its output once it has one."""


@dataclass(frozen=True, slots=True)
class Volume:
    """The network volume of the endpoint, by name or id."""

    name: str
    data_center: str | None = None
    """Where to create it if it is missing; None: it has to exist."""


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """What the caller chooses instead of the file."""

    image: str | None = None
    """Container image; None: the file's."""
    name: str | None = None
    """Name of the endpoint; None: the file's."""
    pools: tuple[str, ...] = ()
    """Pools of GPUs; empty: the file's."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of the worker, added to the file's."""


def read_body(path: Path, options: DeployOptions) -> dict[str, Any]:
    """Read the endpoint's file and return the body of the request, without its volume.

    Args:
        path: the file.
        options: what to put in place of the file's values.

    Raises:
        InvalidDeployment: the result describes no endpoint that could work.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidDeployment(
            f"{path} cannot be read ({error.strerror}); name the endpoint's file with --config"
        ) from error
    except ValueError as error:
        raise InvalidDeployment(f"{path} is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidDeployment(f"{path} must hold an object, the endpoint's body")
    if options.image:
        body["image"] = options.image
    if options.name:
        body["name"] = options.name
    if options.env:
        body["env"] = {**body.get("env", {}), **options.env}
    if options.pools:
        body["gpu"] = {**body.get("gpu", {}), "pools": list(options.pools)}
    _check(body, path)
    return body


def _check(body: Mapping[str, Any], path: Path) -> None:
    image = body.get("image")
    if not isinstance(image, str) or f"/{PLACEHOLDER}/" in image:
        raise InvalidDeployment(
            f"the image is {image!r}; name yours with --image, such as "
            f"ghcr.io/your-name/higgs-worker:v0.1.0, or write it into {path}"
        )
    if not isinstance(body.get("name"), str):
        raise InvalidDeployment(f"{path} has no name for the endpoint")
    env = body.get("env", {})
    if not all(isinstance(value, str) for value in env.values()):
        raise InvalidDeployment(
            f"{path} has an env value that is not a string; RunPod accepts only strings"
        )
    needed_gb = NEEDED_INT8_GB if env.get("HIGGS_DTYPE") == "int8" else NEEDED_GB
    pools = body.get("gpu", {}).get("pools", [])
    for pool in pools:
        if pool not in POOLS_GB:
            known = ", ".join(POOLS_GB)
            raise InvalidDeployment(f"there is no pool of GPUs {pool!r}; choose from {known}")
        if POOLS_GB[pool] < needed_gb and env.get("HIGGS_MODEL") != "demo":
            raise InvalidDeployment(
                f"GPUs of {pool} have {POOLS_GB[pool]} GB and the model needs {needed_gb}; "
                "choose larger ones, such as ADA_24, or set HIGGS_DTYPE to int8"
            )


@dataclass(frozen=True, slots=True)
class DeployResult:
    """What a deployment did."""

    endpoint: str
    """The endpoint's id."""
    action: str
    """created, updated or unchanged"""
    changed: tuple[str, ...] = ()
    """The fields that were updated."""

    @property
    def sentence(self) -> str:
        """Describe what was done."""
        return _SENTENCES[self.action].format(changed=", ".join(self.changed))


def deploy(api: API, body: dict[str, Any], volume: Volume | None) -> DeployResult:
    """Create the endpoint, or update the fields that differ.

    Args:
        api: RunPod, with the account's key.
        body: the endpoint, as `read_body` returns it.
        volume: its network volume, if it gets one.

    Raises:
        InvalidDeployment: the volume does not exist, or a name is not unique.
        WorkerError: RunPod is out of reach, or refuses.
    """
    if volume is not None:
        body = body | {"networkVolumes": [_volume_id(api, volume)]}
    found = _find_one(api.list("serverless"), body["name"], "endpoint")
    if found is None:
        return DeployResult(str(api.create("serverless", body)["id"]), "created")
    differing = {key: value for key, value in body.items() if not _matches(value, found.get(key))}
    if not differing:
        return DeployResult(str(found["id"]), "unchanged")
    api.update("serverless", str(found["id"]), differing)
    return DeployResult(str(found["id"]), "updated", tuple(sorted(differing)))


def _volume_id(api: API, volume: Volume) -> str:
    found = _find_one(api.list("network-volumes"), volume.name, "network volume")
    if found is None and volume.data_center is None:
        raise InvalidDeployment(
            f"there is no network volume {volume.name!r}; name another one, or create it by naming "
            "a data center, such as --data-center EU-RO-1"
        )
    if found is None:
        body = {"name": volume.name, "size": VOLUME_GB, "dataCenter": volume.data_center}
        found = api.create("network-volumes", body)
    return str(found["id"])


def _find_one(listed: list[dict[str, Any]], name: str, kind: str) -> dict[str, Any] | None:
    """Return the resource with this name or id, or None if there is none."""
    found = [each for each in listed if name in (each.get("name"), each.get("id"))]
    if len(found) > 1:
        raise InvalidDeployment(
            f"there are {len(found)} {kind}s called {name!r}; rename all but one in the console"
        )
    return found[0] if found else None


def _matches(wanted: Any, found: Any) -> bool:
    """Return whether all that is wanted is there; RunPod adds defaults of its own."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_matches(value, found.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return wanted == [each.get("id") if isinstance(each, dict) else each for each in found]
    return bool(wanted == found)


def run_first_job(
    api: API,
    endpoint: str,
    *,
    timeout_s: float,
    on_progress: Callable[[float, str], None] = lambda fraction, note: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Send a first job and return its output; it is what pulls the weights.

    Args:
        api: RunPod, with the account's key.
        endpoint: the endpoint's id.
        timeout_s: how long to wait for the job.
        on_progress: called after each poll with the part of the timeout that is over, 0 to 1, and
            a note about the job and the workers.
        clock: the time in seconds.
        sleep: waits between two polls.

    Raises:
        DeploymentFailed: the job failed, or took too long; the endpoint stays.
    """
    started_at = clock()
    sent = api.run(endpoint, {"text": FIRST_TEXT, "format": "mp3"})
    while (waited_s := clock() - started_at) < timeout_s:
        found = api.status(endpoint, str(sent.get("id")))
        state = str(found.get("status"))
        if state == "COMPLETED":
            output = found.get("output")
            last = output[-1] if isinstance(output, list) and output else output
            return last if isinstance(last, dict) else {}
        if state in ("FAILED", "CANCELLED", "TIMED_OUT"):
            raise DeploymentFailed(
                f"the first job ended as {state}: {found.get('error') or 'no reason given'}; read "
                "the worker's log in the console"
            )
        workers = api.health(endpoint).get("workers", {})
        if workers.get("unhealthy"):
            raise DeploymentFailed(
                f"{workers['unhealthy']} of the endpoint's workers are unhealthy; the last lines "
                "of their log in the console say why"
            )
        note = ", ".join(f"{count} {name}" for name, count in workers.items() if count)
        on_progress(
            waited_s / timeout_s, f"{state.lower().replace('_', ' ')}; {note or 'none yet'}"
        )
        sleep(POLL_S)
    raise DeploymentFailed(
        f"the first job has not ended after {timeout_s:.0f} s; the endpoint stays as it is. The "
        "first start pulls 12 GB. If no worker has started at all, perhaps no such GPU is free: "
        "name more pools with --gpu"
    )
