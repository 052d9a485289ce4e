"""What one figure is, apart from its values."""

from dataclasses import dataclass
from typing import Literal

MetricKind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure by its name. Units are seconds and bytes; a counter's name ends with `_total`."""

    name: str
    kind: MetricKind
    meaning: str
    labels: tuple[str, ...] = ()
    """Names of labels. Each has few values, known beforehand: none is a caller's word."""
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, the last one, infinity, left out."""
