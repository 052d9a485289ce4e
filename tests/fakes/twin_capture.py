"""A capture without CUDA: a replay runs the captured computation again."""

from collections.abc import Callable


class TwinReplay:
    """Runs the computation itself again: the slow twin of a graph."""

    def __init__(self, computation: Callable[[], None]) -> None:
        self._computation = computation
        self.num_replays = 0

    def replay(self) -> None:
        """Run it once more."""
        self.num_replays += 1
        self._computation()


class TwinCapture:
    """Stands in for CUDA's capture; like that, it runs nothing while capturing."""

    def __init__(self) -> None:
        self.captured: list[TwinReplay] = []

    def __call__(self, computation: Callable[[], None]) -> TwinReplay:
        """Store the computation."""
        self.captured.append(TwinReplay(computation))
        return self.captured[-1]

    @property
    def num_replays(self) -> int:
        """Replays of all graphs together."""
        return sum(graph.num_replays for graph in self.captured)
