"""The decode step as CUDA graphs: captured once per shape, replayed from then on.

A step of this model is some five hundred small kernels, which the host takes longer to launch than
the device to run. The eager step remains: it runs where there is no CUDA, it is what gets captured,
and it is the first step of every shape.
"""

import logging
from collections.abc import Callable, Hashable

from higgs_worker.cuda import Capture, Replay

log = logging.getLogger(__name__)


class StepGraphs:
    """Steps by shape."""

    def __init__(self, capture: Capture | None) -> None:
        """Start without graphs; `capture` None leaves every step eager."""
        self._capture = capture
        self._graphs: dict[Hashable, Replay] = {}
        self._failed: set[Hashable] = set()
        """Shapes that stay eager."""

    @property
    def enabled(self) -> bool:
        """Whether steps are captured, so that padding them to few shapes pays."""
        return self._capture is not None

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Run one step, eagerly the first time and by replay from then on.

        Args:
            key: everything that the step's shapes and branches depend on.
            step: works in place on tensors that stay where they are.
        """
        graph = self._graphs.get(key)
        if graph is not None:
            graph.replay()
            return
        # The warm-up that a capture needs is a real step: nothing is computed twice.
        step()
        if self._capture is None or key in self._failed:
            return
        try:
            self._graphs[key] = self._capture(step)
        except Exception:
            # Only the capture failed: the shape stays eager, which is slower and equally right.
            log.exception("a step could not be captured", extra={"shape": str(key)})
            self._failed.add(key)
