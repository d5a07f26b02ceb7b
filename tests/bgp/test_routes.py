"""Routes by neighbor and state, and the changes that lead from any table to any wanted routes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.commands import line_of
from bgp.routes import (
    Announce,
    Attributes,
    Change,
    Route,
    State,
    Withdraw,
    changes,
    found_as,
    normal,
    refused,
    wanted,
)
from gslb.model.bgp import Announce as AnnounceAs
from gslb.model.bgp import Bgp, Drain, Neighbor
from gslb.model.deployment import Address, Network

OURS, ROUTER4, ROUTER6 = 64512, IPv4Address("10.0.1.1"), IPv6Address("fd00:1::1")
FOUR, SIX = ip_network("192.0.2.53/32"), ip_network("2001:db8::53/128")
GSHUT = Drain("65535:0", prepend=3, med=100)


def speaker(*neighbors: Neighbor) -> Bgp:
    return Bgp("fra", OURS, IPv4Address("10.0.1.2"), neighbors)


def test_each_neighbor_has_the_prefixes_of_its_family() -> None:
    bgp = speaker(Neighbor(ROUTER4, 65001), Neighbor(ROUTER6, 65001))
    found = wanted({FOUR: State.ANNOUNCED, SIX: State.ANNOUNCED}, bgp)
    assert found == (Route(ROUTER4, FOUR), Route(ROUTER6, SIX))


@pytest.mark.parametrize(
    ("drain", "peer", "attributes"),
    [
        (GSHUT, 65001, Attributes(100, None, (OURS,) * 4, ((65535, 0),))),
        (Drain(med=100), 65001, Attributes(med=100)),
        (Drain("64512:7"), 65001, Attributes(communities=((64512, 7),))),
        (GSHUT, OURS, Attributes(100, 0, (), ((65535, 0),))),
        (Drain(), OURS, Attributes(local_pref=0)),
    ],
    ids=["all", "med alone", "community alone", "inside the AS", "inside the AS, nothing said"],
)
def test_a_drain_is_told_as_the_neighbor_understands_it(drain: Drain, peer: int, attributes: Attributes) -> None:
    bgp = speaker(Neighbor(ROUTER4, peer, drain=drain))
    assert wanted({FOUR: State.DRAIN}, bgp) == (Route(ROUTER4, FOUR, attributes=attributes),)
    assert wanted({FOUR: State.ANNOUNCED}, bgp) == (Route(ROUTER4, FOUR),)
    assert wanted({FOUR: State.OFF}, bgp) == ()


NEIGHBORS = st.sampled_from([ROUTER4, IPv4Address("10.0.2.1")])
PREFIXES = st.sampled_from([ip_network(f"192.0.2.{last}/32") for last in range(4)])
ROUTES = st.builds(Route, NEIGHBORS, PREFIXES, attributes=st.builds(Attributes, st.sampled_from([None, 1, 2])))
TABLES = st.lists(ROUTES, unique_by=lambda route: (route.neighbor, route.prefix))


def applied(table: list[Route], change: Change) -> list[Route]:
    key = (change.route.neighbor, change.route.prefix) if isinstance(change, Announce) else _pair(change)
    rest = [route for route in table if (route.neighbor, route.prefix) != key]
    return [*rest, change.route] if isinstance(change, Announce) else rest


def _pair(change: Withdraw) -> tuple[Address, Network]:
    return change.neighbor, change.prefix


@given(TABLES, TABLES)
def test_changes_lead_there_and_never_take_away_what_stays(table: list[Route], target: list[Route]) -> None:
    stays = {(route.neighbor, route.prefix) for route in table} & {(route.neighbor, route.prefix) for route in target}
    now = table
    for change in changes(table, target):
        now = applied(now, change)
        assert stays <= {(route.neighbor, route.prefix) for route in now}
    assert set(now) == set(target)
    assert changes(now, target) == ()


@given(TABLES, TABLES)
def test_what_is_new_comes_before_anything_leaves(table: list[Route], target: list[Route]) -> None:
    kinds = [isinstance(change, Announce) for change in changes(table, target)]
    assert kinds == sorted(kinds, reverse=True)


SAID = AnnounceAs(("64512:1", "64512:2"), ("64512:1:2",), prepend=1, med=10, next_hop=IPv4Address("10.0.1.9"))


@pytest.mark.parametrize(
    ("state", "peer", "attributes"),
    [
        (State.ANNOUNCED, 65001, Attributes(10, None, (OURS,) * 2, ((64512, 1), (64512, 2)), ((64512, 1, 2),))),
        (
            State.DRAIN,
            65001,
            Attributes(100, None, (OURS,) * 5, ((64512, 1), (64512, 2), (65535, 0)), ((64512, 1, 2),)),
        ),
        (State.ANNOUNCED, OURS, Attributes(10, None, (), ((64512, 1), (64512, 2)), ((64512, 1, 2),))),
        (State.DRAIN, OURS, Attributes(100, 0, (), ((64512, 1), (64512, 2), (65535, 0)), ((64512, 1, 2),))),
    ],
    ids=["in full", "drained beside it", "inside the AS", "drained inside the AS"],
)
def test_a_route_carries_what_the_neighbor_is_announced(state: State, peer: int, attributes: Attributes) -> None:
    bgp = speaker(Neighbor(ROUTER4, peer, drain=GSHUT, announce=SAID))
    assert wanted({FOUR: state}, bgp) == (Route(ROUTER4, FOUR, IPv4Address("10.0.1.9"), attributes),)
    line_of(Announce(wanted({FOUR: state}, bgp)[0]))


def test_the_longest_path_that_can_be_configured_can_be_said() -> None:
    bgp = speaker(Neighbor(ROUTER4, 65001, drain=Drain(prepend=16), announce=AnnounceAs(prepend=16)))
    line_of(Announce(wanted({FOUR: State.DRAIN}, bgp)[0]))


def test_what_is_not_allowed_is_never_wanted() -> None:
    bgp = replace(speaker(Neighbor(ROUTER4, 65001)), allow=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))
    wide, other = ip_network("192.0.0.0/16"), ip_network("198.51.100.1/32")
    states = dict.fromkeys((wide, FOUR, other, SIX), State.ANNOUNCED)
    assert [route.prefix for route in wanted(states, bgp)] == [FOUR]
    assert [prefix for prefix, _ in refused(states, bgp)] == [wide, other]
    assert refused(states, replace(bgp, allow=())) == ()


@given(st.lists(st.tuples(PREFIXES, st.sampled_from(State)), unique_by=lambda one: one[0]), st.integers(0, 5))
def test_no_more_prefixes_than_allowed_are_wanted_and_always_the_same(
    states: list[tuple[Network, State]], most: int
) -> None:
    bgp = replace(speaker(Neighbor(ROUTER4, 65001)), max_routes=most)
    found = {route.prefix for route in wanted(dict(states), bgp)}
    named = [prefix for prefix, _ in states]
    assert found <= set(named[:most]), "a prefix that is off keeps its place"
    assert [prefix for prefix, _ in refused(named, bgp)] == named[most:]


@given(st.sampled_from(State), st.lists(st.sampled_from([1, 2]), max_size=1))
def test_a_table_shows_how_a_prefix_stands(state: State, strange: list[int]) -> None:
    bgp = speaker(Neighbor(ROUTER4, 65001, drain=GSHUT, announce=SAID), Neighbor(IPv4Address("10.0.2.1"), 65001))
    table = [normal(route) for route in wanted({FOUR: state}, bgp)]
    assert found_as(table, FOUR, bgp) is state
    assert found_as(table, SIX, bgp) is State.OFF
    odd = [Route(ROUTER4, FOUR, attributes=Attributes(med)) for med in strange]
    assert found_as(odd, FOUR, bgp) is (State.DRAIN if odd else State.OFF), "an older configuration's attributes"
