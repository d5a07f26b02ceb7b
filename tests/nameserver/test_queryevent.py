"""What is told of a query: networks and no clients, and the same by the reference and by the native executor."""

from __future__ import annotations

from ctypes import sizeof
from dataclasses import replace
from ipaddress import ip_address

import pytest

from gslb.layout import DnsEvent, DnsEventFlags
from gslb.nameserver.native import Native, opened
from gslb.nameserver.queryevent import RECORD_OCTETS, pack, read
from tests.fuzz.differential import LIBRARY
from tests.nameserver.imagescene import Scene, scene
from tests.nameserver.make import ecs, query
from tests.nameserver.make import opt as opt_of

AT = 1_700_000_000_500_000_000
V4, V6 = "203.0.113.77", "2001:db8:5:55ff:1::9"
QUERIES = [
    query("z.test.", "SOA"),
    query("WWW.z.test.", "A"),
    query("www.z.test.", "AAAA", opt_of()),
    query("ab.www.z.test.", "A", opt_of()),
    query("www.z.test.", "A", opt_of(ecs("10.20.1.0/24"))),
    query("www.z.test.", "A", opt_of(ecs("10.20.1.77/32"))),
    query("www.z.test.", "AAAA", opt_of(ecs("2001:db8:5::/44"))),
    query("www.z.test.", "AAAA", opt_of(ecs("2001:db8:5:55ff:1::9/128"))),
    query("many.z.test.", "TXT"),
    query("absent.example.", "A"),
    query(f"{'n' * 60}.{'m' * 30}.z.test.", "A"),
]


@pytest.fixture(scope="module")
def tables() -> Scene:
    return scene(one_class=False)


def told(message: bytes, reply: bytes | None, client: str = V4) -> bytes:
    found = pack(message, reply, client, AT, valid=False)
    assert found is not None
    return found


def test_a_record_is_the_programs() -> None:
    assert sizeof(DnsEvent) == RECORD_OCTETS


def test_of_a_client_its_network_is_told(tables: Scene) -> None:
    message = query("WWW.z.test.", "AAAA", opt_of(ecs("2001:db8:5:55ff:1::9/128")))
    found = read(told(message, tables.responder.general(message, V6), V6))
    assert (found.client, found.subnet, found.at) == ("2001:db8:5:5500::/56", "2001:db8:5:5500::/56", AT / 1e9)
    assert (found.name, found.cut, found.rtype, found.rcode) == (b"\3www\1z\4test\0", False, 28, 0)
    assert found.address is not None
    assert found.scope
    for client, network in ((V4, "203.0.113.0/24"), (f"::ffff:{V4}", "203.0.113.0/24"), ("fe80::1%eth0", "fe80::/56")):
        assert read(told(QUERIES[0], None, client)).client == network


def test_what_is_not_answered_is_told_so() -> None:
    found = read(told(QUERIES[1], None))
    assert (found.flags, found.address, found.scope) == (DnsEventFlags.DNS_EVENT_DROPPED, None, None)


@pytest.mark.parametrize("octets", [b"", b"\0" * 12, QUERIES[1][:-1], b"\xff" * 40])
def test_nonsense_is_not_told(octets: bytes) -> None:
    assert pack(octets, None, V4, AT, valid=False) is None


@pytest.mark.skipif(not LIBRARY.exists(), reason="libgslb.so is not built")
@pytest.mark.parametrize("client", [V4, V6])
def test_the_native_executor_tells_the_same(tables: Scene, client: str) -> None:
    packed = ip_address(client).packed
    source = packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed
    native = Native(opened(LIBRARY), tables.file, tables.geography)
    try:
        for message in QUERIES:
            assert native.answer(message, source, 0)
        assert native.told() == (b"", 0), "nobody listens"
        native.sample(1, 1_000)
        replies = [native.answer(message, source, 0) for message in QUERIES]
        records, lost = native.told()
        assert (len(records), lost) == (len(QUERIES) * RECORD_OCTETS, 0)
        for number, (message, reply) in enumerate(zip(QUERIES, replies, strict=True)):
            here = read(records[number * RECORD_OCTETS :][:RECORD_OCTETS])
            assert replace(here, at=0.0) == replace(read(told(message, reply, client)), at=0.0)
        assert native.told() == (b"", 0)
    finally:
        native.close()


@pytest.mark.skipif(not LIBRARY.exists(), reason="libgslb.so is not built")
def test_the_native_executor_tells_no_more_than_it_may(tables: Scene) -> None:
    native = Native(opened(LIBRARY), tables.file, tables.geography)
    source = bytes(10) + b"\xff\xff" + b"\x0a\0\0\1"
    try:
        native.sample(10, 1_000)
        for _ in range(95):
            native.answer(QUERIES[1], source, 0)
        records, lost = native.told()
        assert (len(records) // RECORD_OCTETS, lost) == (9, 0), "one in ten"
        native.sample(1, 1 << 31)
        for _ in range(1_000):
            native.answer(QUERIES[1], source, 0)
        records, lost = native.told()
        assert (len(records) // RECORD_OCTETS, lost) == (256, 744), "what waits is bounded, and the rest is counted"
        native.sample(1, 1)
        for _ in range(1_000):
            native.answer(QUERIES[1], source, 0)
        records, lost = native.told()
        assert len(records) // RECORD_OCTETS <= 3, "of a second no more than that"
        assert lost == 1_000 - len(records) // RECORD_OCTETS
    finally:
        native.close()
