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

    def run(self) -> None:
        """Launch it on the current stream."""
        options = {"num_warps": self.num_warps}
        if self.is_dependent:
            options["launch_pdl"] = True
        self.kernel[self.grid](
            **self.arguments, **self.constants, IS_DEPENDENT=self.is_dependent, **options
        )
