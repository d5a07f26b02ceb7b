"""Frames that end too early, and headers that lie: dropped, counted, at every length."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.packet import Packet, Raw

from tests.xdp.packets.cases import DROP, PASS, Case, check, named
from tests.xdp.packets.frames import CLIENT, ether, ip, tcp, udp
from tests.xdp.packets.scene import MODES, Scene, address_of

pytestmark = pytest.mark.root
SHORTEST = 14  # octets: the kernel takes no frame without an Ethernet header


def whole() -> Iterator[tuple[str, Packet]]:
    for backend in MODES:
        for version in (4, 6):
            yield f"v{version} {backend} TCP", ether() / tcp(backend, version)
            yield f"v{version} {backend} UDP", ether() / udp(backend, version)
    for version in (4, 6):
        yield f"v{version} in two VLANs", ether(tags=((0x88A8, 7), (0x8100, 12))) / tcp("ip4", version)
    vip4, vip6 = address_of("l2", 4), address_of("l2", 6)
    yield "v4 echo request", ether() / ip(4, CLIENT[4], vip4) / ICMP() / Raw(b"hello")
    yield "v6 echo request", ether() / ip(6, CLIENT[6], vip6) / ICMPv6EchoRequest(data=b"hello")
    quoted = ip(4, vip4, CLIENT[4]) / TCP(sport=80, dport=40000)
    yield "v4 ICMP error", ether() / ip(4, CLIENT[4], vip4) / ICMP(type=3, code=4, nexthopmtu=1400) / quoted
    yield "v6 with an extension header", ether() / ip(6, CLIENT[6], vip6) / IPv6ExtHdrDestOpt() / TCP(dport=80)
    yield (
        "v6 first fragment",
        ether() / ip(6, CLIENT[6], vip6) / IPv6ExtHdrFragment(m=1, id=9) / UDP(dport=80) / Raw(bytes(8)),
    )
    yield "v4 QUIC", ether() / ip(4, CLIENT[4], "198.51.100.104") / UDP(dport=443) / Raw(b"\xc0\0\0\0\1" + bytes(30))


@pytest.mark.parametrize(("name", "frame"), [pytest.param(name, bytes(frame), id=name) for name, frame in whole()])
def test_cut_at_every_length(scene: Scene, name: str, frame: bytes) -> None:
    """A frame that ends within its VLAN tags says nothing of IP."""
    tags = frame.index(b"\x08\0\x45") if b"\x08\0\x45" in frame else frame.index(b"\x86\xdd")
    for length in range(SHORTEST, len(frame)):
        verdict, reason = (DROP, "MALFORMED") if length >= tags + 2 else (PASS, "NOT_IP")
        check(scene.programs, Case(f"{name} cut at {length}", frame[:length], verdict, None, {reason: 1}))


def of_version(packet: Packet, version: int) -> Packet:
    packet.version = version
    return packet


def lies() -> Iterator[tuple[str, Packet]]:
    yield "v4 header of 16 octets", tcp("l2", 4, ihl=4)
    yield "v4 header of none", tcp("l2", 4, ihl=0)
    yield "v4 of version 5", of_version(tcp("l2", 4), 5)
    yield "v4 of version 6", of_version(tcp("l2", 4), 6)
    yield "v6 of version 4", of_version(tcp("l2", 6), 4)
    yield "v4 shorter than its header", tcp("l2", 4, len=19)
    yield "v4 of no length", tcp("l2", 4, len=0)
    yield "v4 without a whole TCP header", tcp("l2", 4, len=39)
    yield "v4 one octet more than there is", tcp("l2", 4, len=46)
    yield "v6 one octet more than there is", tcp("l2", 6, plen=26)
    yield "v6 without a whole TCP header", tcp("l2", 6, plen=19)
    yield "v6 of no length", tcp("l2", 6, plen=0)
    yield "v4 UDP without a whole header", udp("l2", 4, len=27)
    yield (
        "v6 extension header longer than the packet",
        ip(6, CLIENT[6], address_of("l2", 6)) / IPv6ExtHdrDestOpt(len=200) / TCP(dport=80),
    )


LIES = [Case(name, ether() / packet, DROP, None, {"MALFORMED": 1}) for name, packet in lies()]


@pytest.mark.parametrize("case", LIES, ids=named)
def test_headers_that_say_more_than_there_is(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


def embedded() -> Iterator[tuple[str, Packet]]:
    """IPv6 with IPv4 addresses: those of a VIP of one address, of a prefix, of nobody; of a client."""
    vip4, vip6 = address_of("l2", 4), address_of("l2", 6)
    for to in (vip4, "203.0.114.77", "192.0.2.99"):
        yield f"TCP to {to}", ip(6, CLIENT[6], f"::ffff:{to}") / TCP(dport=80)
    yield "UDP to a VIP", ip(6, CLIENT[6], f"::ffff:{vip4}") / UDP(sport=40000, dport=80)
    yield "echo to a VIP", ip(6, CLIENT[6], f"::ffff:{vip4}") / ICMPv6EchoRequest(data=b"hello")
    yield "behind an extension header", ip(6, CLIENT[6], f"::ffff:{vip4}") / IPv6ExtHdrDestOpt() / TCP(dport=80)
    yield "from one to a VIP", ip(6, f"::ffff:{CLIENT[4]}", vip6) / TCP(dport=80)
    yield "from one to one", ip(6, f"::ffff:{CLIENT[4]}", f"::ffff:{vip4}") / TCP(dport=80)


EMBEDDED = [Case(name, ether() / packet, DROP, None, {"MALFORMED": 1}) for name, packet in embedded()]


@pytest.mark.parametrize("case", EMBEDDED, ids=named)
def test_ipv4_in_an_ipv6_header_is_taken_for_no_vip(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


@pytest.mark.parametrize("to", ["::198.51.100.1", "::fffe:c633:6401", "::1:ffff:c633:6401", "64:ff9b::c633:6401"])
def test_what_only_looks_like_it_is_ipv6(scene: Scene, to: str) -> None:
    packet = ip(6, CLIENT[6], to) / TCP(sport=40000, dport=80)
    check(scene.programs, Case(to, ether() / packet, PASS, None, {"NO_VIP": 1}))


def test_ethertypes_are_believed(scene: Scene) -> None:
    for frame in (ether() / tcp("l2", 4), ether() / tcp("l2", 6)):
        swapped = bytearray(bytes(frame))
        swapped[12:14] = b"\x86\xdd" if isinstance(frame.payload, IP) else b"\x08\x00"
        assert isinstance(frame.payload, IP | IPv6)
        check(scene.programs, Case("another EtherType", bytes(swapped), DROP, None, {"MALFORMED": 1}))
