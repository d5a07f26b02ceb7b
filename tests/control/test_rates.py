"""New connections per second from the balancer's counters, with and without floods."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.control.passive import FRESH_S, Passive
from tests.control.pulses import BACKENDS, VIP, WEB, Balancer, watching
from xdp.messages import Count, Estimate


def test_new_connections_are_counted_handshakes_and_udp_flows() -> None:
    passive, balancer = watching(), Balancer()
    passive.take(*balancer.pulse())
    assert passive.loads(balancer.now) == {}  # what was counted before is of no known time
    balancer.vip_counts(syns=120, handshakes=100, resent_syns=20, udp_flows=40)
    passive.take(*balancer.pulse(seconds=2.0))
    assert passive.loads(balancer.now) == {WEB: 70.0}


def test_a_load_is_of_the_present() -> None:
    passive, balancer = watching(), Balancer()
    for _ in range(2):
        balancer.vip_counts(syns=10, handshakes=10)
        passive.take(*balancer.pulse())
    assert passive.loads(balancer.now) == {WEB: 10.0}
    assert passive.loads(balancer.now + FRESH_S) == {}
    assert passive.state(balancer.now + FRESH_S)["web"]["connections_per_s"] is None


def test_counters_that_began_anew_say_nothing_of_the_time_before() -> None:
    passive, balancer = watching(), Balancer()
    passive.take(*balancer.pulse())
    balancer.vip_counts(syns=10, handshakes=10)
    pulse, now = balancer.pulse()
    passive.take(pulse, now)
    assert passive.loads(now) == {WEB: 10.0}
    passive.take(replace(pulse, at=pulse.at + 1, born=2.0, vips={"web": {VIP: Count(handshakes=3)}}), now + 1)
    assert passive.loads(now + 1) == {}
    passive.take(replace(pulse, at=pulse.at + 2, born=2.0, vips={"web": {VIP: Count(handshakes=8)}}), now + 2)
    assert passive.loads(now + 2) == {WEB: 5.0}


def flooded(passive: Passive, balancer: Balancer, honest: int, flood: int, share: float, begins: float = 0.0) -> None:
    """One second: `honest` connections and, from `begins` on, `flood` SYNs a second of which `share` is followed."""
    spoofed = round(flood * (1 - begins))
    followed = begins + (1 - begins) * share
    balancer.vip_counts(
        syns=honest + spoofed,
        untracked_syns=round(spoofed * (1 - share)) + round(honest * (1 - followed)),
        handshakes=round(honest * followed),
    )
    passive.take(*balancer.pulse())


@pytest.mark.parametrize("begins", [0.0, 0.3, 0.5, 0.9])
def test_a_flood_that_begins_and_ends_at_any_moment_does_not_move_the_load(begins: float) -> None:
    passive, balancer = watching(), Balancer()
    loads = []
    for second in range(60):
        if second < 10 or second > 40:
            flooded(passive, balancer, 1000, 0, 1.0)
        else:
            flooded(passive, balancer, 1000, 500_000, 0.0874, begins if second == 10 else 0.0)
        loads.append(passive.loads(balancer.now).get(WEB))
    known = [load for load in loads if load is not None]
    assert len(known) >= 55  # at most the turns of the flood are passed over
    assert all(abs(load - 1000) <= 60 for load in known), loads


def test_a_flood_alone_is_no_load() -> None:
    passive, balancer = watching(), Balancer()
    for _ in range(40):
        flooded(passive, balancer, 0, 500_000, 0.0874)
        assert passive.loads(balancer.now).get(WEB, 0.0) == 0.0


@given(st.integers(200, 5_000), st.integers(10_000, 2_000_000), st.integers(0, 1 << 32))
def test_the_estimate_under_a_flood_has_no_bias(honest: int, flood: int, seed: int) -> None:
    """Each handshake is followed with the flood's share, by chance; over a minute the mean is what there was."""
    gauss = Random(seed).gauss
    share = min(1.0, 65_536 / 1.5 / (flood + honest))
    passive, balancer = watching(), Balancer()
    found: list[float] = []
    for _ in range(60):
        followed = max(0, round(gauss(honest * share, math.sqrt(honest * share * (1 - share)))))
        untracked = round((flood + honest) * (1 - share))
        balancer.vip_counts(syns=flood + honest, untracked_syns=untracked, handshakes=followed)
        passive.take(*balancer.pulse())
        if (load := passive.loads(balancer.now).get(WEB)) is not None:
            found.append(load)
    if honest * share * 10 < 30:  # too few to say anything
        return
    assert found
    deviation = math.sqrt((1 - share) / (honest * share * 60)) + 1 / (honest * share * 60)
    assert abs(sum(found) / len(found) / honest - 1) <= 0.02 + 6 * deviation


def test_where_too_few_are_followed_the_load_is_not_told() -> None:
    passive, balancer = watching(), Balancer()
    for _ in range(5):
        flooded(passive, balancer, 50, 0, 1.0)
    assert passive.loads(balancer.now) == {WEB: 50.0}
    for _ in range(30):
        flooded(passive, balancer, 50, 50_000_000, 0.0009)
        assert passive.loads(balancer.now) == {}


def test_active_connections_are_those_of_the_last_pulse() -> None:
    passive, balancer = watching(), Balancer()
    passive.take(*balancer.pulse())
    assert passive.state(balancer.now)["web"]["active"] is None
    active = {"web": {VIP: Estimate(1200.4, 30.0), "192.0.2.10 udp/53": Estimate(10.0, 40.0)}}
    pulse, now = balancer.pulse()
    passive.take(replace(pulse, active_vips=active, active_backends={"web": {BACKENDS[0]: Estimate(7.0)}}), now)
    state = passive.state(now)["web"]
    assert (state["active"], state["active_error"]) == (1210, 50)
    assert (state["vips"][VIP]["active"], state["vips"][VIP]["active_error"]) == (1200, 30)
    found = [(one["active"], one["active_error"]) for one in state["backends"].values()]
    assert found == [(7, 0), (None, None), (None, None), (None, None)]
    assert passive.state(now + FRESH_S)["web"]["active"] is None
