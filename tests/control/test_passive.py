"""What the balancer's pulses say: load, zombies, round trips; floods, and pulses without sense."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.control.passive import FRESH_S, Passive
from gslb.control.roundtrips import (
    ENOUGH,
    HALF_LIFE_S,
    MOST_CELLS,
    MOST_US,
    Roundtrips,
    bucket_of,
    middle_us,
)
from gslb.control.zombies import LEAST, LONGEST_S
from gslb.model.deployment import (
    Answer,
    Api,
    Backend,
    Balance,
    Datacenter,
    Deployment,
    Dns,
    Forward,
    Listen,
    Pool,
    PoolId,
    SiteId,
    Socket,
)
from xdp.messages import Count, Handshakes, Pulse

FRA, IAD, WEB, FAR = SiteId("fra"), SiteId("iad"), PoolId("web"), PoolId("far")
BACKENDS = tuple(f"10.0.0.{number}" for number in range(1, 5))
VIP = "192.0.2.10 tcp/80"
LISTEN = Socket(ip_address("127.0.0.1"), 53)


def balanced(name: PoolId, site: SiteId) -> Pool:
    backends = tuple(Backend(ip_address(one)) for one in BACKENDS)
    balance = Balance((Listen("tcp", 80),), Forward.L2, backends)
    return Pool(name, site, (Answer(ip_address("192.0.2.10")),), balance=balance)


def deployment() -> Deployment:
    return Deployment(
        name="test",
        datacenters={FRA: Datacenter(FRA), IAD: Datacenter(IAD)},
        nodes={},
        pools={WEB: balanced(WEB, FRA), FAR: balanced(FAR, IAD)},
        policies={},
        dns=Dns((LISTEN,)),
        api=Api(LISTEN),
    )


def class_of(network: str) -> tuple[int, int]:
    """Every /8 is a class of its own."""
    address = ip_address(network)
    return address.version, address.packed[0]


def watching(classes: str = "table") -> Passive:
    passive = Passive()
    passive.want(deployment(), FRA, class_of, classes)
    return passive


class Balancer:
    """Counters that grow, and the pulses they make."""

    def __init__(self) -> None:
        self.now = 100.0
        self.vip = Count()
        self.backends = {name: Count() for name in BACKENDS}

    def vip_counts(self, **grown: int) -> None:
        self.vip = grow(self.vip, **grown)

    def backend(self, name: str, **grown: int) -> None:
        self.backends[name] = grow(self.backends[name], **grown)

    def pulse(self, seconds: float = 1.0, handshakes: Iterable[Handshakes] = ()) -> tuple[Pulse, float]:
        self.now += seconds
        found = {"web": dict(self.backends)}
        return Pulse(self.now, 1.0, {"web": {VIP: self.vip}}, found, {}, tuple(handshakes)), self.now


def grow(count: Count, **by: int) -> Count:
    return replace(count, **{name: getattr(count, name) + number for name, number in by.items()})


# --- load ---


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


# --- zombies ---


def second(passive: Passive, balancer: Balancer, each: int, resent: dict[str, int]) -> bool:
    for name in BACKENDS:
        again = resent.get(name, 0)
        balancer.backend(name, syns=each + again, handshakes=each, resent_syns=again)
    return passive.take(*balancer.pulse())


def test_three_syns_dropped_of_ten_are_found_and_released_when_good() -> None:
    passive, balancer = watching(), Balancer()
    second(passive, balancer, 0, {})
    changed = [second(passive, balancer, 10, {BACKENDS[0]: 3 if turn % 2 else 4}) for turn in range(10)]
    assert changed.count(True) == 1
    found = passive.outliers(balancer.now)
    assert found.keys() == {WEB}
    assert found[WEB].keys() == {BACKENDS[0]}
    assert "SYNs are sent again" in found[WEB][BACKENDS[0]]
    for _ in range(int(LONGEST_S)):
        second(passive, balancer, 10, {})
    assert passive.outliers(balancer.now) == {}


def test_one_of_three_backends_is_found_and_one_of_two_is_not() -> None:
    for number, expected in ((3, {BACKENDS[0]}), (2, set())):
        passive, now, counts = watching(), 10.0, {name: Count() for name in BACKENDS[:number]}
        for _ in range(12):
            now += 1
            counts = {
                name: grow(count, handshakes=10, resent_syns=5 * (name == BACKENDS[0]))
                for name, count in counts.items()
            }
            passive.take(Pulse(now, 1.0, {}, {"web": dict(counts)}), now)
        assert passive.outliers(now).get(WEB, {}).keys() == expected


def test_a_backend_that_answers_no_syn_is_found() -> None:
    passive, balancer = watching(), Balancer()
    second(passive, balancer, 0, {})
    for _ in range(10):
        for name in BACKENDS[1:]:
            balancer.backend(name, syns=10, handshakes=10)
        balancer.backend(BACKENDS[0], syns=20, resent_syns=10)
        passive.take(*balancer.pulse())
    assert passive.outliers(balancer.now)[WEB].keys() == {BACKENDS[0]}


def test_peers_that_are_all_bad_are_no_outliers() -> None:
    passive, balancer = watching(), Balancer()
    for _ in range(20):
        second(passive, balancer, 10, dict.fromkeys(BACKENDS, 5))
    assert passive.outliers(balancer.now) == {}


def test_few_samples_judge_nobody() -> None:
    passive, balancer = watching(), Balancer()
    second(passive, balancer, 0, {})
    second(passive, balancer, LEAST // 2, {BACKENDS[0]: LEAST // 2 - 1})
    assert passive.outliers(balancer.now) == {}


def test_an_outlier_is_none_for_long_without_pulses() -> None:
    passive, balancer = watching(), Balancer()
    for _ in range(12):
        second(passive, balancer, 10, {BACKENDS[0]: 10})
    assert passive.outliers(balancer.now)
    assert passive.outliers(balancer.now + LONGEST_S) == {}


@given(st.lists(st.tuples(st.integers(0, 500_000), st.integers(0, 500_000)), min_size=1, max_size=20))
def test_a_flood_of_made_up_clients_ejects_nobody(seconds: list[tuple[int, int]]) -> None:
    """Whatever SYNs come to whichever backend: what neither repeats nor completes says nothing."""
    passive, balancer = watching(), Balancer()
    for left, right in seconds:
        balancer.backend(BACKENDS[0], syns=left, untracked_syns=left // 2)
        balancer.backend(BACKENDS[1], syns=right, untracked_syns=right // 3)
        assert not second(passive, balancer, 10, {})
    assert passive.outliers(balancer.now) == {}


@given(st.integers(2, 40), st.integers(0, 400), st.integers(0, 1 << 32))
def test_repeats_of_made_up_clients_are_spread_and_eject_nobody(each: int, repeats: int, seed: int) -> None:
    choice = Random(seed).choice
    passive, balancer = watching(), Balancer()
    for _ in range(15):
        spread = dict.fromkeys(BACKENDS, 0)
        for _ in range(repeats):
            spread[choice(BACKENDS)] += 1
        second(passive, balancer, each, spread)
        assert passive.outliers(balancer.now) == {}


# --- round trips ---


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


# --- what comes in ---


def test_pools_and_backends_of_others_are_dropped() -> None:
    passive, balancer = watching(), Balancer()
    strange = {"far": {VIP: Count(handshakes=5)}, "none": {VIP: Count(handshakes=5)}}
    for turn in range(12):
        counts = {name: Count(handshakes=turn * 10, resent_syns=turn * 9) for name in (*BACKENDS, "10.9.9.9")}
        told = [
            Handshakes("11.0.0.0", pool, name, (1000,))
            for pool, name in (("far", BACKENDS[0]), ("none", BACKENDS[0]), ("web", "10.9.9.9"))
        ]
        told.append(Handshakes("no address", "web", BACKENDS[0], (1000,)))
        at = balancer.now + turn
        passive.take(Pulse(at, 1.0, strange, {"far": counts, "none": counts}, {}, tuple(told)), at)
    assert passive.loads(balancer.now + 11) == {}
    assert passive.outliers(balancer.now + 11) == {}
    assert passive.rtts(balancer.now + 11) == {}
    assert passive.state(balancer.now + 11).keys() == {"web"}


NUMBERS = st.integers(0, 1 << 63)
COUNTS = st.builds(Count, *[NUMBERS] * 8)
NAMES = st.sampled_from(["web", "far", "none", VIP, *BACKENDS])
BY_NAME = st.dictionaries(NAMES, st.dictionaries(NAMES, COUNTS, max_size=3), max_size=3)
TOLD = st.builds(
    Handshakes,
    st.sampled_from(["11.0.0.0", "2001:db8::", "", "nowhere"]),
    NAMES,
    NAMES,
    st.lists(st.integers(-5, 1 << 40), max_size=5).map(tuple),
)
PULSES = st.builds(
    Pulse,
    st.floats(0, 100),
    st.sampled_from([1.0, 2.0]),
    BY_NAME,
    BY_NAME,
    st.just({}),
    st.lists(TOLD, max_size=3).map(tuple),
)


@given(st.lists(st.tuples(PULSES, st.floats(0, 1e6)), max_size=6))
def test_no_pulse_is_an_error(pulses: list[tuple[Pulse, float]]) -> None:
    passive = watching()
    for pulse, now in pulses:
        passive.take(pulse, now)
        assert passive.loads(now).keys() <= {WEB}
        assert all(load >= 0 and math.isfinite(load) for load in passive.loads(now).values())
        assert passive.rtts(now).keys() <= {WEB}
        passive.state(now)
        passive.figures()
