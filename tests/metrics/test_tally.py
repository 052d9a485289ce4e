"""Sums and distributions: what was recorded, whoever recorded it."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from higgs_worker.metrics.metric import Metric
from higgs_worker.metrics.tally import Histogram, Tally

COUNTED = Metric("counted_total", "counter", "", ("kind",))
TIMED = Metric("timed_seconds", "histogram", "", (), (0.1, 1.0, 10.0))


def test_many_threads_lose_nothing() -> None:
    """Eight threads record at once, and every one of their records is there."""
    tally, histogram = Tally(COUNTED), Histogram(TIMED)

    def record(number: int) -> None:
        for _ in range(1000):
            tally.add(str(number % 2), amount=0.5)
            histogram.record(0.25)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(record, range(8)))
    assert tally.read() == {("0",): 2000.0, ("1",): 2000.0}
    found = histogram.read()[()]
    assert (found.counts, found.count, found.total) == ((0, 8000, 0, 0), 8000, 2000.0)


def test_a_bound_belongs_to_its_bucket() -> None:
    """As in Prometheus, where a bucket holds what is less than or equal to its bound."""
    histogram = Histogram(TIMED)
    for value in (0.1, 0.100001, 1.0, 10.0, 10.5):
        histogram.record(value)
    assert histogram.read()[()].counts == (1, 2, 1, 1)


def test_a_figure_without_labels_is_there_from_the_start() -> None:
    """As zero; one with labels has no values that nobody has seen."""
    assert Tally(Metric("plain_total", "counter", "")).read() == {(): 0.0}
    assert Histogram(TIMED).read()[()].count == 0
    assert Tally(COUNTED).read() == {}


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_quantile_lies_in_the_right_bucket(share: float) -> None:
    """The estimate is between the bounds around the true value."""
    rng = random.Random(7)
    values = sorted(rng.expovariate(1.0) for _ in range(1000))
    histogram = Histogram(TIMED)
    for value in values:
        histogram.record(value)
    true = values[int(share * 1000)]
    bounds = [0.0, *TIMED.buckets]
    low = max(bound for bound in bounds if bound < true)
    high = min(bound for bound in bounds if bound >= true)
    assert low <= histogram.read()[()].quantile(share) <= high


def test_a_quantile_above_all_bounds_is_the_last_bound() -> None:
    """Nobody knows how far above it was."""
    histogram = Histogram(TIMED)
    histogram.record(1000.0)
    assert histogram.read()[()].quantile(0.5) == 10.0
