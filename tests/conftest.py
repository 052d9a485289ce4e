"""One environment for all tests: none of the worker's variables, one torch thread, no network."""

import os

import pytest

os.environ.update(
    HF_HUB_OFFLINE="1", HF_HUB_DISABLE_PROGRESS_BARS="1", TRANSFORMERS_VERBOSITY="error"
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("HIGGS_", "RUNPOD_", "AWS_", "BUCKET_")):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Toy models lose more to a second thread than they gain."""
    import torch

    torch.set_num_threads(1)
