from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.outlier import ERROR_FLOOR, LATENCY_FLOOR_S, LATENCY_RATIO, SAMPLES, Peer, outliers
from healthcheck.statistics import Statistics


def peers(*latencies_ms: float, errors: tuple[float, ...] = (), passed: int = 30) -> dict[str, Peer]:
    shares = (*errors, *[0.0] * (len(latencies_ms) - len(errors)))
    return {
        str(number): Peer(latency / 1000, passed, share, passed)
        for number, (latency, share) in enumerate(zip(latencies_ms, shares, strict=True))
    }


def test_a_slow_one_stands_out() -> None:
    found = outliers(peers(250, 10, 11, 12, 10), {})
    assert found == {"0": "answers in 250 ms, its peers in 11 ms"}


def test_one_that_fails_now_and_then_stands_out() -> None:
    assert outliers(peers(10, 10, 10, 10, errors=(0.2,)), {}) == {"0": "20% of its checks fail, of its peers' 0%"}


@pytest.mark.parametrize(
    ("why", "group"),
    [
        ("two peers are too few", peers(250, 10, 10)),
        ("too few samples", peers(250, 10, 10, 10, passed=SAMPLES - 1)),
        ("within the floor", peers(10 + LATENCY_FLOOR_S * 900, 10, 10, 10)),
        ("within the ratio", peers(100 * LATENCY_RATIO - 1, 100, 100, 100)),
        ("the others lie far apart themselves", peers(400, 50, 150, 250, 200)),
        ("half of them are slow", peers(200, 200, 10, 10)),
        ("a few errors", peers(10, 10, 10, 10, errors=(ERROR_FLOOR - 0.01,))),
        ("all have errors", peers(10, 10, 10, 10, errors=(0.3, 0.25, 0.2, 0.3))),
        ("nothing has passed", {str(n): Peer(None, 0, 0.0, 30) for n in range(5)}),
        ("there is nobody", {}),
    ],
)
def test_nobody_stands_out(why: str, group: dict[str, Peer]) -> None:
    assert outliers(group, {}) == {}, why


def test_it_stands_out_until_it_is_well_below_the_mark_and_the_words_stay() -> None:
    before = {"0": "answers in 250 ms, its peers in 11 ms"}
    mark = 10 + LATENCY_FLOOR_S * 1000
    assert outliers(peers(mark - 1, 10, 10, 10), {}) == {}
    assert outliers(peers(mark - 1, 10, 10, 10), before) == before
    assert outliers(peers(mark - 5, 10, 10, 10), before) == {}


@given(st.lists(st.tuples(st.floats(0.0001, 10), st.floats(0, 1)), max_size=20))
def test_at_most_half_of_a_pool_stands_out_by_each_measure(values: list[tuple[float, float]]) -> None:
    group = {str(n): Peer(latency, 30, errors, 30) for n, (latency, errors) in enumerate(values)}
    found = outliers(group, {})
    slow = [name for name, why in found.items() if why.startswith("answers")]
    assert len(slow) <= len(values) / 2
    assert len(found) - len(slow) <= len(values) / 2


def test_a_zombie_whose_latencies_lie_far_apart_stands_out_without_a_break() -> None:
    """From 0.2 to 8 s, hardly two of them alike; it must not drop out of the comparison now and then."""
    group = {str(number): Statistics() for number in range(6)}
    before: dict[str, str] = {}
    stood_out = []
    for sample in range(300):
        for name, one in group.items():
            one.add(0.2 * 40 ** (sample * 0.618034 % 1) if name == "0" else 0.010, ok=True)
        known = {name: Peer(one.median_s(), one.passed, one.errors, one.results) for name, one in group.items()}
        before = outliers(known, before)
        stood_out.append("0" in before)
    assert stood_out == [False] * (SAMPLES - 1) + [True] * (300 - SAMPLES + 1)
