"""Dependent launches: a kernel is set up while the one before it still runs.

It must then wait itself until that one has ended and what it wrote can be read; and only after that
may it let the next one be set up, or that could overtake the one before.
Source: CUDA programming guide, "Programmatic Dependent Launch"; compute capability 9.0 and newer.
"""

import triton
import triton.language as tl
from triton.language.extra import cuda


@triton.jit
def begin(IS_DEPENDENT: tl.constexpr):
    """Wait for the kernel before this one; every kernel of a step begins so."""
    if IS_DEPENDENT:
        cuda.gdc_wait()
        cuda.gdc_launch_dependents()
