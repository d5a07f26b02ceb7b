"""Families of samples, from rows of label values.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

Rows = Iterable[tuple[tuple[str, ...], float]]
Buckets = Sequence[tuple[float, int]]  # upper bound, how many were at most that; the last bound is infinite


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


def histogram(
    name: str, what: str, labels: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], Buckets, float]]
) -> HistogramMetricFamily:
    """A family of histograms, from buckets and sums."""
    family = HistogramMetricFamily(name, what, labels=labels)
    for values, buckets, total in rows:
        family.add_metric(
            values, [("+Inf" if bound == inf else f"{bound:g}", float(count)) for bound, count in buckets], total
        )
    return family
