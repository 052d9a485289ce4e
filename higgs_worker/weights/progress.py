"""What bounds a transfer of weights, and what is told of it while it runs.

Progress goes to the log every few seconds and to a callback a few times a second, however often
bytes arrive. Knows neither the hub nor the volume.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

log = logging.getLogger(__name__)

Stage = Literal["checking", "pulling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once and for how long; the defaults suit 12 GB over 0.1 to 10 Gbit/s."""

    deadline_s: float = 3600.0
    """For everything together: waiting for another worker, asking, pulling."""
    patience_s: float = 60.0
    """For `min_progress_bytes` to arrive; then the hub counts as out of reach."""
    min_progress_bytes: int = 1 << 20
    answer_s: float = 30.0
    """For the head of an answer, redirects included."""
    silence_s: float = 10.0
    """For the next bytes of a body, and for a connection."""
    slow_s: float = 20.0
    """Over which a connection must give `min_bytes_per_s`, or another one is tried."""
    min_bytes_per_s: int = 8 << 10
    retry_s: float = 0.5
    """Before the first retry; doubles from one to the next, up to sixteen times."""
    block_bytes: int = 16 << 20
    """What has a digest of its own: the least that a killed worker loses and a repair fetches."""
    request_blocks: int = 8
    """Per request: 90 requests for 12 GB, far below the hub's limits of rate."""
    num_connections: int = 8
    beat_s: float = 3.0
    """Between two signs of life of the worker that pulls."""
    stale_s: float = 30.0
    """Without a sign of life, until another worker takes over."""


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far one repository is."""

    repo: str
    stage: Stage
    num_bytes: int
    total_bytes: int
    bytes_per_s: float
    left_s: float | None
    """None until a rate is known."""

    @property
    def sentence(self) -> str:
        """Say it to somebody who waits."""
        share = self.num_bytes / max(1, self.total_bytes)
        left = "" if self.left_s is None else f", about {self.left_s:.0f} s left"
        return f"{self.stage} {self.repo}: {share:.0%} of {self.total_bytes / 1e9:.1f} GB{left}"


OnTransferProgress = Callable[[TransferProgress], None]


class LastProgress:
    """Keeps what was told last, for whoever asks."""

    def __init__(self) -> None:
        self._transfer: TransferProgress | None = None

    def __call__(self, transfer: TransferProgress) -> None:
        """Take note."""
        self._transfer = transfer

    def sentence(self) -> str:
        """Say how far it is; "" where nothing is under way."""
        transfer = self._transfer
        if transfer is None or transfer.num_bytes >= transfer.total_bytes:
            return ""
        return transfer.sentence


class Reporter:
    """Tells log and callback how far a stage is; not for several threads at once."""

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
        """Begin a stage.

        Args:
            repo: the name shown.
            stage: what is being done.
            on_progress: is called in the thread that does the work; it must not block.
            total_bytes: at the end.
            num_bytes: there already when it begins; they do not count for the rate.
            call_s: between two calls.
            log_s: between two log lines; the first comes only after that time.
        """
        self._repo, self._stage = repo, stage
        self._on_progress = on_progress
        self._total = total_bytes
        self._first = self._num_bytes = num_bytes
        self._call_s, self._log_s = call_s, log_s
        self._began = self._logged = time.monotonic()
        self._called = float("-inf")

    def add(self, num_bytes: int) -> None:
        """Say how many bytes more there are."""
        self.update(self._num_bytes + num_bytes)

    def update(self, num_bytes: int) -> None:
        """Say how many bytes there are now; the last byte is always told."""
        self._num_bytes = min(num_bytes, self._total)
        now = time.monotonic()
        is_done = self._num_bytes == self._total
        if self._on_progress and (is_done or now - self._called >= self._call_s):
            self._called = now
            self._on_progress(self.now())
        if now - self._logged >= self._log_s:
            self._logged = now
            self._log()

    def now(self) -> TransferProgress:
        """Return the state of this moment."""
        elapsed = max(time.monotonic() - self._began, 1e-6)
        rate = max(self._num_bytes - self._first, 0) / elapsed
        left_s = (self._total - self._num_bytes) / rate if rate else None
        return TransferProgress(self._repo, self._stage, self._num_bytes, self._total, rate, left_s)

    def _log(self) -> None:
        now = self.now()
        log.info(
            "%s %s",
            now.stage,
            now.repo,
            extra={
                "num_bytes": now.num_bytes,
                "total_bytes": now.total_bytes,
                "mb_per_s": round(now.bytes_per_s / 1e6, 1),
                "left_s": None if now.left_s is None else round(now.left_s, 1),
            },
        )
