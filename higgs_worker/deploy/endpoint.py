"""An endpoint on RunPod as a file describes it: made, changed, or found as it should be.

What is there already is found by its name, so deploying twice changes nothing. Nothing is ever
taken away. Knows what an endpoint needs, not how RunPod is asked.
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
"""RunPod's pools of GPUs and the memory of each."""
NEEDED_GB = 20
"""The weights take 12 GB, a few slots of 4096 positions and the graphs the rest."""
PLACEHOLDER = "OWNER"
VOLUME_GB = 30
"""Weights, environment and voices take 20."""
POLL_S = 5.0
FIRST_TEXT = "Hello from your own endpoint."

_SENTENCES = {
    "created": "made",
    "updated": "changed: {changed}",
    "unchanged": "is as the file says",
}


class API(Protocol):
    """What is asked of RunPod."""

    def list(self, kind: str) -> list[dict[str, Any]]:
        """Give all resources of a kind."""

    def create(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Make one."""

    def update(self, kind: str, name: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Change one."""

    def health(self, endpoint: str) -> dict[str, Any]:
        """Tell how an endpoint is."""

    def run(self, endpoint: str, job: dict[str, Any]) -> dict[str, Any]:
        """Send a job."""

    def status(self, endpoint: str, job_id: str) -> dict[str, Any]:
        """Tell how a job is."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A network volume, to be found or made."""

    name: str
    data_center: str | None = None
    """Where to make it; None: it has to exist."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller asks for beside the file."""

    image: str | None = None
    name: str | None = None
    pools: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    volume: Volume | None = None


def body_of(path: Path, wanted: Wanted) -> dict[str, Any]:
    """Read the file and give the body of the endpoint, without its volume.

    Raises:
        InvalidDeployment: no endpoint could be made of it.
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
    if wanted.image:
        body["image"] = wanted.image
    if wanted.name:
        body["name"] = wanted.name
    if wanted.env:
        body["env"] = {**body.get("env", {}), **wanted.env}
    if wanted.pools:
        body["gpu"] = {**body.get("gpu", {}), "pools": list(wanted.pools)}
    _check(body, path)
    return body


def _check(body: Mapping[str, Any], path: Path) -> None:
    image = body.get("image")
    if not isinstance(image, str) or f"/{PLACEHOLDER}/" in image:
        raise InvalidDeployment(
            f"the image is {image!r}; name yours with --image, such as "
            "ghcr.io/your-name/higgs-worker:v0.1.0, or write it into " + str(path)
        )
    if not isinstance(body.get("name"), str):
        raise InvalidDeployment(f"{path} has no name for the endpoint")
    if not all(isinstance(value, str) for value in body.get("env", {}).values()):
        raise InvalidDeployment(f"{path} has an env value that is no string; RunPod takes no other")
    pools = body.get("gpu", {}).get("pools", [])
    for pool in pools:
        if pool not in POOLS_GB:
            known = ", ".join(POOLS_GB)
            raise InvalidDeployment(f"there is no pool of GPUs {pool!r}; take some of {known}")
        if POOLS_GB[pool] < NEEDED_GB and body.get("env", {}).get("HIGGS_MODEL") != "demo":
            raise InvalidDeployment(
                f"GPUs of {pool} have {POOLS_GB[pool]} GB and the model needs {NEEDED_GB}; take "
                "larger ones, such as ADA_24"
            )


@dataclass(frozen=True, slots=True)
class Deployed:
    """What has been done."""

    endpoint: str
    """Its id."""
    what: str
    """created, updated or unchanged"""
    changed: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """Say it."""
        return _SENTENCES[self.what].format(changed=", ".join(self.changed))


def apply(api: API, body: dict[str, Any], volume: Volume | None) -> Deployed:
    """Make the endpoint, or change what differs.

    Raises:
        InvalidDeployment: the volume does not exist, or a name is not unique.
        WorkerError: RunPod cannot be asked, or refuses.
    """
    if volume is not None:
        body = body | {"networkVolumes": [_volume_id(api, volume)]}
    found = _only(api.list("serverless"), body["name"], "endpoint")
    if found is None:
        return Deployed(str(api.create("serverless", body)["id"]), "created")
    differing = {key: value for key, value in body.items() if not _agrees(value, found.get(key))}
    if not differing:
        return Deployed(str(found["id"]), "unchanged")
    api.update("serverless", str(found["id"]), differing)
    return Deployed(str(found["id"]), "updated", tuple(sorted(differing)))


def _volume_id(api: API, volume: Volume) -> str:
    found = _only(api.list("network-volumes"), volume.name, "network volume")
    if found is None and volume.data_center is None:
        raise InvalidDeployment(
            f"there is no network volume {volume.name!r}; name another one, or give the data "
            "center in which to make it with --data-center, such as EU-RO-1"
        )
    if found is None:
        body = {"name": volume.name, "size": VOLUME_GB, "dataCenter": volume.data_center}
        found = api.create("network-volumes", body)
    return str(found["id"])


def _only(listed: list[dict[str, Any]], name: str, kind: str) -> dict[str, Any] | None:
    """Find what is called so, or has this id."""
    found = [each for each in listed if name in (each.get("name"), each.get("id"))]
    if len(found) > 1:
        raise InvalidDeployment(
            f"there are {len(found)} {kind}s called {name!r}; rename all but one in the console"
        )
    return found[0] if found else None


def _agrees(wanted: Any, found: Any) -> bool:
    """Tell whether all that is wanted is there; RunPod adds defaults of its own."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_agrees(value, found.get(key)) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        plain = [each.get("id") if isinstance(each, dict) else each for each in found]
        return wanted == plain
    return bool(wanted == found)


def first_job(
    api: API,
    endpoint: str,
    *,
    timeout_s: float,
    on_progress: Callable[[float, str], None] = lambda fraction, note: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Speak a sentence there and wait for it; the first one pulls the weights.

    Returns:
        the job's output.

    Raises:
        DeploymentFailed: it failed, or took too long; nothing is undone.
    """
    begun = clock()
    sent = api.run(endpoint, {"text": FIRST_TEXT, "format": "mp3"})
    while (waited_s := clock() - begun) < timeout_s:
        found = api.status(endpoint, str(sent.get("id")))
        state = str(found.get("status"))
        if state == "COMPLETED":
            output = found.get("output")
            last = output[-1] if isinstance(output, list) and output else output
            return last if isinstance(last, dict) else {}
        if state in ("FAILED", "CANCELLED", "TIMED_OUT"):
            raise DeploymentFailed(
                f"the first job ended as {state}: {found.get('error') or 'no reason given'}; look "
                "into the worker's log in the console"
            )
        workers = api.health(endpoint).get("workers", {})
        if workers.get("unhealthy"):
            raise DeploymentFailed(
                f"{workers['unhealthy']} of the endpoint's workers are unhealthy; look into their "
                "log in the console, the reason is in its last lines"
            )
        note = ", ".join(f"{count} {name}" for name, count in workers.items() if count)
        on_progress(
            waited_s / timeout_s, f"{state.lower().replace('_', ' ')}; {note or 'none yet'}"
        )
        sleep(POLL_S)
    raise DeploymentFailed(
        f"the first job has not ended after {timeout_s:.0f} s; the endpoint stays as it is. The "
        "first start pulls 12 GB; if no worker has started at all, there may be no such GPU free: "
        "name more pools with --gpu"
    )
