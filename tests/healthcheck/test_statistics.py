from __future__ import annotations

import math
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.statistics import LEAST_S, LONG, MOST_S, RECENT, Sketch, Statistics, bucket_of, value_of

LATENCIES = st.floats(1e-5, 100.0)


@given(LATENCIES)
def test_a_bucket_stands_for_its_values_within_a_thirtieth(seconds: float) -> None:
    assert value_of(bucket_of(seconds)) == pytest.approx(seconds, rel=1 / 30)


@given(LATENCIES, LATENCIES)
def test_buckets_are_in_the_order_of_their_values(a: float, b: float) -> None:
    assert (bucket_of(a) <= bucket_of(b)) or a > b


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.inf, math.nan, 1e300, 5e-324])
def test_no_latency_is_out_of_bounds(seconds: float) -> None:
    assert bucket_of(LEAST_S) <= bucket_of(seconds) <= bucket_of(MOST_S)


@given(st.lists(LATENCIES, min_size=1, max_size=LONG - 1), st.floats(0, 1))
def test_quantiles_of_all_samples(seconds: list[float], share: float) -> None:
    sketch = Sketch(LONG)
    for one in seconds:
        sketch.add(one)
    exact = sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]
    assert sketch.quantile(share) == pytest.approx(exact, rel=1 / 15)


def test_nothing_is_known_of_nothing() -> None:
    assert Sketch(RECENT).quantile(0.5) is None
    assert Statistics().median_s() is None


@given(st.lists(st.floats(0, 1e4), max_size=2000))
def test_memory_is_bounded(seconds: list[float]) -> None:
    sketch = Sketch(LONG)
    for one in seconds:
        sketch.add(one)
    assert sketch.total == sum(sketch._before.values()) + sum(sketch._counts.values()) <= LONG
    assert len(sketch._before) + len(sketch._counts) <= LONG


@given(st.lists(LATENCIES, min_size=RECENT, max_size=300))
def test_a_sketch_is_of_the_last_samples_and_never_of_few(seconds: list[float]) -> None:
    """Also where no two of them are alike."""
    sketch = Sketch(RECENT)
    for place, one in enumerate(seconds, start=1):
        sketch.add(one)
        assert sketch.total >= min(place, RECENT // 2)
        last = sorted(seconds[place - sketch.total : place])
        exact = last[math.ceil(len(last) / 2) - 1]
        assert sketch.quantile(0.5) == pytest.approx(exact, rel=1 / 15)


def test_the_recent_median_follows_within_so_many_samples() -> None:
    statistics = Statistics()
    for _ in range(1000):
        statistics.add(0.010, ok=True)
    for _ in range(RECENT):
        statistics.add(0.500, ok=True)
    assert statistics.median_s() == pytest.approx(0.5, rel=1 / 15)
    assert statistics.quantile_s(0.5) == pytest.approx(0.01, rel=1 / 15)  # the long view keeps what was
    assert statistics.latency_s == pytest.approx(0.5, rel=0.1)


def test_failures_count_as_errors_and_not_as_latency() -> None:
    statistics = Statistics()
    for number in range(400):
        statistics.add(2.0 if number % 4 == 0 else 0.01, ok=number % 4 != 0)
    assert statistics.errors == pytest.approx(0.25, abs=0.06)
    assert statistics.latency_s == pytest.approx(0.01)
    assert statistics.quantile_s(0.99) == pytest.approx(0.01, rel=1 / 15)


@given(st.lists(st.booleans(), min_size=1, max_size=16))
def test_the_first_errors_are_a_plain_share(results: list[bool]) -> None:
    statistics = Statistics()
    for ok in results:
        statistics.add(0.01, ok=ok)
    assert statistics.errors == pytest.approx(results.count(False) / len(results))


@given(st.lists(LATENCIES, min_size=1, max_size=RECENT - 1))
def test_the_recent_median(seconds: list[float]) -> None:
    statistics = Statistics()
    for one in seconds:
        statistics.add(one, ok=True)
        assert statistics.median_s() is not None
    low = sorted(seconds)[math.ceil(len(seconds) / 2) - 1]
    assert statistics.median_s() == pytest.approx(low, rel=1 / 15)
    assert low <= median(seconds)
