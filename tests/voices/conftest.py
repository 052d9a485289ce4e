"""What tests of voices share."""

import pytest

from higgs_worker.load import load_model
from higgs_worker.settings import Settings
from higgs_worker.speech.model import LoadedModel


@pytest.fixture(scope="session")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return the embedded model, with a volume that holds no voices and no codes at first."""
    volume = tmp_path_factory.mktemp("volume")
    settings = {"HIGGS_MODEL": "demo", "HIGGS_MAX_LENGTH": "1024", "HIGGS_MAX_SLOTS": "2"}
    return load_model(Settings.from_env(settings | {"HIGGS_VOLUME": str(volume)}))
