"""Routes by neighbor and state, and the changes that lead from any table to any wanted routes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.routes import Announce, Attributes, Change, Route, State, Withdraw, changes, wanted
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
