"""The figures as lines of the log, for workers that nobody scrapes."""

import logging
import threading
from typing import Any

from higgs_worker.metrics.tally import Distribution
from higgs_worker.metrics.worker_metrics import Values, WorkerMetrics

EVERY_S = 60.0
"""Often enough to see what happened when, and a small part of what a busy worker logs."""

log = logging.getLogger(__name__)


class MinuteLog:
    """Logs the figures while something happens, and at the end. A context manager.

    Each line has the sums since the worker's start, so the last one has everything.
    """

    def __init__(self, metrics: WorkerMetrics, every_s: float = EVERY_S) -> None:
        self._metrics = metrics
        self._every_s = every_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="minute log", daemon=True)
        self._logged = _happened(metrics)

    def __enter__(self) -> "MinuteLog":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._log()

    def _run(self) -> None:
        while not self._is_over.wait(self._every_s):
            self._log()

    def _log(self) -> None:
        if (happened := _happened(self._metrics)) != self._logged:
            self._logged = happened
            log.info("figures", extra=line(self._metrics))


def line(metrics: WorkerMetrics) -> dict[str, Any]:
    """Return the figures that are not zero by their names, as a line of the log has them.

    A figure with labels is an object, whose keys are the labels' values, joined by `/`.
    """
    told = {metric.name: _told(values) for metric, values in metrics.read().items()}
    return {name: value for name, value in told.items() if value}


def _told(values: Values) -> Any:
    found = {"/".join(labels): _number(value) for labels, value in values.items()}
    found = {labels: value for labels, value in found.items() if value}
    return found.get("") if "" in found else found


def _number(value: float | Distribution) -> Any:
    if not isinstance(value, Distribution):
        return round(value, 3)
    if not value.count:
        return None
    return {
        "count": value.count,
        "sum": round(value.total, 3),
        "p50": round(value.quantile(0.5), 3),
        "p95": round(value.quantile(0.95), 3),
    }


def _happened(metrics: WorkerMetrics) -> dict[str, Values]:
    """Return what only grows: where that stays as it was, nothing happened."""
    return {each.name: values for each, values in metrics.read().items() if each.kind != "gauge"}
