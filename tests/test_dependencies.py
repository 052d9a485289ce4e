"""What is imported is declared, and what is declared or installed is locked, with hashes."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

EXTRAS = {
    "higgs_worker": ("kernels",),
    "handler.py": (),
    "benchmarks": ("dev", "kernels"),
    "tests": ("dev", "kernels", "training"),
    "training": ("training",),
}
"""The extras that each place may use beside the worker's own dependencies."""

CLIENTS = {"livekit", "pipecat-ai", "wyoming", "wyoming-openai"}
"""What tests of clients use beside that, in an environment of their own."""

DISTRIBUTIONS = {
    "deepgram": "deepgram-sdk",
    "hibari": "hibari-tts",
    "pipecat": "pipecat-ai",
    "xdist": "pytest-xdist",
    "yaml": "pyyaml",
}
"""Those that are not called like their module."""

LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-clients.lock"]
SKIPPED = re.compile(r'importorskip\("(\w+)')


def canonical(requirement: str) -> str:
    """Return the name of a distribution as the locks write it."""
    [name] = re.findall(r"^[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


def imports(text: str) -> Iterator[str]:
    """Yield the modules that a file's text imports, each by its first name."""
    found: list[ast.AST] = [ast.parse(text)]
    for node in found:  # statements only, which takes a third of the time
        match node:
            case ast.Import(names=names):
                yield from (each.name.partition(".")[0] for each in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0]
            case _:
                inner = ast.iter_child_nodes(node)
                found += (each for each in inner if not isinstance(each, ast.expr))
    yield from SKIPPED.findall(text)


@cache
def imported(place: str) -> set[str]:
    """Return the distributions that the files of a place import."""
    files = [ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py")
    found = {name for path in files for name in imports(path.read_text(encoding="utf-8"))}
    names = found - {Path(each).stem for each in EXTRAS} - sys.stdlib_module_names
    return {DISTRIBUTIONS.get(name, canonical(name)) for name in names}


def declared(*extras: str) -> set[str]:
    """Return the dependencies of the worker and of some extras."""
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][each] for each in extras)]
    return {canonical(each) for requirements in lists for each in requirements}


def locked(name: str) -> dict[str, list[str]]:
    """Return what a lock file says: the lines of each distribution, with their hashes."""
    lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    found: dict[str, list[str]] = {}
    for line in lines:
        found.setdefault(canonical(line), []).append(re.sub(r" +", " ", line))
    return found


@pytest.mark.parametrize("place", EXTRAS)
def test_what_is_imported_is_declared(place: str) -> None:
    """Nothing is used that only comes along with something else."""
    clients = CLIENTS if place == "tests" else set()
    assert imported(place) <= declared(*EXTRAS[place]) | clients


def test_what_is_declared_for_the_worker_is_imported() -> None:
    """A worker installs nothing that it does not use."""
    by_others = {"python-multipart", "websockets"}  # starlette and uvicorn import them, if present
    assert declared() <= imported("higgs_worker") | imported("handler.py") | by_others


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_names_versions_and_hashes(name: str) -> None:
    """Every line has one version and its hashes, and no address; torch stands in pyproject.toml."""
    lines = [line for each in locked(name).values() for line in each]
    form = re.compile(r"[\w.-]+==[\w.+!]+( ; [^#]*?)?( --hash=sha256:[0-9a-f]{64})+")
    assert [line for line in lines if not form.fullmatch(line)] == []
    assert not any("://" in line for line in lines)
    assert any(re.fullmatch(r"torch==[\d.]+", each) for each in PROJECT["dependencies"])


def test_locks_are_of_what_is_declared() -> None:
    """`make lock` has seen the present declarations, and both locks name the same versions."""
    worker, everything = locked("requirements.lock"), locked("requirements-dev.lock")
    assert declared() - {"torch"} <= worker.keys()
    assert declared(*PROJECT["optional-dependencies"]) - {"torch"} <= everything.keys()
    assert {name: everything.get(name) for name in worker} == worker
    assert locked("requirements-clients.lock").keys() >= CLIENTS


def test_what_is_installed_is_locked() -> None:
    """What checks and tests are run with has the locked versions, down to the last package."""
    everything = locked("requirements-dev.lock")
    ours = {"higgs-worker", "pip", "torch", *locked("requirements-uv.lock")}
    for each in distributions():
        name = canonical(each.name)
        versions = {re.findall("==([^ ]+)", line)[0] for line in everything.get(name, [])}
        assert name in ours or each.version in versions, name
