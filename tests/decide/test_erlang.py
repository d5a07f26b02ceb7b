"""Erlang C against published figures, its exact sum, and a simulated queue."""

from __future__ import annotations

import heapq
import time
from fractions import Fraction
from math import factorial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.decide.erlang import GAP, LIKELY, soft_mark, utilisation_of, waiting


@pytest.mark.parametrize(
    ("servers", "load", "want"),
    [(1, 0.5, 0.5), (2, 1.0, 0.3333), (5, 4.0, 0.5541), (10, 8.0, 0.4092), (20, 16.0, 0.2561), (100, 90.0, 0.2169)],
)
def test_tables(servers: int, load: float, want: float) -> None:
    assert waiting(servers, load / servers) == pytest.approx(want, abs=5e-5)


@given(st.integers(1, 60), st.integers(1, 99))
def test_equals_the_textbook_sum_in_exact_arithmetic(servers: int, percent: int) -> None:
    load = Fraction(servers * percent, 100)
    last = load**servers / factorial(servers) / (1 - Fraction(percent, 100))
    exact = last / (sum(load**k / factorial(k) for k in range(servers)) + last)
    assert waiting(servers, percent / 100) == pytest.approx(float(exact), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("servers", "utilisation"), [(3, 0.7), (20, 0.85)])
def test_a_simulated_queue_waits_as_often(servers: int, utilisation: float) -> None:
    chance = Random(7)
    free = [0.0] * servers  # when each server is done
    now, waited, arrivals = 0.0, 0, 120_000
    for _ in range(arrivals):
        now += chance.expovariate(servers * utilisation)
        begins = max(now, free[0])
        waited += begins > now
        heapq.heapreplace(free, begins + chance.expovariate(1.0))
    assert waited / arrivals == pytest.approx(waiting(servers, utilisation), abs=0.02)


@given(st.integers(1, 10**7), st.floats(allow_nan=True, allow_infinity=True))
def test_is_a_probability_whatever_comes(servers: int, utilisation: float) -> None:
    assert 0.0 <= waiting(servers, utilisation) <= 1.0


@given(st.integers(1, 10**6), st.floats(0, 0.999), st.floats(0, 0.999))
def test_more_load_waits_more(servers: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert waiting(servers, low) <= waiting(servers, high) + 1e-9


def test_the_mark_is_where_waiting_is_likely_and_quickly_found() -> None:
    start = time.perf_counter()
    marks = [utilisation_of(10**power) for power in range(8)]
    assert time.perf_counter() - start < 5
    assert marks == sorted(marks)
    for power, mark in enumerate(marks):
        assert waiting(10**power, mark) == pytest.approx(LIKELY, abs=1e-3)


def test_auto_leaves_a_band_below_the_hard_mark() -> None:
    assert soft_mark(4, 0.9) == utilisation_of(4) < 0.9 - GAP
    assert soft_mark(10**9, 0.9) == pytest.approx(0.9 - GAP)
    assert soft_mark(10**9, 0.04) == pytest.approx(0.02)
