"""The formats of the language model's numbers, which the operator chooses by one word."""

from dataclasses import dataclass

import torch

INT8 = "int8"


@dataclass(frozen=True, slots=True)
class NumberFormat:
    """How the model's numbers are held in memory."""

    dtype: torch.dtype
    """Of activations, keys and values, and of the weights, if those of the layers are not int8."""
    has_int8_layers: bool = False
    """Whether the layers' matrices, most of the weights, take 8 bits each. Embeddings, norms and
    head do not: errors there make a voice drift."""

    @classmethod
    def named(cls, name: str, device: torch.device) -> "NumberFormat":
        """Return a format; `auto` is the one that suits the device.

        Args:
            name: as HIGGS_DTYPE has it.
            device: where the weights will be.
        """
        if name == INT8:
            return cls(torch.bfloat16, has_int8_layers=True)
        if name == "auto":
            return cls(torch.bfloat16 if device.type == "cuda" else torch.float32)
        return cls(getattr(torch, name))

    def __str__(self) -> str:
        """Return its name, as HIGGS_DTYPE has it."""
        return INT8 if self.has_int8_layers else str(self.dtype).removeprefix("torch.")
