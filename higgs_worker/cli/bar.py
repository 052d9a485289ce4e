"""A bar of progress on a terminal, and nothing anywhere else."""

import sys
from types import TracebackType

_WIDTH = 30


class Bar:
    """One line on stderr that shows how far something is."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._is_shown = sys.stderr.isatty()

    def show(self, fraction: float, note: str = "") -> None:
        """Draw it anew."""
        if self._is_shown:
            done = round(_WIDTH * min(1.0, max(0.0, fraction)))
            bar = "█" * done + "░" * (_WIDTH - done)
            sys.stderr.write(f"\r\033[K{self._title} {bar} {fraction:4.0%} {note}")
            sys.stderr.flush()

    def __enter__(self) -> "Bar":
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the line."""
        if self._is_shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
