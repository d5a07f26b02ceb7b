"""Responses over the limit in the driver: dropped, or cut as the reference cuts them; cookies pass."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from gslb.geo.subnets import subnet_table
from gslb.geo.table import LocationTable
from gslb.nameserver.answer import Responder
from gslb.nameserver.counters import Counter
from gslb.nameserver.guard import Buckets
from gslb.nameserver.image import ImageBuilder
from gslb.nameserver.limit import BUCKETS_OCTETS
from gslb.nameserver.table import Tables
from tests.nameserver import make
from tests.nameserver.make import bound, choice, ecs, opt, plan, policy_plan, query
from tests.xdp.dnsplane import PORT, V4, V6, DnsPlane, dns_plane, wanted
from xdp import asking, pins
from xdp.libbpf import XDP_DROP, XDP_TX

pytestmark = pytest.mark.root

GEOGRAPHY = subnet_table(make.deployment({"web": ()}))
SOA = "@ 60 SOA ns1 h 1 2 3 4 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53"
COOKIE = (10, b"12345678")
SLIP = 3
MESSAGES = {
    "plain": query("www.z.test.", flags=0x100),
    "subnet": query("www.z.test.", opt=opt(ecs("192.0.2.0/24"))),
    "absent": query("absent.z.test.", opt=opt()),
    "cookie": query("www.z.test.", opt=opt(COOKIE)),
    "cookie and subnet": query("www.z.test.", opt=opt(ecs("192.0.2.0/24"), COOKIE)),
}


def tables(*, dry_run: bool = False) -> Tables:
    """One response a second; time is the system's, as the program's is."""
    location = LocationTable.from_buffer(GEOGRAPHY)
    made = plan(location, {"web": policy_plan({1: (0,), 28: (1,)})}, [choice("192.0.2.1"), choice("2001:db8::1")])
    zones = [make.zone("z.test.", SOA, bound("www.z.test."))]
    return make.tables(zones, made, location, None, make.protection(1, SLIP, exempt=["198.18.0.0/15"], dry_run=dry_run))


@pytest.fixture(scope="module")
def plane(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsPlane]:
    with dns_plane(pins.folder("test", "packets-limit"), objects, tmp_path_factory.mktemp("dns")) as made:
        yield made


@pytest.fixture
def answering(plane: DnsPlane, tmp_path: Path) -> DnsPlane:
    put(plane, tmp_path)
    return plane


def put(plane: DnsPlane, folder: Path, *, dry_run: bool = False) -> None:
    image = ImageBuilder().build(tables(dry_run=dry_run)).octets
    state = plane.answers.want(wanted(folder, image, GEOGRAPHY), 0.0)
    assert state is not None
    assert (state.refused, state.problems) == ("", ())


def asked(answering: DnsPlane, message: bytes, client: str) -> tuple[int, bytes]:
    """The verdict, and the message in the frame that comes out."""
    version = ip_address(client).version
    header = IP(src=client, dst=V4) if version == 4 else IPv6(src=client, dst=V6)
    frame = (
        Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01") / header / UDP(sport=40000, dport=PORT) / Raw(message)
    )
    verdict, out = answering.run(bytes(frame))
    return verdict, out[14 + (20 if version == 4 else 40) + 8 :]


def client(version: int, number: int) -> str:
    """An address of a network that no other test asks from."""
    return f"203.0.{number}.7" if version == 4 else f"2001:db8:c:{number:02x}00::7"


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", MESSAGES)
def test_over_the_limit_it_is_as_the_reference_has_it(answering: DnsPlane, name: str, version: int) -> None:
    message, source = MESSAGES[name], client(version, 1 + list(MESSAGES).index(name))
    buckets = Buckets(memoryview(bytearray(BUCKETS_OCTETS)).cast("Q"), lambda: 10**12)
    now = time.time()
    reference = Responder(tables(), clock=lambda: now, buckets=buckets)
    for _ in range(1 + 2 * SLIP):
        verdict, reply = asked(answering, message, source)
        expected = reference.udp(message, source)
        assert verdict == (XDP_DROP if expected is None else XDP_TX)
        if expected is not None:
            assert without_cookies_time(reply) == without_cookies_time(expected)


def without_cookies_time(reply: bytes) -> bytes:
    """A server cookie tells the second in which it was made."""
    at = reply.find(COOKIE[1])
    return reply if at < 0 else reply[: at + 12] + reply[at + 24 :]


@pytest.mark.parametrize("version", [4, 6])
def test_a_good_cookie_passes(answering: DnsPlane, version: int) -> None:
    source = client(version, 20)
    _, reply = asked(answering, MESSAGES["cookie"], source)
    at = reply.index(COOKIE[1])
    message = query("www.z.test.", opt=opt((10, reply[at : at + 24])))
    assert {asked(answering, message, source) for _ in range(8)} == {(XDP_TX, asked(answering, message, source)[1])}
    assert asked(answering, message, client(version, 21))[0] == XDP_TX  # the first from there, whose cookie it is not
    assert asked(answering, message, client(version, 21))[0] == XDP_DROP


def test_the_exempt_pass(answering: DnsPlane) -> None:
    assert {asked(answering, MESSAGES["plain"], "198.18.3.99")[0] for _ in range(8)} == {XDP_TX}


def test_a_flood_in_the_name_that_readiness_is_asked_from_leaves_the_node_ready(answering: DnsPlane) -> None:
    message = MESSAGES["plain"]
    frame = asking.frame(message, V4, PORT)
    found = [answering.run(frame) for _ in range(4 * SLIP)]
    assert {verdict for verdict, _ in found} == {XDP_TX, XDP_DROP}
    assert {asking.wrong(message, *one) for one in found} == {""}


def test_what_was_taken_stays_taken_under_the_next_plan(answering: DnsPlane, tmp_path: Path) -> None:
    source = client(4, 30)
    assert [asked(answering, MESSAGES["plain"], source)[0] for _ in range(2)] == [XDP_TX, XDP_DROP]
    put(answering, tmp_path, dry_run=True)
    before = counted(answering, Counter.OVER_LIMIT)
    assert {asked(answering, MESSAGES["plain"], source)[0] for _ in range(4)} == {XDP_TX}, "a dry run sends all"
    assert counted(answering, Counter.OVER_LIMIT) - before == 4


def counted(answering: DnsPlane, counter: Counter) -> int:
    """One counter of the image in force, of all CPUs."""
    *_, block = answering.answers.blocks()
    return dict(zip(array("I", block.indexes), array("Q", block.counts), strict=True)).get(int(counter), 0)
