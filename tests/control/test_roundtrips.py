"""Round trips by location class: buckets, what backends need, bounds, other tables."""

from __future__ import annotations

import pytest

from gslb.control.roundtrips import (
    ENOUGH,
    HALF_LIFE_S,
    MOST_CELLS,
    MOST_US,
    Roundtrips,
    bucket_of,
    middle_us,
)
from tests.control.pulses import BACKENDS, FRA, WEB, Balancer, class_of, deployment, watching
from xdp.messages import Handshakes


def test_buckets_are_right_within_a_thirty_second() -> None:
    last = 0
    for us in (*range(1, 70_000), *range(70_000, MOST_US + 1, 997)):
        bucket = bucket_of(us)
        assert bucket >= last
        assert us >= 70_000 or bucket - last <= 1
        assert abs(middle_us(bucket) - us) <= us / 32
        last = bucket


def test_round_trips_of_three_delays_come_out_by_class() -> None:
    passive, balancer = watching(), Balancer()
    delays = {5_000: "11.0.0.0", 40_000: "12.0.0.0", 150_000: "2001:db8:1:200::"}
    for turn in range(20):
        told = [
            Handshakes(network, "web", name, tuple(delay + 150 + (turn * number) % 97 for number in range(5)))
            for delay, network in delays.items()
            for name in BACKENDS
        ]
        passive.take(*balancer.pulse(handshakes=told))
    rtts = passive.rtts(balancer.now)[WEB]
    assert rtts.keys() == {(4, 11), (4, 12), (6, 0x20)}
    for delay, key in zip(delays, ((4, 11), (4, 12), (6, 0x20)), strict=True):
        assert rtts[key].p50_s == pytest.approx(delay / 1e6, rel=0.1)
        assert rtts[key].p90_s == pytest.approx(delay / 1e6, rel=0.1)
        assert rtts[key].count == pytest.approx(400, rel=0.1)
    shown = passive.state(balancer.now)["web"]["rtt"]
    assert 0.004 < shown["ipv4"]["p50_s"] < 0.045
    assert shown["ipv6"]["p50_s"] == pytest.approx(0.15, rel=0.1)
    spread = passive.figures().spreads[WEB, 6]
    assert sum(spread.counts) == 400
    assert spread.counts[7] == 400  # 0.1 to 0.25 s


def test_what_a_slower_backend_needs_is_subtracted() -> None:
    passive, balancer = watching(), Balancer()
    for number in range(2 * ENOUGH):
        rtt = 20_000 + number * 50
        told = [
            Handshakes("11.0.0.0", "web", name, (rtt + (8_000 if name == BACKENDS[0] else 100),)) for name in BACKENDS
        ]
        passive.take(*balancer.pulse(seconds=0.5, handshakes=told))
    median = passive.rtts(balancer.now)[WEB][4, 11].p50_s
    assert median == pytest.approx(0.0251, rel=0.05)
    late = [Handshakes("13.0.0.0", "web", BACKENDS[0], (38_000,) * 10)]
    passive.take(*balancer.pulse(seconds=10, handshakes=late))
    assert passive.rtts(balancer.now)[WEB][4, 13].p50_s == pytest.approx(0.030, rel=0.05)


def test_round_trips_fade_and_are_bounded() -> None:
    known = Roundtrips()
    known.sweep(0.0)
    for number in range(3 * MOST_CELLS):
        known.take((WEB, 4, number), BACKENDS[0], (1000,) * (1 + (number < 100)), 1.0)
    known.sweep(60.0)
    cells = known.rtts(60.0)[WEB]
    assert len(cells) == MOST_CELLS
    assert all((4, number) in cells for number in range(100))  # those with the fewest go
    for turn in range(1, 30):
        known.sweep(60.0 + turn * HALF_LIFE_S / 4)
    assert known.rtts(1e6) == {}


def test_classes_of_another_table_are_other_classes() -> None:
    passive, balancer = watching(), Balancer()
    passive.take(*balancer.pulse(handshakes=[Handshakes("11.0.0.0", "web", BACKENDS[0], (1000,))]))
    passive.want(deployment(), FRA, class_of, "table")
    assert passive.rtts(balancer.now)
    passive.want(deployment(), FRA, class_of, "another")
    assert passive.rtts(balancer.now) == {}
    assert passive.state(balancer.now)["web"]["rtt"]["ipv4"]["count"] == 1
