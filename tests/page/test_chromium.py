"""The browser of the tests is found, or its absence is said with what to do."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.page.chromium import NAMES, NoBrowser, find_chromium


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory of programs, an empty one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BROWSER", raising=False)
    return tmp_path


def add(directory: Path, name: str) -> str:
    """Make a program, and return its path."""
    (directory / name).symlink_to("/bin/true")
    return str(directory / name)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_found_by_its_name(programs: Path, name: str) -> None:
    """Debian's name, Ubuntu's and Google's will do."""
    path = add(programs, name)
    assert find_chromium() == path


def test_the_variable_comes_first(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BROWSER names another one, by name or path; a wrong one is not replaced in silence."""
    add(programs, "chromium")
    path = add(programs, "brave")
    for named in ("brave", path):
        monkeypatch.setenv("BROWSER", named)
        assert find_chromium() == path
    monkeypatch.setenv("BROWSER", "/opt/none")
    with pytest.raises(NoBrowser, match="BROWSER is '/opt/none', and there is no such program"):
        find_chromium()


def test_without_one_it_says_how_to_get_one(programs: Path) -> None:
    """`make test-page` ends with one sentence, not with a failure for each test."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.page.chromium"],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "apt-get install chromium" in done.stderr
    assert "BROWSER" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_run_without_a_browser_needs_no_playwright() -> None:
    """It collects these tests too, so they import Playwright where they use it, or for types."""
    for path in Path(__file__).parent.glob("*.py"):
        for each in ast.parse(path.read_text()).body:
            if isinstance(each, ast.Import | ast.ImportFrom):
                assert "playwright" not in ast.unparse(each), path.name
