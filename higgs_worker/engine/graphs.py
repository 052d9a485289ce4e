"""The decode step as CUDA graphs: captured once per shape, replayed from then on.

A step of this model is some five hundred small kernels, which the host takes longer to launch than
the device to run. The eager step remains: it runs where there is no CUDA, it is what gets captured,
and it is the first step of every shape.
"""

from collections.abc import Callable, Hashable

from higgs_worker.cuda import Capture, Captures, Replay


class StepGraphs:
    """Steps by shape."""

    def __init__(self, capture: Capture | None) -> None:
        """Start without graphs; `capture` None leaves every step eager."""
        self._captures = Captures(capture)
        self._graphs: dict[Hashable, Replay] = {}

    @property
    def enabled(self) -> bool:
        """Whether steps were to be captured, so that padding them to few shapes pays."""
        return self._captures.enabled

    def is_missing(self, key: Hashable) -> bool:
        """Whether a step of this shape has no graph and may still get one."""
        return self._captures.can_capture and key not in self._graphs

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
        # The warm-up that a capture needs is a real step: nothing is computed twice. Capturing then
        # takes about as long as two eager steps and saves half of each from then on, so it is not
        # put off, even with others waiting (docs/performance.md).
        step()
        captured = self._captures.capture(step, key)
        if captured is not None:
            self._graphs[key] = captured

    def forget(self, key: Hashable) -> None:
        """Drop the graph of a shape, if there is one."""
        self._graphs.pop(key, None)
