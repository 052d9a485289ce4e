"""Convolutions inside a stream: torch's own, and each call says whether TF32 is allowed."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from higgs_worker.codec.convolution import Convolution
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.streaming import CodecPiece, StreamingDecoder
from tests.codec.streams import random_codes
from tests.fakes.twin_capture import TwinCapture


class ConvolutionWatch(TorchDispatchMode):
    """Records what each convolution is told about TF32."""

    def __init__(self) -> None:
        super().__init__()
        self.allowed: list[bool] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Record the operator's last argument, and run it."""
        if "convolution" in str(func):
            assert func is torch.ops.aten._convolution.default
            self.allowed.append(args[-1])
        return func(*args, **(kwargs or {}))


@pytest.fixture
def process_switch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's switch stands the other way than `turn_tf32_off` leaves it."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    yield
    assert torch.backends.cudnn.allow_tf32, "a stream has changed it"


def random_input(channels: int) -> Tensor:
    """Draw [2, channels, 40]."""
    return torch.randn(2, channels, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("allow_tf32", [False, True])
@pytest.mark.parametrize("dilation", [1, 3, 9])
def test_it_gives_the_bits_of_torch(dilation: int, allow_tf32: bool) -> None:
    """On a CPU, whatever is allowed; the module's padding is left out."""
    conv = nn.Conv1d(6, 4, 3, dilation=dilation, padding=dilation).requires_grad_(False)
    x = random_input(6)
    expected = F.conv1d(x, conv.weight, conv.bias, dilation=dilation)
    assert torch.equal(Convolution(conv, allow_tf32=allow_tf32)(x), expected)


@pytest.mark.parametrize("allow_tf32", [False, True])
def test_transposed_it_gives_the_bits_of_torch(allow_tf32: bool) -> None:
    """All its outputs, the module's padding not cut off."""
    conv = nn.ConvTranspose1d(6, 4, 10, 5, padding=3, output_padding=1).requires_grad_(False)
    x = random_input(6)
    expected = F.conv_transpose1d(x, conv.weight, conv.bias, stride=5)
    assert torch.equal(Convolution(conv, allow_tf32=allow_tf32)(x), expected)


@pytest.mark.parametrize("allow_tf32", [False, True])
@pytest.mark.parametrize("is_captured", [False, True])
@pytest.mark.usefixtures("process_switch")
def test_every_call_says_what_it_allows(
    decoder: CodecDecoder, is_captured: bool, allow_tf32: bool
) -> None:
    """All 37 convolutions, at the ends and inside, eager or as a graph holds them."""
    capture = TwinCapture() if is_captured else None
    streaming = StreamingDecoder(decoder, 1, allow_tf32=allow_tf32, capture=capture)
    streaming.prepare()
    streaming.open(0)
    with ConvolutionWatch() as watch:
        for is_last in (False, False, True):
            streaming.advance([CodecPiece(0, random_codes(1, 16), is_last=is_last)])
    # The last piece and the lag behind it take two of the captured calls.
    assert len(watch.allowed) == 37 * (4 if is_captured else 3)
    assert set(watch.allowed) == {allow_tf32}


def test_exact_is_the_default(decoder: CodecDecoder) -> None:
    """TF32 is only used where it was asked for."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    with ConvolutionWatch() as watch:
        streaming.advance([CodecPiece(0, random_codes(1, 10))])
    assert set(watch.allowed) == {False}
