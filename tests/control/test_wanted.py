"""What the supervisor is told of the configuration: what BGP needs of it, and the words that travel."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from gslb.control.wanted import MOVE_S, WITHDRAW_S, Wanted, from_json, wanted_of
from gslb.model.bgp import Bgp, Neighbor
from gslb.model.deployment import Anycast, Deployment, PoolId
from tests.control.make import DEPLOYMENT, IAD, NODE

DNS = Anycast("dns", (IPv4Network("198.51.100.53/32"),), ("dns",), drain_s=2.0)
WEB = Anycast("web", (IPv4Network("203.0.113.0/24"),), ("pools",), (PoolId("web-fra"),), drain_s=4.0)
ELSEWHERE = Anycast("there", (IPv4Network("192.0.2.0/24"),), ("dns", "pools"), (PoolId("web-iad"),), drain_s=9.0)
ROUTER = Neighbor(IPv4Address("10.0.0.1"), 65001)


def of(*anycast: Anycast, speaker: str = "fra", neighbor: Neighbor = ROUTER) -> Wanted:
    bgp = Bgp(speaker, 65010, IPv4Address("10.0.0.2"), (neighbor,))
    deployment: Deployment = replace(DEPLOYMENT, anycast=anycast, bgp=(bgp,))
    return wanted_of(deployment, NODE)


@pytest.mark.parametrize(
    ("anycast", "vips", "farewell_s"),
    [
        ((), False, 0.0),
        ((DNS,), True, 2.0 + WITHDRAW_S),
        ((WEB,), False, 4.0 + WITHDRAW_S),
        ((DNS, WEB), True, 4.0 + WITHDRAW_S),
        ((replace(DNS, drain_s=90.0),), True, MOVE_S + WITHDRAW_S),
        ((ELSEWHERE,), False, 0.0),
        ((WEB, ELSEWHERE), False, 4.0 + WITHDRAW_S),
    ],
)
def test_addresses_and_a_farewell_where_prefixes_lead_here(
    anycast: tuple[Anycast, ...],
    vips: bool,  # noqa: FBT001
    farewell_s: float,
) -> None:
    asked = of(*anycast)
    assert (asked.vips, asked.farewell_s) == (vips, farewell_s)


def test_a_node_without_a_speaker_announces_nothing() -> None:
    asked = of(DNS, WEB, speaker=IAD)
    assert (asked.vips, asked.binds_low, asked.farewell_s) == (False, False, 0.0)


@pytest.mark.parametrize(
    ("passive", "port", "low"), [(False, 179, False), (True, 179, True), (True, 1023, True), (True, 1790, False)]
)
def test_a_low_port_is_bound_where_routers_dial_one(passive: bool, port: int, low: bool) -> None:  # noqa: FBT001
    assert of(DNS, neighbor=replace(ROUTER, passive=passive, port=port)).binds_low is low


def test_what_is_said_is_understood() -> None:
    asked = of(DNS, WEB, neighbor=replace(ROUTER, passive=True))
    assert from_json(json.loads(json.dumps(asked.to_json()))) == asked
