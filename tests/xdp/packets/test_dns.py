"""Queries as frames through the entry program: the reply is the reference's, in a right frame; what is not answered is untouched."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from gslb import dnslayout
from tests.nameserver.imagescene import Scene, scene
from tests.nameserver.make import ecs, query
from tests.nameserver.make import opt as opt_of
from tests.xdp.dnsplane import PORT, V4, V6, DnsPlane, dns_plane
from xdp import agreement, pins
from xdp.libbpf import XDP_PASS, XDP_TX
from xdp.messages import Block

pytestmark = pytest.mark.root

OWN, ROUTER = "02:00:00:00:00:01", "02:00:00:00:00:02"
CLIENT = {4: "203.0.113.7", 6: "2001:db8:c::7"}
TO = {4: V4, 6: V6}
TAGS = ((), ((0x8100, 7),), ((0x88A8, 8), (0x8100, 9)))
MANY = "many.z.test."  # a reply of about 1 000 octets


@pytest.fixture(scope="module")
def answering(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsPlane]:
    with dns_plane(pins.folder("test", "packets-dns"), objects, tmp_path_factory.mktemp("dns")) as made:
        made.put(scene(one_class=False))
        yield made


@pytest.fixture
def tables() -> Scene:
    return scene(one_class=False)


def ether(tags: tuple[tuple[int, int], ...] = (), *, back: bool = False) -> Packet:
    frame: Packet = Ether(src=OWN, dst=ROUTER) if back else Ether(src=ROUTER, dst=OWN)
    for kind, vlan in tags:
        frame /= Dot1Q(vlan=vlan, prio=3) if kind == 0x8100 else Dot1AD(vlan=vlan, prio=3)
    return frame


def ip(version: int, **fields: Any) -> Packet:
    fields = {"src": CLIENT[version], "dst": TO[version]} | fields
    kind, usual = (IP, {"id": 77, "ttl": 57, "tos": 3}) if version == 4 else (IPv6, {"hlim": 57, "tc": 3})
    return kind(**{**usual, **fields})


def udp(message: bytes, **fields: Any) -> Packet:
    return UDP(**{"sport": 40000, "dport": PORT, **fields}) / Raw(message)


def replied(version: int, message: bytes, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """The frame of a reply, as scapy writes it: every checksum is its own."""
    to = CLIENT[version]
    header = IP(src=V4, dst=to, id=0, flags="DF", ttl=64) if version == 4 else IPv6(src=V6, dst=to, hlim=64)
    return bytes(ether(tags, back=True) / header / UDP(sport=PORT, dport=40000) / Raw(message))


def reference(tables: Scene, message: bytes, client: str) -> bytes:
    found = tables.responder.general(message, client)
    assert found is not None
    return found


@pytest.mark.parametrize("tags", TAGS, ids=["untagged", "one tag", "two tags"])
@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    "message",
    [
        query("z.test.", "SOA"),
        query("www.Z.test.", "A"),
        query("www.z.test.", "AAAA", opt_of()),
        query("ab.www.z.test.", "A", opt_of()),
        query("www.z.test.", "A", opt_of(ecs("10.20.1.0/24"))),
        query("www.z.test.", "AAAA", opt_of(ecs("2001:db8:5::/56"))),
        query(MANY, "TXT", opt_of(payload=1232)),
        query(MANY, "TXT"),
        query("absent.example.", "A"),
    ],
    ids=["soa", "plain", "edns", "absent", "ecs4", "ecs6", "large", "truncated", "refused"],
)
def test_the_reply_is_the_references_in_a_right_frame(
    answering: DnsPlane, tables: Scene, version: int, tags: tuple[tuple[int, int], ...], message: bytes
) -> None:
    verdict, out = answering.run(bytes(ether(tags) / ip(version) / udp(message)))
    assert verdict == XDP_TX
    assert out == replied(version, reference(tables, message, CLIENT[version]), tags)


@pytest.mark.parametrize("labels", range(1, 9))
@pytest.mark.parametrize("version", [4, 6])
def test_replies_of_every_length_modulo_eight_sum_up(
    answering: DnsPlane, tables: Scene, version: int, labels: int
) -> None:
    message = query("x" * labels + ".z.test.", "A")
    verdict, out = answering.run(bytes(ether() / ip(version) / udp(message)))
    assert (verdict, out) == (XDP_TX, replied(version, reference(tables, message, CLIENT[version])))


def test_padding_of_a_short_frame_is_no_part_of_the_query(answering: DnsPlane, tables: Scene) -> None:
    message = query("www.z.test.", "A")
    verdict, out = answering.run(bytes(ether() / ip(4) / udp(message)) + b"\xee" * 9)
    assert (verdict, out) == (XDP_TX, replied(4, reference(tables, message, CLIENT[4])))


def test_a_checksum_of_zero_is_sent_as_ones(answering: DnsPlane, tables: Scene) -> None:
    """RFC 768: found by trying the clients' ports until a reply would sum up to it."""
    message = query("www.z.test.", "A")
    body = reference(tables, message, CLIENT[4])
    port = next(port for port in range(1024, 65536) if UDP(bytes(IP(replied_from(port, body)))[20:]).chksum == 0xFFFF)
    verdict, out = answering.run(bytes(ether() / ip(4) / udp(message, sport=port)))
    assert verdict == XDP_TX
    assert out[40:42] == b"\xff\xff"


def replied_from(port: int, body: bytes) -> bytes:
    return bytes(IP(src=V4, dst=CLIENT[4], id=0, flags="DF") / UDP(sport=PORT, dport=port) / Raw(body))


def passed(name: str, frame: Packet | bytes) -> object:
    return pytest.param(bytes(frame), id=name)


ASK = query("www.z.test.", "A")
UNTOUCHED = [
    passed("to another port", ether() / ip(4) / udp(ASK, dport=5353)),
    passed("to another address", ether() / ip(4, dst="198.51.100.54") / udp(ASK)),
    passed("to a group's Ethernet address", Ether(src=ROUTER, dst="01:00:5e:00:00:01") / ip(4) / udp(ASK)),
    passed("to another's Ethernet address", Ether(src=ROUTER, dst="02:00:00:00:00:09") / ip(4) / udp(ASK)),
    passed("without a checksum over IPv6", ether() / ip(6) / udp(ASK, chksum=0)),
    passed("from the broadcast address of a network of ours", ether() / ip(4, src="203.0.113.255") / udp(ASK)),
    passed("options", ether() / ip(4, options=b"\x01\x01\x01\x00") / udp(ASK)),
    passed("a first fragment", ether() / ip(4, flags="MF") / udp(ASK)),
    passed("a later fragment", ether() / ip(4, frag=8) / udp(ASK)),
    passed("an atomic fragment", ether() / ip(6) / IPv6ExtHdrFragment() / udp(ASK)),
    passed("an extension header", ether() / ip(6) / IPv6ExtHdrDestOpt() / udp(ASK)),
    passed("from port 0", ether() / ip(4) / udp(ASK, sport=0)),
    *[
        passed(f"from {source}", ether() / ip(ip_address(source).version, src=source) / udp(ASK))
        for source in ("0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", V4, "::", "::1", "ff02::1", V6)
    ],
    passed("UDP says more than there is", ether() / ip(4) / udp(ASK, len=8 + len(ASK) + 1)),
    passed("UDP says less than its header", ether() / ip(4) / udp(ASK, len=7)),
    passed("UDP of a jumbogram", ether() / ip(6) / udp(ASK, len=0)),
    passed("less than a header", ether() / ip(4) / udp(ASK[:11])),
    passed("more than is looked at", ether() / ip(4) / udp(ASK + bytes(dnslayout.DNS_QUERY_MOST))),
    passed("a response", ether() / ip(4) / udp(b"\x12\x34\x80" + ASK[3:])),
    passed("an update", ether() / ip(4) / udp(ASK[:2] + b"\x28\x00" + ASK[4:])),
    passed("what only the worker knows", ether() / ip(4) / udp(query("x.wild.z.test.", "A"))),
    passed("all types", ether() / ip(4) / udp(query("z.test.", 252))),
]


@pytest.mark.parametrize("frame", UNTOUCHED)
def test_what_is_not_answered_goes_up_as_it_came(answering: DnsPlane, frame: bytes) -> None:
    assert answering.run(frame) == (XDP_PASS, frame)


def test_what_udp_leaves_of_the_packet_is_no_part_of_the_query(answering: DnsPlane, tables: Scene) -> None:
    """The IP packet is longer than the datagram in it."""
    frame = bytes(ether() / ip(4) / udp(ASK + b"junk", len=8 + len(ASK)))
    assert answering.run(frame) == (XDP_TX, replied(4, reference(tables, ASK, CLIENT[4])))


def counted(blocks: tuple[Block, ...]) -> dict[int, int]:
    indexes, counts = memoryview(blocks[-1].indexes).cast("I"), memoryview(blocks[-1].counts).cast("Q")
    return dict(zip(indexes, counts, strict=True))


def test_each_query_is_counted(answering: DnsPlane, tables: Scene) -> None:
    before = counted(answering.answers.blocks())
    for _ in range(3):
        answering.run(bytes(ether() / ip(4) / udp(ASK)))
    answering.run(bytes(ether() / ip(4) / udp(query("x.wild.z.test.", "A"))))
    after = counted(answering.answers.blocks())
    changed = {index: count - before.get(index, 0) for index, count in after.items() if count != before.get(index, 0)}
    first = {name: offset // 8 for name, offset, _ in agreement.fields(dnslayout.DnsCounts)}
    assert changed.pop(first["counter"] + dnslayout.DnsCounter.DNS_COUNTER_FAST) == 3
    assert changed.pop(first["up"] + dnslayout.DnsUp.DNS_UP_NAME) == 1
    assert changed.pop(first["qtype"] + dnslayout.DnsQtype.DNS_QTYPE_A) == 3
    assert set(changed.values()) == {3}, "answered, in its cell and by its pools"
    assert len(changed) == 3
    assert tables.legend.cells
