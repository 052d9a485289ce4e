"""The generated tables of the documentation agree with the code."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import slots

DOCS = Path(__file__).parent.parent / "docs"


def script(name: str) -> ModuleType:
    """Return a script that writes pages, as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["requests.md", "settings.md", "metrics.md"])
def test_pages_are_up_to_date(name: str) -> None:
    """Each page is what `make docs` would write."""
    assert (DOCS / name).read_text(encoding="utf-8") == script("generate").page(name)


def test_the_notices_are_of_what_is_locked() -> None:
    """The table has what the image installs, in the locked versions, each with its licence."""
    notices = script("third_party")
    text = notices.PAGE.read_text(encoding="utf-8").partition(notices.MARKER)[2]
    rows = re.findall(r"^\| ([\w.-]+) \| (\d[^ ]*) \| (\S.*) \|$", text, re.MULTILINE)
    assert [(name, version) for name, version, _ in rows] == notices.carried()
    assert {"torch", "nvidia-cublas", "av", "uv"} <= {name for name, _, _ in rows}
    unstated = [name for name, _, licence in rows if licence == "not stated"]
    assert unstated == ["cuda-toolkit"]  # the page says so above the table


def test_a_package_says_its_licence_in_several_ways() -> None:
    """An expression counts alone; else the words and the classifiers; a whole text is no name."""
    licence = script("third_party").licence
    known = "License :: OSI Approved :: MIT License"
    assert licence({"license_expression": "MIT", "classifier": ["License :: Other"]}) == "MIT"
    assert licence({"license": "MIT", "classifier": [known]}) == "MIT"
    assert licence({"license": "Dual", "classifier": [known]}) == "Dual; MIT License"
    assert licence({"license": "Copyright\nAll rights", "classifier": [known]}) == "MIT License"
    assert licence({}) == "not stated"


def test_the_table_of_cards_is_the_plans() -> None:
    """Slots and references of each card are what the plan of memory gives."""
    guide = (DOCS / "runpod-serverless-guide.md").read_text(encoding="utf-8")
    assert slots.table() in guide
