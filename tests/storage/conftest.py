"""A bucket of a real S3 server, the way to it, and a folder for each test."""

from collections.abc import Iterator
from typing import Any

import pytest

from higgs_worker.errors import WorkerError
from higgs_worker.storage.storage import Storage
from higgs_worker.storage.upload import StoredObject
from tests.fakes.fault_proxy import Fault, FaultProxy
from tests.fakes.leaks import leaks
from tests.fakes.s3 import SECRETS, config, library_files_read_once, opened, server


@pytest.fixture(scope="session")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return where the server listens."""
    with server(tmp_path_factory) as port:
        yield port


@pytest.fixture(autouse=True, scope="session")
def _quick_connections() -> Iterator[None]:
    with library_files_read_once():
        yield


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Return a folder that no other test has."""
    return f"higgs/{request.node.name}/"


@pytest.fixture
def storage(port: int) -> Storage:
    """Return the bucket."""
    return opened(config(port))


@pytest.fixture(scope="session")
def way(port: int) -> Iterator[FaultProxy]:
    """Return a way to the server that may fail."""
    with FaultProxy(port) as proxy:
        yield proxy


@pytest.fixture
def proxy(way: FaultProxy) -> FaultProxy:
    """Return it as new."""
    way.fail(Fault, times=0)
    way.cut()
    way.num_connections = 0
    return way


@pytest.fixture(autouse=True)
def _nothing_leaks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Look for the secrets in every error and result of each test.

    Log lines, here those of the libraries too, are looked through for all tests alike.
    """
    seen: list[str] = []

    def note(kind: type) -> None:
        make = kind.__init__  # type: ignore[misc]

        def noted(self: Any, *args: Any, **named: Any) -> None:
            make(self, *args, **named)
            seen.append(f"{self!r} {vars(self) if isinstance(self, WorkerError) else ''}")

        monkeypatch.setattr(kind, "__init__", noted)

    note(WorkerError)
    note(StoredObject)
    caplog.set_level("DEBUG")
    yield
    assert leaks(seen, [*SECRETS.values(), "hunter2"]) == []
