"""The prefixes of a node: what is adopted, what others are told, what becomes of a withdrawal that does not get out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from bgp.routes import Route, State, normal, wanted
from bgp.when import Local, Operator, Other, Past, Remote, Veto, Why
from gslb.control.prefixes import Prefixes, Table
from gslb.model.bgp import Bgp, Drain, Neighbor
from gslb.model.deployment import Address, Anycast, Deployment, Network
from tests.control.make import DEPLOYMENT, NODE

VIP, OTHER = IPv4Network("192.0.2.53/32"), IPv4Network("192.0.2.54/32")
ROUTER, SECOND = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
ANYCAST = Anycast("ns", (VIP,), ("dns",), rise_s=3.0, least_s=1.0, drain_s=5.0)
BGP = Bgp(NODE.site, 65010, ROUTER, tuple(Neighbor(one, 65001, drain=Drain("65535:0")) for one in (ROUTER, SECOND)))
LEASED = Remote((Other("iad", "iad", State.ANNOUNCED, 0.1),), lease_left_s=30.0)
ANNOUNCED, DRAIN, OFF = State.ANNOUNCED, State.DRAIN, State.OFF


def deployment(*prefixes: Network, min_sites: int = 1) -> Deployment:
    anycast = replace(ANYCAST, prefixes=prefixes, min_sites=min_sites)
    return replace(DEPLOYMENT, anycast=(anycast,) if prefixes else (), bgp=(BGP,))


def table(states: Mapping[Network, State], *up: Address, ready: bool = True) -> Table:
    """What ExaBGP has when prefixes stand so, with these sessions up."""
    return Table(map(normal, wanted(states, BGP)), lambda address: address in up, ready=ready)


class World:
    """What the next decision goes by."""

    def __init__(self, found: State = OFF, kept: Mapping[Network, Past] | None = None, min_sites: int = 1) -> None:
        self.now = 1000.0
        self.local = Local(dns=True)
        self.remote = LEASED
        self.prefixes = Prefixes(kept or {}, self.now)
        self.prefixes.want(deployment(VIP, min_sites=min_sites), NODE)
        self.prefixes.adopt(map(normal, wanted({VIP: found}, BGP)), self.now)

    def judge(self, there: Table) -> State:
        self.prefixes.judge(lambda _, __: self.local, lambda _: self.remote, there, self.now)
        return self.prefixes.states.get(VIP, OFF)


@pytest.mark.parametrize("found", list(State))
def test_it_begins_with_what_exabgp_has(found: State) -> None:
    world = World(found)
    world.local = Local()
    assert world.judge(table({VIP: found}, ROUTER)) is found
    assert world.prefixes.transitions == {}


def test_failures_of_an_earlier_run_are_not_forgotten() -> None:
    kept: dict[Network, Past] = {VIP: Past(ANNOUNCED, since=10.0, failures=3)}
    assert World(DRAIN, kept).prefixes.pasts[VIP].failures == 3
    assert World(ANNOUNCED, kept).prefixes.pasts[VIP] == kept[VIP]


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (table({VIP: ANNOUNCED}, ROUTER), "announced"),
        (table({VIP: ANNOUNCED}), "withdrawn"),
        (table({VIP: ANNOUNCED}, ROUTER, ready=False), "withdrawn"),
        (table({VIP: DRAIN}, ROUTER), "drained"),
        (table({}, ROUTER), "withdrawn"),
    ],
    ids=["acknowledged, with a session", "no session", "ExaBGP does not answer", "not yet in full", "not yet"],
)
def test_others_are_told_what_can_be_relied_on(there: Table, told: str) -> None:
    world = World(ANNOUNCED)
    world.judge(table({VIP: ANNOUNCED}, ROUTER))
    assert world.prefixes.told(there) == {str(VIP): told}


def test_others_are_told_of_a_route_that_leaves_before_it_does() -> None:
    world = World(ANNOUNCED)
    there = table({VIP: ANNOUNCED}, ROUTER)
    world.judge(there)
    world.local = Local(dns=True, operator=Operator.DRAIN)
    assert world.judge(there) is DRAIN
    assert world.prefixes.told(there) == {str(VIP): "drained"}
    world.local = Local(dns=False)
    assert world.judge(there) is OFF
    assert world.prefixes.told(there) == {str(VIP): "withdrawn"}


def test_without_an_exabgp_that_answers_nothing_is_withdrawn() -> None:
    world = World(ANNOUNCED)
    world.local = Local(dns=False)
    assert world.judge(table({VIP: ANNOUNCED}, ROUTER, ready=False)) is DRAIN
    assert world.prefixes.judged[VIP].verdict.veto is Veto.NO_LEASE
    assert world.judge(table({VIP: DRAIN}, ROUTER)) is OFF


def test_a_withdrawal_that_does_not_get_out_in_time_is_taken_back() -> None:
    world = World(ANNOUNCED)
    world.local = Local(dns=False)
    there = table({VIP: DRAIN}, ROUTER)
    assert world.judge(there) is OFF
    wake_at = world.prefixes.wake_at(there)
    assert wake_at == world.now + 2.0
    world.now, world.remote = wake_at + 0.001, Remote()
    assert world.judge(there) is DRAIN
    world.remote = LEASED
    assert world.judge(there) is OFF
    world.now += 5.0
    assert world.judge(table({}, ROUTER)) is OFF, "this one is out"


def test_what_needs_no_lease_is_not_taken_back() -> None:
    there = table({VIP: DRAIN}, ROUTER)
    for world, here in (
        (World(DRAIN, min_sites=0), Local(dns=False)),
        (World(DRAIN), Local(dns=True, operator=Operator.FORCED_DOWN)),
    ):
        world.local, world.remote = here, Remote()
        assert world.judge(there) is OFF
        world.now += 60.0
        assert world.judge(there) is OFF


def test_what_left_the_configuration_is_drained_then_withdrawn_then_forgotten() -> None:
    world = World(ANNOUNCED)
    world.remote = Remote()
    there = table({VIP: ANNOUNCED, OTHER: ANNOUNCED}, ROUTER)
    world.prefixes.adopt(map(normal, wanted({VIP: ANNOUNCED, OTHER: ANNOUNCED}, BGP)), world.now)
    world.prefixes.want(deployment(OTHER), NODE)
    assert world.judge(there) is DRAIN
    assert world.prefixes.states[OTHER] is ANNOUNCED
    world.now += ANYCAST.drain_s
    assert world.judge(there) is OFF
    assert VIP in world.prefixes.judged, "ExaBGP still has it"
    world.judge(table({OTHER: ANNOUNCED}, ROUTER))
    assert set(world.prefixes.judged) == set(world.prefixes.pasts) == {OTHER}


def test_acknowledged_is_what_is_so_on_every_session() -> None:
    world = World(ANNOUNCED)
    both = table({VIP: ANNOUNCED})
    world.judge(both)
    assert world.prefixes.acked(VIP, both)
    assert not world.prefixes.acked(VIP, table({VIP: DRAIN}))
    assert not world.prefixes.acked(VIP, Table(list(both.of(VIP))[:1], lambda _: True, ready=True))
    assert not world.prefixes.acked(VIP, table({VIP: ANNOUNCED}, ready=False))


def test_an_orderly_end_drains_and_withdraws_whatever_holds() -> None:
    world = World(ANNOUNCED)
    world.remote = Remote()
    world.judge(table({VIP: ANNOUNCED}, ROUTER))
    for state in (DRAIN, OFF):
        world.prefixes.farewell(state, world.now)
        assert world.prefixes.states == {VIP: state}
        assert world.prefixes.judged[VIP].verdict.why is Why.OPERATOR_DOWN
    assert not world.prefixes.pasts[VIP].left, "the next start waits for no lease"
    assert world.prefixes.transitions[VIP] == {DRAIN: 1, OFF: 1}


def test_routes_that_are_not_known_are_off() -> None:
    found = Table([Route(ROUTER, OTHER)], lambda _: True, ready=True)
    assert not found.of(VIP)
