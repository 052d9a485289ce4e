"""The figures as Prometheus reads them. The only module that imports prometheus_client."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from higgs_worker.metrics.metric import Metric
from higgs_worker.metrics.tally import Distribution
from higgs_worker.metrics.worker_metrics import Values, WorkerMetrics


class Exposition:
    """Writes the figures of one worker, and those of its process, when somebody asks."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_WorkerCollector(metrics))
        ProcessCollector(registry=self._registry)  # memory, CPU time, open files

    def text(self) -> tuple[bytes, str]:
        """Return the figures in Prometheus' text format, and its content type; asks no device."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4


class _WorkerCollector(Collector):
    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[MetricFamily]:
        """Yield each figure with its values now."""
        for metric, values in self._metrics.read().items():
            yield _family(metric, values)


def _family(metric: Metric, values: Values) -> MetricFamily:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
        for labels, value in values.items():
            if isinstance(value, Distribution):
                histogram.add_metric(labels, _cumulative(value), value.total)
        return histogram
    make = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = make(metric.name, metric.meaning, labels=metric.labels)
    for labels, value in values.items():
        if not isinstance(value, Distribution):
            family.add_metric(labels, value)
    return family


def _cumulative(value: Distribution) -> list[tuple[str, float]]:
    """Return the buckets as Prometheus has them: each holds those below it too."""
    bounds = [*map(str, map(float, value.bounds)), "+Inf"]
    return [(bound, float(sum(value.counts[: n + 1]))) for n, bound in enumerate(bounds)]
