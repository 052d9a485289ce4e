"""A card for Triton where there is none: it compiles for it, and launches are counted, not run."""

from collections import Counter
from typing import Any

import torch
from triton.backends.compiler import GPUTarget


class Utilities:
    """What Triton asks of the C module."""

    def get_device_properties(self, device: int) -> dict[str, int]:
        """Return an H100's."""
        return {"max_shared_mem": 232_448}

    def load_binary(self, name: str, kernel: bytes, shared: int, device: int) -> tuple[object, ...]:
        """Load nothing: module, function, registers, spills, most threads."""
        assert kernel
        return object(), name, 0, 0, 1024


class Card:
    """Stands in for Triton's driver of an H100."""

    utils = Utilities()

    def __init__(self) -> None:
        self.launched: Counter[str] = Counter()

    def get_current_target(self) -> GPUTarget:
        """Return what is compiled for."""
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        """Return the only one."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """Return the default one."""
        return 0

    def get_active_torch_device(self) -> torch.device:
        """Return where the tensors are."""
        return torch.device("cpu")

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        """Return what launches a kernel: here it only counts."""

        def launch(*_: object) -> None:
            self.launched[metadata.name] += 1

        return launch
