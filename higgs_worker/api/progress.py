"""How the progress of a request is reported while it is spoken."""

from typing import Protocol


class OnProgress(Protocol):
    """Is told how far a request is; called in the event loop, as often as one likes."""

    def __call__(self, fraction: float, doing: str = "") -> None:
        """Accept the share of the text that was spoken, 0 to 1, and what else is under way."""
