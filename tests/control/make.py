"""A small deployment and what the controller makes of it, for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from gslb.control.geography import Located, at_once
from gslb.control.planner import Model, geography_of
from gslb.model.deployment import (
    TYPE_A,
    Answer,
    Api,
    Datacenter,
    Deployment,
    Dns,
    Node,
    NodeId,
    Policy,
    PolicyId,
    Pool,
    PoolId,
    Rule,
    SiteId,
    Socket,
)
from gslb.model.zone import DynamicRecord, RRset, Zone

FRA, IAD = SiteId("fra"), SiteId("iad")
FRA_ADDRESS, IAD_ADDRESS = "192.0.2.10", "198.51.100.10"
APEX = b"\x07example\x03com\x00"
NODE = Node(NodeId("fra"), FRA)
LISTEN = Socket(IPv4Address("127.0.0.1"), 5300)
SECRET = b"secret"


def pool(site: SiteId, address: str) -> Pool:
    return Pool(PoolId(f"web-{site}"), site, (Answer(IPv4Address(address)),))


POOLS = {one.name: one for one in (pool(FRA, FRA_ADDRESS), pool(IAD, IAD_ADDRESS))}
POLICY = Policy(PolicyId("web"), (Rule(tuple(POOLS)),))
DEPLOYMENT = Deployment(
    name="example",
    nodes={NODE.name: NODE},
    datacenters={site: Datacenter(site) for site in (FRA, IAD)},
    pools=POOLS,
    policies={POLICY.name: POLICY},
    dns=Dns((LISTEN,)),
    api=Api(LISTEN),
)
WITH_SUBNETS = replace(
    DEPLOYMENT,
    policies={
        POLICY.name: replace(
            POLICY,
            rules=(Rule((PoolId("web-iad"),), subnets=(IPv4Network("203.0.113.0/24"),)), *POLICY.rules),
        )
    },
)
SOA = APEX * 2 + (1).to_bytes(4, "big") * 5
ZONE = Zone(
    APEX,
    (RRset(APEX, 6, 60, (SOA,)), RRset(APEX, 2, 60, (b"\x02ns" + APEX,))),
    (DynamicRecord(b"\x03www" + APEX, (TYPE_A,), POLICY.name, 60),),
)


def located(folder: Path, deployment: Deployment = DEPLOYMENT) -> Located:
    return at_once(deployment, folder / "geography")


def model(folder: Path, deployment: Deployment = DEPLOYMENT) -> Model:
    table = located(folder, deployment)
    return Model(deployment, NODE, (ZONE,), table, geography_of(table), SECRET)
