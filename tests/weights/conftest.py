"""What all tests of weights share."""

from pathlib import Path

import pytest

from tests.fakes.web import write_one_authority


@pytest.fixture(scope="session")
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of certificates that loads quickly."""
    return write_one_authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _few_certificates(one_authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))
