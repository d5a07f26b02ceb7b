"""Images of random zones: every name is answered as by the reference, or goes up; also where names are left out."""

from __future__ import annotations

from dns.name import Name
from hypothesis import given
from hypothesis import strategies as st

from gslb.geo.subnets import subnet_table
from gslb.nameserver.answer import Responder
from gslb.nameserver.image import ImageBuilder, split
from gslb.nameserver.wire import COUNTS, RESPONSE
from tests.nameserver import oracle
from tests.nameserver.imagereader import ImageReader
from tests.nameserver.make import CLIENT, deployment, opt, query
from tests.nameserver.test_lookup import RTYPES, names, tables_of, worlds

GEOGRAPHY = subnet_table(deployment({"web": ()}))
EVERYTHING = 1 << 20


@given(worlds(), st.lists(names, min_size=4, max_size=8), st.one_of(st.just(EVERYTHING), st.integers(0, 12)))
def test_random_zones_are_answered_as_by_the_reference(
    world: tuple[dict[Name, dict[Name, dict[int, oracle.Records]]], set[Name]], asked: list[Name], most: int
) -> None:
    zones, dynamic = world
    tables = tables_of(zones, dynamic)
    image, legend = split(ImageBuilder(most).build(tables).octets)
    assert legend.left_out.keys() <= {"names"}
    reader, reference = ImageReader(image, GEOGRAPHY), Responder(tables)
    for name in {*asked, *(owner for zone in zones.values() for owner in zone)}:
        wire = name.to_wire() or b""
        for rtype in RTYPES:
            message = query(wire, rtype, opt())
            found = reader.find(wire, rtype, bytes((192, 0, 2, 77)), 0x1234, subnet=False)
            if found is None:
                continue
            head = COUNTS.pack(RESPONSE | found.flags, 1, *found.counts[:2], found.counts[2] + 1)
            assert reference.udp(message, CLIENT) == message[:2] + head + message[12 : -len(opt())] + found.body + opt()


def test_who_leads_to_a_policy_is_held_before_others() -> None:
    """With room for no name, those that policies answer are held all the same, and what is left out is told."""
    apex = next(iter(zones := _one_zone()))
    www = Name((b"www", *apex.labels))
    image, legend = split(ImageBuilder(0).build(tables_of(zones, {www})).octets)
    reader = ImageReader(image, GEOGRAPHY)
    assert reader.find(www.to_wire() or b"", 1, bytes(4), 1, subnet=False) is not None
    assert reader.find(apex.to_wire() or b"", 6, bytes(4), 1, subnet=False) is not None
    for absent in (b"a", b"b", b"absent"):
        name = Name((absent, *apex.labels)).to_wire() or b""
        assert reader.find(name, 1, bytes(4), 1, subnet=False) is None, "names beside it may be among those left out"
    assert legend.left_out == {"names": 2}


def _one_zone() -> dict[Name, dict[Name, dict[int, oracle.Records]]]:
    apex = Name((b"z", b""))
    soa = (3600, ("ns.z. h.z. 1 2 3 4 60",))
    hosts: dict[Name, dict[int, oracle.Records]] = {
        Name((host, *apex.labels)): {1: (60, ("192.0.2.1",))} for host in (b"a", b"b", b"www")
    }
    return {apex: {apex: {6: soa, 2: (300, ("ns.z.",))}, **hosts}}
