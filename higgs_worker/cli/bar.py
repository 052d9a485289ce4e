"""A progress bar on a terminal, and nothing where stderr is a file or a pipe."""

import sys
from types import TracebackType

_WIDTH = 30


class Bar:
    """One line on stderr that shows progress; a context manager, which clears it at the end."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._is_shown = sys.stderr.isatty()

    def show(self, fraction: float, note: str = "") -> None:
        """Draw the bar again.

        Args:
            fraction: how much is done, from 0 to 1.
            note: what stands behind the bar.
        """
        if self._is_shown:
            done = round(_WIDTH * min(1.0, max(0.0, fraction)))
            bar = "█" * done + "░" * (_WIDTH - done)
            sys.stderr.write(f"\r\033[K{self._title} {bar} {fraction:4.0%} {note}")
            sys.stderr.flush()

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
