"""A convolution inside a stream: without padding, and with its precision on a GPU as an argument.

TF32 rounds what is multiplied to 10 bits of mantissa, which tensor cores take, and still adds in
float32. torch's switch for it belongs to the process, in which the encoder, whose codes must be
exact, and the language model compute in other threads. So no call asks that switch: each says for
itself what it allows, launched one by one or captured, through the operator that `F.conv1d` and
`F.conv_transpose1d` consist of. A CPU and cards before Ampere have no TF32 and are always exact.
"""

import torch
from torch import Tensor, nn


class Convolution:
    """The weights of a `Conv1d` or `ConvTranspose1d`, as they are now."""

    def __init__(self, conv: nn.Conv1d | nn.ConvTranspose1d, *, allow_tf32: bool) -> None:
        self._conv = conv
        self._allow_tf32 = allow_tf32

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs [B, C_out, S_out] of x [B, C_in, S_in] and of nothing around it."""
        conv = self._conv
        return torch._convolution(
            x,
            conv.weight,
            conv.bias,
            conv.stride,
            padding=[0],
            dilation=conv.dilation,
            transposed=conv.transposed,
            output_padding=[0],
            groups=1,
            benchmark=False,
            deterministic=False,
            cudnn_enabled=True,
            allow_tf32=self._allow_tf32,
        )
