"""The sample of queries that the driver tells of: while somebody listens, networks alone, bounded, as the reference tells it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.layout import DnsSettings
from gslb.nameserver.queryevent import RECORD_OCTETS, pack, read
from tests.nameserver.imagescene import Scene, scene
from tests.nameserver.make import ecs, opt, query
from tests.xdp.dnsplane import V4, V6, DnsPlane, dns_plane, wanted
from xdp import asking, libbpf
from xdp.libbpf import XDP_TX
from xdp.messages import DnsWant
from xdp.sampled import LEASE_S, MOST_PER_S

pytestmark = pytest.mark.root

ASK = query("www.z.test.", "A")
SOA = query("z.test.", "SOA")


@pytest.fixture
def dns(home: Path, objects: Path, tmp_path: Path) -> Iterator[DnsPlane]:
    with dns_plane(home, objects, tmp_path) as made:
        yield made


@pytest.fixture
def one() -> Scene:
    return scene(one_class=True)


@pytest.fixture
def other() -> Scene:
    return scene(one_class=False)


def ask(dns: DnsPlane) -> None:
    assert dns.run(asking.frame(ASK, V4, 53))[0] == XDP_TX


def listened(tmp_path: Path, tables: Scene, one_in: int) -> DnsWant:
    return replace(wanted(tmp_path, tables.file, tables.geography), one_in=one_in)


def test_nothing_is_told_while_nobody_listens(dns: DnsPlane, one: Scene, tmp_path: Path) -> None:
    dns.put(one)
    ask(dns)
    assert dns.answers.queries() == (b"", 0)
    dns.answers.want(listened(tmp_path, one, 1), 1.0)
    assert dns.answers.queries() == (b"", 0), "what was before is nobody's"
    ask(dns)
    assert len(dns.answers.queries()[0]) == RECORD_OCTETS
    dns.answers.want(listened(tmp_path, one, 0), 2.0)
    ask(dns)
    assert dns.answers.queries() == (b"", 0)


def test_queries_are_told_as_the_reference_tells_them(dns: DnsPlane, other: Scene, tmp_path: Path) -> None:
    dns.answers.want(listened(tmp_path, other, 1), 1.0)
    messages = [
        *(ASK, SOA, query("WWW.z.test.", "AAAA", opt()), query("ab.www.z.test.", "A", opt())),
        query("www.z.test.", "A", opt(ecs("10.20.1.77/32"))),
        query("www.z.test.", "AAAA", opt(ecs("2001:db8:5:55ff::/64"))),
        query(f"{'n' * 60}.{'m' * 30}.z.test.", "A"),
    ]
    for address, client in ((V4, str(asking.NOBODY[4])), (V6, str(asking.NOBODY[6]))):
        for message in messages:
            assert dns.run(asking.frame(message, address, 53))[0] == XDP_TX
        records, lost = dns.answers.queries()
        assert (len(records), lost) == (len(messages) * RECORD_OCTETS, 0)
        for number, message in enumerate(messages):
            reference = pack(message, other.responder.general(message, client), client, 0, valid=False)
            assert reference is not None
            found = read(records[number * RECORD_OCTETS :][:RECORD_OCTETS])
            assert replace(found, at=0.0) == read(reference)
            assert abs(found.at - time.time()) < 5


def test_what_is_told_is_bounded_and_the_rest_counted(dns: DnsPlane, one: Scene, tmp_path: Path) -> None:
    dns.answers.want(listened(tmp_path, one, 3), 1.0)
    for _ in range(30 * libbpf.possible_cpus()):
        ask(dns)
    records, lost = dns.answers.queries()
    assert lost == 0
    assert 30 * libbpf.possible_cpus() // 3 - libbpf.possible_cpus() <= len(records) // RECORD_OCTETS
    dns.answers.want(listened(tmp_path, one, 1), 2.0)
    asked = 4 * MOST_PER_S
    for _ in range(asked):
        ask(dns)
    records, lost = dns.answers.queries()
    assert len(records) // RECORD_OCTETS + lost == asked, "what is lost is counted"
    assert 0 < len(records) // RECORD_OCTETS < 2_050, "what waits is bounded"


def test_who_stops_taking_is_told_no_more(dns: DnsPlane, one: Scene, tmp_path: Path) -> None:
    """A process or a controller that is dead: the program stops by itself."""
    dns.answers.want(listened(tmp_path, one, 1), 1.0)
    settings = DnsSettings.from_buffer_copy(dns.plane.maps["dns_settings"].lookup(bytes(4)) or b"")
    assert 0 < settings.sample_until_ns - time.monotonic_ns() <= LEASE_S * 1e9
    settings.sample_until_ns = time.monotonic_ns() - 1_000_000_000
    dns.plane.maps["dns_settings"].update(bytes(4), bytes(settings))
    ask(dns)
    assert dns.answers.queries() == (b"", 0)
    dns.answers.tick(2.0)
    ask(dns)
    assert len(dns.answers.queries()[0]) == RECORD_OCTETS, "taking them is listening"
