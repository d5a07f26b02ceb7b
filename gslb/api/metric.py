"""Families of samples, from rows of label values.  Pure."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

Rows = Iterable[tuple[tuple[str, ...], float]]


def counter(name: str, what: str, labels: tuple[str, ...], rows: Rows) -> CounterMetricFamily:
    """A family of counters; `name` ends in `_total`."""
    family = CounterMetricFamily(name, what, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def gauge(name: str, what: str, labels: tuple[str, ...], rows: Rows) -> GaugeMetricFamily:
    """A family of gauges."""
    family = GaugeMetricFamily(name, what, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family
