"""Fixtures that several tests of the codec use."""

import pytest
import torch

from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.loader import load_decoder
from tests.codec.streams import DEMO_CODEC


@pytest.fixture(scope="session")
def decoder() -> CodecDecoder:
    """The demo codec: the published rates, narrow layers."""
    return load_decoder(DEMO_CODEC, torch.device("cpu"))[0]
