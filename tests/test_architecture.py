"""docs/architecture.md tells what is there, and a name has one meaning over the tree."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "higgs_worker"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MAX_WORDS = 25


def section(title: str) -> str:
    """Return a section of the page, without its title."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def test_the_layers_are_those_that_are_checked() -> None:
    """The page's block is import-linter's contract, line for line."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    block = re.search(r"```\n(.*?)```", section("Which way imports point"), re.DOTALL)
    assert block
    assert block[1].split("\n")[:-1] == layers


def test_every_package_and_module_at_the_top_is_shown() -> None:
    """The tree leaves out none of them, and shows none that is not there."""
    tree = section("The packages")
    packages = {each.parent.name + "/" for each in PACKAGE.glob("*/__init__.py")}
    assert packages == {
        each for each in re.findall(r"^├── (\w+/)|^└── (\w+/)", tree, re.M) for each in each if each
    }
    modules = {each.name for each in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    shown = set(re.findall(r"\b(\w+\.py)\b", tree)) - {"handler.py", "presets.py"}
    assert shown == modules


def test_a_job_takes_ten_short_sentences() -> None:
    """Numbered, and none longer than can be read at once."""
    steps = re.findall(r"^(\d+)\. (.*)$", section("One job in ten steps"), re.MULTILINE)
    assert [int(number) for number, _ in steps] == list(range(1, 11))
    assert [text for _, text in steps if len(text.split()) > MAX_WORDS] == []


def classes(*folders: str) -> Counter[str]:
    """Count the names of the classes at the top level of modules."""
    return Counter(
        node.name
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )


@pytest.mark.parametrize("folder", ["higgs_worker", "training", "benchmarks"])
def test_a_class_name_stands_for_one_thing(folder: str) -> None:
    """Nobody has to ask which of two is meant."""
    found = classes("higgs_worker", *({folder} - {"higgs_worker"}))
    assert [name for name, count in found.items() if count > 1] == []


def test_a_module_has_one_noun_and_few_lines() -> None:
    """Beyond 400 lines it holds two."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert long == {}
