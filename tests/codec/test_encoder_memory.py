"""What the encoder's memory is said to be, against what its tensors take."""

from dataclasses import replace

import pytest
import torch

from benchmarks.gpu.scale import REAL, TINY
from higgs_worker.codec.encoder import CodecEncoder
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.codec.encoder_memory import encoder_bytes
from tests.fakes.live_bytes import LiveBytes

PUBLISHED = REAL.codec
CPU, META = torch.device("cpu"), torch.device("meta")
WIDE_HUBERT = replace(
    TINY.codec,
    hubert=replace(TINY.codec.hubert, conv_channels=(256,) * 7),
)
"""A semantic path that needs more than the acoustic one."""


def encoder_peak(config: EncoderConfig, length_s: float, device: torch.device) -> int:
    """Return the most bytes that an encoder's tensors take during one reference, its PCM included.

    On the meta device tensors have sizes and no values.
    """
    with device:
        encoder = CodecEncoder(config).requires_grad_(False).eval()
    with LiveBytes() as live, torch.inference_mode():
        encoder(torch.zeros((1, round(length_s * config.codec.sample_rate)), device=device))
    return live.peak


def weight_bytes(config: EncoderConfig) -> int:
    """Return the bytes of an encoder's weights."""
    with META:
        return sum(tensor.nbytes for tensor in CodecEncoder(config).state_dict().values())


def test_the_published_encoder_in_numbers() -> None:
    """0.65 GB of weights; 0.96 GB with a reference of a minute, 1.57 with the longest of all."""
    assert weight_bytes(PUBLISHED) == pytest.approx(0.65e9, rel=0.01)
    needed = [encoder_bytes(PUBLISHED, length_s) / 1e9 for length_s in (10, 60, 180, 600)]
    assert needed == pytest.approx([0.90, 0.96, 0.99, 1.57], abs=0.01)


@pytest.mark.parametrize("length_s", [10.0, 60.0, pytest.param(300.0, marks=pytest.mark.slow)])
def test_a_reference_takes_what_is_counted(length_s: float) -> None:
    """Published sizes: the most that is there during a reference, within 2 % and 1 MB."""
    peak = encoder_peak(PUBLISHED, length_s, META) + weight_bytes(PUBLISHED)
    counted = encoder_bytes(PUBLISHED, length_s)
    assert peak <= counted <= 1.02 * peak + 1e6


@pytest.mark.parametrize("length_s", [4.0, 21.0])
@pytest.mark.parametrize("config", [TINY.codec, WIDE_HUBERT], ids=["acoustic", "semantic"])
def test_a_reference_takes_on_a_cpu_what_is_counted(config: EncoderConfig, length_s: float) -> None:
    """With values, whichever path needs more: never more than is counted, within a tenth."""
    activations = encoder_bytes(config, length_s) - weight_bytes(config)
    assert 0.9 < encoder_peak(config, length_s, CPU) / activations <= 1
