"""What is counted as it happens: sums, and distributions over buckets. Any thread may record.

Plain numbers without prometheus_client, which a queue worker does not need: its import would make
those of `handler.py` longer by a tenth.
"""

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from higgs_worker.metrics.metric import Metric

LabelValues = tuple[str, ...]


class Tally:
    """A sum that only grows, for each combination of label values."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._lock = threading.Lock()
        self._sums: dict[LabelValues, float] = {} if metric.labels else {(): 0.0}

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """Add to the sum of some label values, given in the order of the metric's labels."""
        with self._lock:
            self._sums[labels] = self._sums.get(labels, 0.0) + amount

    def read(self) -> Mapping[LabelValues, float]:
        """Return the sums so far."""
        with self._lock:
            return dict(self._sums)


@dataclass(frozen=True, slots=True)
class Distribution:
    """How values lie in a histogram's buckets."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    """Of each bucket, and of what lies above the last bound."""
    total: float
    """The sum of the values."""

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """Estimate the value that this share of all values, at least one, does not exceed.

        As PromQL's `histogram_quantile`: evenly within a bucket, and at most the last bound.
        """
        left = share * self.count
        low = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and left <= count:
                return low + (bound - low) * left / count
            left -= count
            low = bound
        return low


class Histogram:
    """Values sorted into buckets, for each combination of label values."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._lock = threading.Lock()
        self._counts: dict[LabelValues, list[int]] = {}
        self._totals: dict[LabelValues, float] = {}
        if not metric.labels:
            self._counts[()], self._totals[()] = self._empty(), 0.0

    def record(self, value: float, *labels: str) -> None:
        """Add a value under some label values."""
        bucket = bisect_left(self.metric.buckets, value)
        with self._lock:
            self._counts.setdefault(labels, self._empty())[bucket] += 1
            self._totals[labels] = self._totals.get(labels, 0.0) + value

    def read(self) -> Mapping[LabelValues, Distribution]:
        """Return the distributions so far."""
        with self._lock:
            return {
                labels: Distribution(self.metric.buckets, tuple(counts), self._totals[labels])
                for labels, counts in self._counts.items()
            }

    def _empty(self) -> list[int]:
        return [0] * (len(self.metric.buckets) + 1)
