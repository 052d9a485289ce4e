"""Create or update an endpoint on RunPod.

An existing endpoint is found by its name, so deploying twice changes nothing. Nothing is ever
deleted. `body.py` knows what an endpoint is, and `api.py` how to ask RunPod.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from higgs_worker.errors import InvalidDeployment

if TYPE_CHECKING:
    from higgs_worker.deploy.api import RunPodAPI

VOLUME_GB = 30
"""Size of a new volume; weights, environment and voices take 20 GB."""

_SENTENCES = {
    "created": "created",
    "updated": "updated: {changed}",
    "unchanged": "already as the file says",
}


@dataclass(frozen=True, slots=True)
class Volume:
    """The network volume of the endpoint, by name or id."""

    name: str
    data_center: str | None = None
    """Where to create it if it is missing; None: it has to exist."""


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


def deploy(api: "RunPodAPI", body: dict[str, Any], volume: Volume | None) -> DeployResult:
    """Create the endpoint, or update the fields that differ.

    Args:
        api: RunPod, with the account's key.
        body: the endpoint, as `read_body` returns it.
        volume: its network volume, if it gets one.

    Raises:
        InvalidDeployment: the volume does not exist, a name is not unique, or the endpoint of that
            name is of another type.
        WorkerError: RunPod is out of reach, or refuses.
    """
    if volume is not None:
        body = body | {"networkVolumes": [_volume_id(api, volume)]}
    found = _find_one(api.list("serverless"), body["name"], "endpoint")
    if found is None:
        return DeployResult(str(api.create("serverless", body)["id"]), "created")
    if found.get("type", body["type"]) != body["type"]:
        raise InvalidDeployment(
            f"there is an endpoint {body['name']!r} of type {found['type']}, which RunPod cannot "
            f"change into a {body['type']}; name another one with --name, or delete that one"
        )
    differing = {
        key: value
        for key, value in body.items()
        if key != "type" and not _matches(value, found.get(key))
    }
    if not differing:
        return DeployResult(str(found["id"]), "unchanged")
    api.update("serverless", str(found["id"]), differing)
    return DeployResult(str(found["id"]), "updated", tuple(sorted(differing)))


def _volume_id(api: "RunPodAPI", volume: Volume) -> str:
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
