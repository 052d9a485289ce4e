"""CUDA graphs of the step: captured once per shape, replayed ever after.

A step of this model is some five hundred small kernels; launching them one by one takes the host
longer than the device needs to run them. The eager step stays as it is: it runs where there is no
CUDA, it is what gets captured, and the first step of every shape.
"""

import logging
from collections.abc import Callable, Hashable

from higgs_worker.cuda_graphs import Capture, Replay

log = logging.getLogger(__name__)


class StepGraphs:
    """Steps by shape. `capture` is None where there is nothing to capture with."""

    def __init__(self, capture: Capture | None) -> None:
        self._capture = capture
        self._graphs: dict[Hashable, Replay] = {}
        self._failed: set[Hashable] = set()
        """Shapes that stay eager."""

    @property
    def enabled(self) -> bool:
        """Whether shapes should be padded to few sizes."""
        return self._capture is not None

    def run(self, key: Hashable, step: Callable[[], None]) -> None:
        """Do one step, eagerly the first time and by replay from then on.

        Args:
            key: everything that decides shapes and branches.
            step: works in place on tensors that stay where they are.
        """
        graph = self._graphs.get(key)
        if graph is not None:
            graph.replay()
            return
        # This one counts, and doubles as the warm-up that a capture needs: nothing is done twice.
        step()
        if self._capture is None or key in self._failed:
            return
        try:
            self._graphs[key] = self._capture(step)
        except Exception:
            # The step itself went well, and goes on to do so, only slower.
            log.exception("a step could not be captured", extra={"shape": str(key)})
            self._failed.add(key)
