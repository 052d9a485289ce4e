"""One server for the tests of all clients: its start takes longer than they do."""

from collections.abc import Iterator

import pytest

from tests.fakes.http_worker import SECRETS, HttpWorker

KEY = SECRETS["HIGGS_API_KEY"]


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpWorker]:
    """A server with a key."""
    with HttpWorker(tmp_path_factory.mktemp("worker")) as worker:
        yield worker


@pytest.fixture
def key() -> str:
    """The key of that server."""
    return KEY
