"""A capture without CUDA: what is captured is kept, and replayed by running it again."""

from collections.abc import Callable


class TwinReplay:
    """Runs the step itself again: what a graph must do, the slow way."""

    def __init__(self, step: Callable[[], None]) -> None:
        self._step = step
        self.num_replays = 0

    def replay(self) -> None:
        """Do it once more."""
        self.num_replays += 1
        self._step()


class TwinCapture:
    """Stands in for CUDA's capture; like it, runs nothing while it captures."""

    def __init__(self) -> None:
        self.captured: list[TwinReplay] = []

    def __call__(self, step: Callable[[], None]) -> TwinReplay:
        """Keep the step for later."""
        self.captured.append(TwinReplay(step))
        return self.captured[-1]

    @property
    def num_replays(self) -> int:
        """Count them all."""
        return sum(graph.num_replays for graph in self.captured)
