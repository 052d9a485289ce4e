"""How far a transfer of weights is, for the log and for a callback.

The log gets a line every few seconds and the callback a call a few times a second, however often
bytes arrive.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger(__name__)

Stage = Literal["checking", "pulling"]


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far one repository is."""

    repo: str
    stage: Stage
    num_bytes: int
    total_bytes: int
    bytes_per_s: float
    left_s: float | None
    """Estimated time left; None until a rate is known."""

    @property
    def sentence(self) -> str:
        """The progress as a text for a user who waits."""
        share = self.num_bytes / max(1, self.total_bytes)
        left = "" if self.left_s is None else f", about {self.left_s:.0f} s left"
        return f"{self.stage} {self.repo}: {share:.0%} of {self.total_bytes / 1e9:.1f} GB{left}"


OnTransferProgress = Callable[[TransferProgress], None]


class LastProgress:
    """Keeps the latest progress of a transfer, for status reports."""

    def __init__(self) -> None:
        self._transfer: TransferProgress | None = None

    def __call__(self, transfer: TransferProgress) -> None:
        """Store the progress; an `OnTransferProgress`."""
        self._transfer = transfer

    def sentence(self) -> str:
        """Return the progress as a text; "" when no transfer is running."""
        transfer = self._transfer
        if transfer is None or transfer.num_bytes >= transfer.total_bytes:
            return ""
        return transfer.sentence


class Reporter:
    """Reports how far one stage is, to the log and a callback; for one thread at a time."""

    def __init__(
        self,
        repo: str,
        stage: Stage,
        *,
        on_progress: OnTransferProgress | None = None,
        total_bytes: int = 0,
        num_bytes: int = 0,
        call_s: float = 0.2,
        log_s: float = 5.0,
    ) -> None:
        """
        Args:
            repo: the name to show.
            stage: what is being done.
            on_progress: called in the thread that does the work; it must not block.
            total_bytes: at the end of the stage.
            num_bytes: present when the stage starts; they do not count for the rate.
            call_s: the shortest time between two calls.
            log_s: the shortest time between two log lines, and before the first.
        """
        self._repo, self._stage = repo, stage
        self._on_progress = on_progress
        self._total_bytes = total_bytes
        self._first_bytes = self._num_bytes = num_bytes
        self._call_s, self._log_s = call_s, log_s
        self._started_at = self._logged_at = time.monotonic()
        self._called_at = float("-inf")

    def add(self, num_bytes: int) -> None:
        """Report that many bytes more."""
        self.update(self._num_bytes + num_bytes)

    def update(self, num_bytes: int) -> None:
        """Report how many bytes there are now; the last byte always reaches the callback."""
        self._num_bytes = min(num_bytes, self._total_bytes)
        now = time.monotonic()
        is_done = self._num_bytes == self._total_bytes
        if self._on_progress and (is_done or now - self._called_at >= self._call_s):
            self._called_at = now
            self._on_progress(self._progress())
        if now - self._logged_at >= self._log_s:
            self._logged_at = now
            self._log()

    def _progress(self) -> TransferProgress:
        elapsed_s = max(time.monotonic() - self._started_at, 1e-6)
        rate = max(self._num_bytes - self._first_bytes, 0) / elapsed_s
        left_s = (self._total_bytes - self._num_bytes) / rate if rate else None
        return TransferProgress(
            self._repo, self._stage, self._num_bytes, self._total_bytes, rate, left_s
        )

    def _log(self) -> None:
        progress = self._progress()
        log.info(
            "%s %s",
            progress.stage,
            progress.repo,
            extra={
                "num_bytes": progress.num_bytes,
                "total_bytes": progress.total_bytes,
                "mb_per_s": round(progress.bytes_per_s / 1e6, 1),
                "left_s": None if progress.left_s is None else round(progress.left_s, 1),
            },
        )
