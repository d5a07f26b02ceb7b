"""Pulses without sense, and of pools that are not ours."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from tests.control.pulses import BACKENDS, VIP, WEB, Balancer, watching
from xdp.messages import Count, Handshakes, Pulse


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
