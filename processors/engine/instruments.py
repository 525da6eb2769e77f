"""Prometheus instruments of what schemas/metrics.py declares."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from schemas.metrics import FENCES as FENCES_METRIC
from schemas.metrics import Metric

Samples = Mapping[tuple[str, ...], float]
"""Values by the values of the labels, in the order of the declaration."""


def counter(metric: Metric) -> Counter:
    """Return the counter of a declaration. To be called once per process."""
    assert metric.kind == "counter"
    return Counter(metric.name, metric.help, metric.labels)


def histogram(metric: Metric) -> Histogram:
    """Return the histogram of a declaration. To be called once per process."""
    assert metric.kind == "histogram"
    return Histogram(metric.name, metric.help, metric.labels, buckets=metric.buckets)


def gauge(metric: Metric, samples: Samples | float) -> GaugeMetricFamily:
    """Return a gauge as it is now, for a collector: gauges are measured when they are asked for."""
    assert metric.kind == "gauge"
    found = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in _pairs(samples):
        found.add_metric(labels, value)
    return found


def _pairs(samples: Samples | float) -> Iterable[tuple[tuple[str, ...], float]]:
    return samples.items() if isinstance(samples, Mapping) else (((), samples),)


FENCES: Final = counter(FENCES_METRIC)
"""Worker and sink both count them."""
