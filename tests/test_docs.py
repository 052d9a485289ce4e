"""The generated tables of the documentation agree with the code."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import slots

DOCS = Path(__file__).parent.parent / "docs"


def generator() -> ModuleType:
    """Return the script that writes the pages, as a module."""
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["requests.md", "settings.md"])
def test_pages_are_up_to_date(name: str) -> None:
    """Each page is what `make docs` would write."""
    assert (DOCS / name).read_text(encoding="utf-8") == generator().page(name)


def test_the_table_of_cards_is_the_plans() -> None:
    """Slots and references of each card are what the plan of memory gives."""
    guide = (DOCS / "runpod-serverless-guide.md").read_text(encoding="utf-8")
    assert slots.table() in guide
