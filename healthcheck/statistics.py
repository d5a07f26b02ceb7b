"""Latency and failures of one target or path: moving averages and quantiles, in bounded memory.  Pure.

Quantiles come from a sketch of log-linear buckets, PER_OCTAVE of them for each doubling, so a value is off by at most
1/32 of itself.  A sketch counts in two windows, of which the older is forgotten when the newer is full: halving one
window's counts instead would drop every bucket that was met once, which is most of them where latencies lie far apart.
Source: HdrHistogram's layout of buckets.
"""

from __future__ import annotations

import math

PER_OCTAVE = 16
LEAST_S, MOST_S = 1e-6, 4096.0
LATENCY_WEIGHT = 1 / 8  # of one sample in the moving average
ERROR_WEIGHT = 1 / 16
LONG, RECENT = 512, 32  # samples that a sketch is of, at most


class Sketch:
    """Counts by bucket of the last `limit` samples or so: never fewer than half of them, once there were that many."""

    __slots__ = ("_before", "_counts", "_half", "_taken", "total")

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._before: dict[int, int] = {}  # of the window before this one, which is full
        self._counts: dict[int, int] = {}
        self._taken = 0
        self.total = 0

    def add(self, seconds: float) -> None:
        """Count one sample."""
        if self._taken == self._half:
            self._before, self._counts = self._counts, {}
            self.total, self._taken = self._half, 0
        bucket = bucket_of(seconds)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._taken += 1
        self.total += 1

    def quantile(self, share: float) -> float | None:
        """The value in seconds below which `share` of the samples lie; None without samples."""
        if not self.total:
            return None
        wanted = share * self.total
        passed = 0
        bucket = 0
        for bucket in sorted({*self._before, *self._counts}):
            passed += self._before.get(bucket, 0) + self._counts.get(bucket, 0)
            if passed >= wanted:
                break
        return value_of(bucket)


class Statistics:
    """The statistics of one target, or of one path of it."""

    __slots__ = ("_all", "_recent", "_recent_median", "_samples", "errors", "latency_s")

    def __init__(self) -> None:
        self._all, self._recent = Sketch(LONG), Sketch(RECENT)
        self._recent_median: float | None = None
        self._samples = 0
        self.latency_s: float | None = None  # moving average of what passed
        self.errors = 0.0  # share of what failed, moving average

    def add(self, latency_s: float, *, ok: bool) -> None:
        """Take one result.  The latency of a failure says nothing of the service's speed and is not counted."""
        self._samples = min(self._samples + 1, LONG)
        self.errors += ((not ok) - self.errors) * max(ERROR_WEIGHT, 1 / self._samples)
        if not ok:
            return
        if self.latency_s is None:
            self.latency_s = latency_s
        else:
            self.latency_s += (latency_s - self.latency_s) * LATENCY_WEIGHT
        self._all.add(latency_s)
        self._recent.add(latency_s)
        self._recent_median = None

    @property
    def passed(self) -> int:
        """How many recent samples the median is of."""
        return self._recent.total

    @property
    def results(self) -> int:
        """How many results there were, up to LONG."""
        return self._samples

    def median_s(self) -> float | None:
        """The median of recent latencies."""
        if self._recent_median is None:
            self._recent_median = self._recent.quantile(0.5)
        return self._recent_median

    def quantile_s(self, share: float) -> float | None:
        """A quantile of the latencies of the last LONG samples or so."""
        return self._all.quantile(share)


def bucket_of(seconds: float) -> int:
    """The bucket of a latency; what is no number of seconds within bounds goes to the nearest bucket."""
    bounded = min(max(seconds, LEAST_S), MOST_S) if not math.isnan(seconds) else MOST_S
    mantissa, exponent = math.frexp(bounded)
    return exponent * PER_OCTAVE + int((mantissa - 0.5) * 2 * PER_OCTAVE)


def value_of(bucket: int) -> float:
    """The middle of a bucket, in seconds."""
    exponent, step = divmod(bucket, PER_OCTAVE)
    return math.ldexp(0.5 + (step + 0.5) / (2 * PER_OCTAVE), exponent)
