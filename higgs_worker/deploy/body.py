"""The body of an endpoint: read from its file, changed as the caller asks, and checked.

The file describes an endpoint with a queue. One behind RunPod's load balancer is derived from it:
the same image, GPUs and volume, with HTTP in place of jobs.
Source: https://docs.runpod.io/api-reference-v2, https://docs.runpod.io/serverless/load-balancing
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from higgs_worker.errors import InvalidDeployment

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
QUEUE, LOAD_BALANCER = "QUEUE", "LOAD_BALANCER"
HTTP_PORT = "8000"
"""What workers behind a load balancer listen on. The platform's default is 80, but the worker is
not root, and whether RunPod's containers let others listen below 1024 is not known."""
REQUEST_COUNT = 8
"""Running requests per worker from which RunPod starts another one. The smallest of the file's GPUs
holds 17 sequences; until the next worker is up, the first has to take what comes."""


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """What the caller chooses instead of the file."""

    image: str | None = None
    """Container image; None: the file's."""
    name: str | None = None
    """Name of the endpoint; None: the file's."""
    kind: str | None = None
    """QUEUE or LOAD_BALANCER; None: the file's type."""
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
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidDeployment(
            f"{path} cannot be read ({error.strerror}); name the endpoint's file with --config"
        ) from error
    except ValueError as error:
        raise InvalidDeployment(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("env", {}), dict):
        raise InvalidDeployment(f"{path} must hold an object, the endpoint's body, as must its env")
    body: dict[str, Any] = found | {"env": found.get("env", {}) | dict(options.env)}
    if options.image:
        body["image"] = options.image
    if options.pools:
        body["gpu"] = {**body.get("gpu", {}), "pools": list(options.pools)}
    if options.kind == LOAD_BALANCER or body.get("type") == LOAD_BALANCER:
        body = _behind_load_balancer(body)
    if options.name:
        body["name"] = options.name
    _check(body, path, options.kind)
    return body


def _behind_load_balancer(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with all that a load balancer needs, as far as it does not say so itself."""
    env = {"HIGGS_SERVE": "http", "PORT": HTTP_PORT, **body["env"]}
    env.setdefault("PORT_HEALTH", env["PORT"])
    exposed = [f"{env[name]}/http" for name in ("PORT", "PORT_HEALTH")]
    changed = {
        **body,
        "type": LOAD_BALANCER,
        "env": env,
        "ports": list(dict.fromkeys([*body.get("ports", []), *exposed])),
    }
    if body.get("scaling", {}).get("type") != "REQUEST_COUNT":
        changed["scaling"] = {"type": "REQUEST_COUNT", "requestCount": REQUEST_COUNT}
    if body.get("type") != LOAD_BALANCER and isinstance(body.get("name"), str):
        changed["name"] = f"{body['name']}-http"  # the one with a queue may stand beside it
    return changed


def _check(body: Mapping[str, Any], path: Path, kind: str | None) -> None:
    image = body.get("image")
    if not isinstance(image, str) or f"/{PLACEHOLDER}/" in image:
        raise InvalidDeployment(
            f"the image is {image!r}; name yours with --image, such as "
            f"ghcr.io/your-name/higgs-worker:v0.1.0, or write it into {path}"
        )
    if not isinstance(body.get("name"), str):
        raise InvalidDeployment(f"{path} has no name for the endpoint")
    env = body["env"]
    if not all(isinstance(value, str) for value in env.values()):
        raise InvalidDeployment(
            f"{path} has an env value that is not a string; RunPod accepts only strings"
        )
    _check_kind(body, path, kind)
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


def _check_kind(body: Mapping[str, Any], path: Path, kind: str | None) -> None:
    """Refuse what would start, and then never answer."""
    found, env = body.get("type"), body["env"]
    if found not in (QUEUE, LOAD_BALANCER):
        raise InvalidDeployment(f"{path} has the type {found!r}; it is {QUEUE} or {LOAD_BALANCER}")
    if kind not in (None, found):
        raise InvalidDeployment(
            f"{path} describes an endpoint behind a load balancer; name a file with a queue"
        )
    serves_http = env.get("HIGGS_SERVE", "jobs").lower() == "http"
    if serves_http != (found == LOAD_BALANCER):
        raise InvalidDeployment(
            "HIGGS_SERVE is http behind a load balancer, and jobs with a queue; leave it out and "
            "choose with --type"
        )
    if found == LOAD_BALANCER and "HIGGS_API_KEY" in env:
        raise InvalidDeployment(
            "HIGGS_API_KEY would lock everybody out: the header that would have to carry it holds "
            "RunPod's key here; leave it out, RunPod lets nobody in without a key of the account"
        )
