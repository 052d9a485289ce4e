"""The snippets of docs/clients.md, with another address in them."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "clients.md"
ADDRESS = "127.0.0.1:8000"


def recipes(heading: str, address: str) -> list[str]:
    """Return the snippets under a heading.

    Args:
        heading: of the page.
        address: host and port of a server, in place of the page's.
    """
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    section, _, _ = section.partition("\n## ")
    found = re.findall(r"^```\w+\n(.*?)^```", section, re.M | re.S)
    assert found, heading
    assert all(ADDRESS in each for each in found), heading
    return [each.replace(ADDRESS, address) for each in found]


def run_python(snippet: str, **names: object) -> dict[str, object]:
    """Run a snippet, which may use these names, and return all that it has then."""
    exec(compile(snippet, PAGE.name, "exec"), names)
    return names
