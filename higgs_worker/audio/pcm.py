"""The type of sound that passes between packages."""

import numpy as np
from numpy.typing import NDArray

PCM = NDArray[np.float32]
"""[S], mono, nominally in [-1, 1]."""
