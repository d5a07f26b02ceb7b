"""Whole replies against the slow twin (tests/nameserver/oracle.py), on random zones and names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.name import Name
from hypothesis import given
from hypothesis import strategies as st

from gslb.model.deployment import PolicyId
from gslb.model.zone import DynamicRecord, RRset, Zone
from gslb.nameserver.answer import Responder
from gslb.nameserver.table import Tables
from tests.nameserver import oracle
from tests.nameserver.make import ask, one_class, opt, plan, policy_plan, query, tables
from tests.nameserver.make import choice as choose

APEX = dns.name.from_text("example.")
CHILD = dns.name.from_text("b.example.")
OTHER = dns.name.from_text("other.")
APEXES = (APEX, CHILD, OTHER)
SOA_DATA = "ns.example. hostmaster.example. 1 2 3 4 60"
DYNAMIC = "192.0.2.200"
RTYPES = (1, 2, 5, 6, 15, 16, 28, 33, 39, 43, 255)

labels = st.sampled_from([b"a", b"b", b"c", b"*", b"w"])
below = st.lists(labels, max_size=3).map(tuple)
names = st.builds(lambda path, apex: Name((*path, *apex.labels)), below, st.sampled_from(APEXES))
anywhere = st.one_of(names, st.just(dns.name.from_text("elsewhere.net.")))
ttls = st.sampled_from([0, 30, 3600])
datas: Mapping[int, st.SearchStrategy[str]] = {
    1: st.sampled_from(["192.0.2.1", "192.0.2.2"]),
    2: anywhere.map(str),
    5: anywhere.map(str),
    15: anywhere.map(lambda name: f"10 {name}"),
    16: st.just('"text"'),
    28: st.just("2001:db8::1"),
    33: anywhere.map(lambda name: f"1 2 53 {name}"),
    39: anywhere.map(str),
    43: st.just("1 13 2 " + "AB" * 32),
}
SINGLE = (5, 39)


@st.composite
def record_sets(draw: st.DrawFn) -> tuple[Name, int, oracle.Records]:
    """One random RRset somewhere in our zones."""
    rtype = draw(st.sampled_from(sorted(datas)))
    most = 1 if rtype in SINGLE else 2
    data = draw(st.lists(datas[rtype], min_size=1, max_size=most, unique=True))
    return draw(names), rtype, (draw(ttls), tuple(data))


@st.composite
def worlds(draw: st.DrawFn) -> tuple[dict[Name, dict[Name, dict[int, oracle.Records]]], set[Name]]:
    """Zones by apex, and the names of them that a policy answers with one A record."""
    zones: dict[Name, dict[Name, dict[int, oracle.Records]]] = {
        apex: {apex: {6: (3600, (SOA_DATA,)), 2: (300, ("ns.example.",))}} for apex in APEXES
    }
    for owner, rtype, found in draw(st.lists(record_sets(), max_size=12)):
        apex = next(apex for apex in draw(st.permutations(APEXES)) if owner.is_subdomain(apex))
        here = zones[apex].setdefault(owner, {})
        alone = (not here and rtype == 5) or (5 not in here and rtype != 5)
        if alone and not (owner == apex and rtype in (2, 5)):
            here[rtype] = found
    dynamic = set()
    for owner in draw(st.lists(names, max_size=2)):
        home = oracle.zone_of(zones, owner, 1)
        assert home is not None
        if not zones[home].get(owner):
            zones[home][owner] = {1: (60, (DYNAMIC,))}
            dynamic.add(owner)
    return zones, dynamic


def serve(zones: Mapping[Name, oracle.OracleZone], dynamic: Iterable[Name]) -> Responder:
    """The subject over the same zones: dynamic names are bound to a policy instead."""
    return Responder(tables_of(zones, dynamic))


def tables_of(zones: Mapping[Name, oracle.OracleZone], dynamic: Iterable[Name]) -> Tables:
    """What `serve` serves."""
    location = one_class("web")
    made = plan(location, {"web": policy_plan({1: (0,), 28: (1,)})}, [choose(DYNAMIC), choose()])
    return tables([_zone(apex, zone, set(dynamic)) for apex, zone in zones.items()], made, location)


def _zone(apex: Name, owners: oracle.OracleZone, dynamic: set[Name]) -> Zone:
    static = [
        (owner, rtype, found) for owner, sets in owners.items() if owner not in dynamic for rtype, found in sets.items()
    ]
    return Zone(
        apex.to_wire() or b"",
        tuple(_rrset(owner, rtype, *found) for owner, rtype, found in static),
        tuple(
            DynamicRecord(owner.to_wire() or b"", (1, 28), PolicyId("web"), 60) for owner in owners if owner in dynamic
        ),
    )


def _rrset(owner: Name, rtype: int, ttl: int, data: tuple[str, ...]) -> RRset:
    rdatas = (
        dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.RdataType.make(rtype), text).to_wire() or b""
        for text in data
    )
    return RRset(owner.to_wire() or b"", rtype, ttl, tuple(rdatas))


def lines(section: Iterable[dns.rrset.RRset]) -> set[oracle.Line]:
    return {(rrset.name, int(rrset.rdtype), rrset.ttl, rdata.to_text().lower()) for rrset in section for rdata in rrset}


@given(worlds(), names, st.sampled_from(RTYPES))
def test_reply_equals_the_obvious_one(
    world: tuple[dict[Name, dict[Name, dict[int, oracle.Records]]], set[Name]], name: Name, rtype: int
) -> None:
    zones, dynamic = world
    expected = oracle.expect(zones, name, rtype)
    message = query(name.to_wire() or b"", rtype, opt())
    subject = serve(zones, dynamic)
    reply = ask(subject, message, tcp=True)
    assert dns.rcode.to_text(reply.rcode()) == expected.rcode
    assert bool(reply.flags & dns.flags.AA) == expected.aa
    assert lines(reply.answer) == expected.answer
    assert lines(reply.authority) == expected.authority
    assert expected.glue <= lines(reply.additional)
    static = {
        line for zone in zones.values() for owner in zone.keys() - dynamic for line in oracle.addresses(zone, owner)
    }
    assert lines(reply.additional) <= static
    ask(subject, message)  # by UDP both paths agree
