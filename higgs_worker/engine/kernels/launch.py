"""One kernel with all that it is called with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch that can be made any number of times, and be captured."""

    name: str
    kernel: Any
    """A function that Triton compiles at its first launch."""
    grid: tuple[int, ...]
    """Programs."""
    arguments: Mapping[str, Tensor | int | float]
    constants: Mapping[str, int | bool]
    num_warps: int
    is_dependent: bool
    """See `dependent.py`."""

    @property
    def options(self) -> dict[str, int | bool]:
        """What decides, beside the arguments' types, what is compiled."""
        options = {**self.constants, "IS_DEPENDENT": self.is_dependent, "num_warps": self.num_warps}
        return options | {"launch_pdl": True} if self.is_dependent else options

    def run(self) -> None:
        """Launch it on the current stream."""
        self.kernel[self.grid](**self.arguments, **self.options)
