"""One environment for all tests: none of the worker's variables, one thread, no network.

After each test, what it logged and printed is searched for secrets.
"""

import logging
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.leaks import leaks

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

# A run starts a hundred interpreters. Where a container says that they write no bytecode, each of
# them would compile the same thousands of files.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TRANSFORMERS_VERBOSITY="error",
    # Toy models lose more to a second thread than they gain. Only this reaches every thread of a
    # process: `torch.set_num_threads` counts for the one that calls it.
    OMP_NUM_THREADS="1",
)
if not Path("/dev/nvidiactl").exists():
    # Triton's interpreter runs its kernels, and those of Triton itself. It must be chosen before
    # anything imports Triton, as transformers does.
    os.environ["TRITON_INTERPRET"] = "1"

_TOGETHER = {
    # They compare with transformers, which takes seconds to import.
    "tests/codec/": "with transformers",
    "tests/engine/": "with transformers",
    # They share a server.
    "tests/http/clients/": "with an HTTP server",
}
"""Directories whose tests run in one process."""

_SECRETS = ("SECRETS", "SENT_SECRET", "TOKEN")
"""What the modules of the tests call theirs."""


@pytest.hookimpl(optionalhook=True)  # a machine without xdist can run the tests too
def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are cores: tests of other processes mostly wait."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> "LoadFileScheduling | None":
    """Keep the tests of a file in one process, so that they share its workers and models.

    Another `--dist` than the default is left as it is.
    """
    if config.getvalue("dist") != "load":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            found = (name for each, name in _TOGETHER.items() if nodeid.startswith(each))
            return next(found, super()._split_scope(nodeid))

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("HIGGS_", "RUNPOD_", "AWS_", "BUCKET_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _every_line_is_logged() -> Iterator[None]:
    """Log at every level, so that all lines are searched; undo what a test sets up itself."""
    root = logging.getLogger()
    logging.getLogger("higgs_worker").setLevel(logging.DEBUG)
    handlers = root.handlers[:]
    yield
    root.handlers[:] = handlers


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose log or output holds a secret."""
    report = yield
    if report.when == "teardown" and report.passed and report.sections:
        found = leaks((text for _, text in report.sections), _secrets_in_use())
        if found:
            report.outcome = "failed"
            report.longrepr = f"secrets in what was logged or printed: {', '.join(found)}"
    return report


def _secrets_in_use() -> Iterator[str]:
    yield "hunter2"
    modules = [each for name, each in sys.modules.items() if name.startswith("tests.")]
    for found in (getattr(each, name, {}) for each in modules for name in _SECRETS):
        yield from [found] if isinstance(found, str) else found.values()
