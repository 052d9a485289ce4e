"""The files that RunPod reads, for the endpoint and the Hub, agree with its rules and our code.

The rules are those of RunPod's REST v2, by its OpenAPI document, and of the Hub's guide. An unknown
key is refused.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.api.request import SpeechRequest
from higgs_worker.settings import Settings, variables

ROOT = Path(__file__).parents[1]
POOLS = {
    "AMPERE_16",
    "AMPERE_24",
    "ADA_24",
    "ADA_32_PRO",
    "AMPERE_48",
    "ADA_48_PRO",
    "AMPERE_80",
    "ADA_80_PRO",
    "HOPPER_141",
    "BLACKWELL_96",
    "BLACKWELL_180",
}
PLATFORM = {"RUNPOD_INIT_TIMEOUT", "PORT", "PORT_HEALTH"}

BODY = {
    "name",
    "type",
    "image",
    "disk",
    "env",
    "gpu",
    "cpu",
    "workers",
    "scaling",
    "flashboot",
    "timeout",
    "networkVolumes",
    "args",
    "ports",
    "registry",
    "dataCenterIds",
    "templateId",
}
GPU = {"pools", "count", "minCudaVersion", "allowedCudaVersions", "excludedTypes"}
COUNTED = {"type": "REQUEST_COUNT", "requestCount": 4}
SCALING = {"QUEUE_DELAY": {"type", "queueDelay"}, "REQUEST_COUNT": {"type", "requestCount"}}


def read(name: str) -> Any:
    """Return the content of a JSON file."""
    return json.loads((ROOT / name).read_text())


def problems_of(body: dict[str, Any]) -> list[str]:
    """Return what REST v2 would refuse in the body of POST /v2/serverless."""
    found = [f"missing {key}" for key in ("name", "type", "scaling") if key not in body]
    if body.get("type") not in ("QUEUE", "LOAD_BALANCER"):
        found.append("type")
    if ("gpu" in body) == ("cpu" in body):
        found.append("exactly one of gpu and cpu")
    if ("image" in body) == ("templateId" in body):
        found.append("exactly one of image and templateId")
    is_counted = body.get("scaling", {}).get("type") == "REQUEST_COUNT"
    if body.get("type") == "LOAD_BALANCER" and not is_counted:
        found.append("a load balancer scales by REQUEST_COUNT")
    if body.get("type") == "QUEUE" and is_counted and "idleTimeout" in body.get("workers", {}):
        found.append("workers.idleTimeout is refused with a queue and REQUEST_COUNT")
    return found + problems_of_fields(body)


def problems_of_change(body: dict[str, Any]) -> list[str]:
    """Return what it would refuse in the body of PATCH /v2/serverless/{id}; a type is for ever."""
    return ["unknown type"] * ("type" in body) + problems_of_fields(body)


def problems_of_fields(body: dict[str, Any]) -> list[str]:
    """Return what it would refuse whether the endpoint is created or changed."""
    found = [f"unknown {key}" for key in sorted(body.keys() - BODY)]
    scaling = body.get("scaling")
    if scaling is not None and scaling.keys() != SCALING.get(scaling.get("type")):
        found.append("scaling")
    workers = body.get("workers", {})
    found += [f"unknown workers.{key}" for key in workers.keys() - {"min", "max", "idleTimeout"}]
    if not 1 <= workers.get("idleTimeout", 1) <= 3600:
        found.append("workers.idleTimeout")
    gpu = body.get("gpu", {})
    found += [f"unknown gpu.{key}" for key in gpu.keys() - GPU]
    found += [f"unknown pool {pool}" for pool in set(gpu.get("pools", [])) - POOLS]
    if {"minCudaVersion", "allowedCudaVersions"} <= gpu.keys():
        found.append("minCudaVersion excludes allowedCudaVersions")
    if body.get("flashboot", "OFF") not in ("OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"):
        found.append("flashboot")
    found += [f"env.{key}" for key, value in body.get("env", {}).items() if type(value) is not str]
    ports = body.get("ports", [])
    found += [f"port {each}" for each in ports if not re.fullmatch(r"[0-9]{1,5}/(http|tcp)", each)]
    return found


def known_variables() -> set[str]:
    """Return every variable that the worker, bootstrap.sh or the platform reads."""
    settings = {each.name for each in variables()}
    script = re.findall(r"HIGGS_[A-Z_]+", (ROOT / "bootstrap.sh").read_text())
    return settings | set(script) | PLATFORM


def locked_cuda() -> str:
    """Return the CUDA version of the locked torch."""
    found = re.search(r"^cuda-toolkit==(\d+\.\d+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert found
    return found[1]


def test_the_endpoint_body_is_one_that_runpod_accepts() -> None:
    """runpod-serverless-config.json passes the rules of POST /v2/serverless."""
    assert problems_of(read("runpod-serverless-config.json")) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"_comment": "x"}, "unknown _comment"),
        ({"cpu": {}}, "exactly one of gpu and cpu"),
        ({"env": {"HIGGS_MAX_SLOTS": 8}}, "env.HIGGS_MAX_SLOTS"),
        ({"scaling": {"type": "QUEUE_DELAY", "requestCount": 4}}, "scaling"),
        ({"type": "LOAD_BALANCER"}, "a load balancer scales by REQUEST_COUNT"),
        ({"gpu": {"pools": ["ADA_25"]}}, "unknown pool ADA_25"),
        ({"scaling": COUNTED}, "workers.idleTimeout is refused with a queue and REQUEST_COUNT"),
        ({"type": "LOAD_BALANCER", "scaling": COUNTED, "ports": ["8000"]}, "port 8000"),
    ],
)
def test_the_rules_notice_what_runpod_refuses(change: dict[str, Any], problem: str) -> None:
    """The rules above notice each kind of mistake."""
    assert problem in problems_of(read("runpod-serverless-config.json") | change)


def test_the_worker_reads_every_variable() -> None:
    """Every variable in the files is known, and its value is allowed."""
    body = read("runpod-serverless-config.json")["env"]
    hub = {each["key"]: each for each in read(".runpod/hub.json")["config"]["env"]}
    tests = {each["key"]: each["value"] for each in read(".runpod/tests.json")["config"]["env"]}
    assert body.keys() | hub.keys() | tests.keys() <= known_variables()

    values = dict(body)
    for key, each in hub.items():
        default = each["input"]["default"] if "input" in each else each["value"]
        values[key] = {True: "true", False: "false"}.get(default, str(default))
    Settings.from_env(values | tests)


def test_the_defaults_are_those_of_the_settings() -> None:
    """A default shown in RunPod's Hub, or set by the endpoint's file, is the worker's own."""
    known = {each.name: each for each in variables()}
    defaults = {name: known[name].default for name in known}
    inputs = {
        each["key"]: each["input"]
        for each in read(".runpod/hub.json")["config"]["env"]
        if "input" in each
    }
    for name, given in inputs.items():
        raw = str(given["default"]).lower() if given["type"] == "boolean" else str(given["default"])
        shown = known[name].kind.parse(raw) if raw else None  # an empty variable counts as unset
        assert shown == defaults[name], name
    for name, raw in read("runpod-serverless-config.json")["env"].items():
        if name in known:
            assert known[name].kind.parse(raw) == defaults[name], name


def test_the_bounds_and_choices_are_those_of_the_settings() -> None:
    """The Hub's form offers what the worker accepts, no more and no less."""
    known = {each.name: each.kind for each in variables()}
    for each in read(".runpod/hub.json")["config"]["env"]:
        given, kind = each.get("input", {}), known.get(each["key"])
        if given.get("type") == "number":
            assert (given["min"], given["max"]) == (kind.low, kind.high), each["key"]
        if "options" in given:
            assert {option["value"] for option in given["options"]} == set(kind.words)


def test_the_endpoint_asks_for_machines_that_run_the_locked_torch() -> None:
    """The CUDA version in the files has the major version of the locked torch."""
    major = locked_cuda().partition(".")[0]
    assert read("runpod-serverless-config.json")["gpu"]["minCudaVersion"] == f"{major}.0"
    for name in ("hub", "tests"):
        versions = read(f".runpod/{name}.json")["config"]["allowedCudaVersions"]
        assert versions[0] == f"{major}.0"  # tools take the first as the lowest


def test_the_image_is_a_released_one() -> None:
    """The endpoint's image has the version of this tree as its tag."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert read("runpod-serverless-config.json")["image"].endswith(f":v{version}")


def test_the_hub_file_has_the_form_of_the_guide() -> None:
    """hub.json has the Hub's keys, types and choices, and nothing else."""
    hub = read(".runpod/hub.json")
    assert hub.keys() <= {"title", "description", "type", "category", "iconUrl", "config"}
    assert (hub["type"], hub["category"]) == ("serverless", "audio")
    config = hub["config"]
    assert config["runsOn"] == "GPU"
    assert {name for name in config["gpuIds"].split(",") if name[0] != "-"} <= POOLS
    for each in config["env"]:
        assert each.keys() in ({"key", "value"}, {"key", "input"})
        given = each.get("input", {"name": "", "type": "string", "default": "", "description": ""})
        assert {"name", "type", "default", "description"} <= given.keys()
        assert given["type"] in ("string", "number", "boolean", "huggingface")
        if "options" in given:
            assert given["default"] in [option["value"] for option in given["options"]]


def test_the_hub_tests_are_valid_jobs() -> None:
    """Every input in tests.json, and test_input.json, is a valid request."""
    for each in [*read(".runpod/tests.json")["tests"], read("test_input.json")]:
        SpeechRequest.parse(each["input"], max_text_chars=Settings().max_text_chars)
    assert all(each["timeout"] >= 300_000 for each in read(".runpod/tests.json")["tests"])


def test_the_hub_finds_its_files() -> None:
    """The Hub builds `Dockerfile`, which is the image that everybody builds."""
    assert (ROOT / "Dockerfile").resolve() == ROOT / "Dockerfile.runpod.ultra"
