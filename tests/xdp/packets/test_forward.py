"""Packets of clients to VIPs, by every mode and family."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.packet import Packet

from tests.xdp.packets.cases import DROP, PASS, REDIRECT, TX, Case, check, named, sent
from tests.xdp.packets.frames import CLIENT, checksum, ether, ip, leaves, octets, tcp, udp
from tests.xdp.packets.scene import BACKENDS, MODES, Scene, address_of
from xdp import libbpf

pytestmark = pytest.mark.root
BOTH = (4, 6)
TAGS = {"VLAN": ((0x8100, 12),), "QinQ": ((0x88A8, 7), (0x8100, 12)), "two VLANs": ((0x8100, 7), (0x8100, 12))}


def forwarded(name: str, backend: str, packet: Packet, **more: int) -> Case:
    """The plain case: to the backend by XDP_TX."""
    kind = "udp" if UDP in packet else "tcp"
    version = 4 if isinstance(packet, IP) else 6
    counts = sent(f"{backend}/{version}/{kind}", backend, octets(packet), **more)
    return Case(f"v{version} {backend}: {name}", ether() / packet, TX, leaves(backend, packet), counts)


def by_every_mode() -> Iterator[Case]:
    for version in BOTH:
        for backend in MODES:
            yield forwarded("TCP ACK", backend, tcp(backend, version))
            yield forwarded("TCP SYN", backend, tcp(backend, version, "S", payload=b""), syns=1)
            for flags in ("SA", "R", "RA", "F", "FA", "PA", "UA", "FPU", ""):
                yield forwarded(f"TCP flags {flags or 'none'}", backend, tcp(backend, version, flags))
            yield forwarded("UDP", backend, udp(backend, version), udp_flows=1)
            yield forwarded("UDP without data", backend, udp(backend, version, payload=b""), udp_flows=1)
            for tos in (0x8C, 0x01, 0x02, 0x03, 0xB9, 0xFF):
                yield forwarded(f"ToS {tos:#04x} is copied out", backend, tcp(backend, version, tos=tos))
            yield forwarded("TTL 2 is the last that goes through a tunnel", backend, tcp(backend, version, ttl=2))
            yield forwarded("TTL 255", backend, tcp(backend, version, ttl=255))
            yield from tagged(backend, version)
        yield forwarded("TTL 1 does not matter without a tunnel", "l2", tcp("l2", version, ttl=1))
        for backend in MODES[1:]:
            for ttl in (0, 1):
                packet = tcp(backend, version, ttl=ttl)
                counts = {"TTL": 1}
                yield Case(
                    f"v{version} {backend}: TTL {ttl} would be 0 in the tunnel", ether() / packet, DROP, None, counts
                )
    for backend in MODES:
        yield forwarded("may be fragmented, so may what carries it", backend, tcp(backend, 4, df=False))


def tagged(backend: str, version: int) -> Iterator[Case]:
    packet = tcp(backend, version)
    counts = sent(f"{backend}/{version}/tcp", backend, octets(packet))
    for name, tags in TAGS.items():
        expect = leaves(backend, packet, tags=tags)
        yield Case(f"v{version} {backend}: {name}", ether(tags=tags) / packet, TX, expect, counts)


def runts() -> Iterator[Case]:
    """Frames that Ethernet padded: what is encapsulated is the IP packet by its own length."""
    pad = b"\xee" * 6
    for version in BOTH:
        for backend in MODES:
            packet = tcp(backend, version, payload=b"")
            counts = sent(f"{backend}/{version}/tcp", backend, octets(packet))
            expect = bytes(leaves(backend, packet)) + (pad if backend == "l2" else b"")
            yield Case(
                f"v{version} {backend}: padding is not carried", bytes(ether() / packet) + pad, TX, expect, counts
            )


def extended() -> Iterator[Case]:
    headers: dict[str, list[Packet]] = {
        "hop-by-hop options": [IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])],
        "destination options": [IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)])],
        "a routing header": [IPv6ExtHdrRouting(addresses=["2001:db8::1"], segleft=0)],
        "three extension headers": [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(segleft=0)],
    }
    for name, chain in headers.items():
        for backend in MODES:
            plain = tcp(backend, 6)
            packet = IPv6(bytes(with_headers(plain, chain)))
            counts = sent(f"{backend}/6/tcp", backend, octets(packet))
            yield Case(f"v6 {backend}: {name}", ether() / packet, TX, leaves(backend, packet), counts)
    deep = with_headers(tcp("l2", 6), [IPv6ExtHdrDestOpt()] * 12)
    yield Case("v6: more extension headers than are walked", ether() / deep, DROP, None, {"EXTENSIONS": 1})


def with_headers(packet: Packet, chain: list[Packet]) -> Packet:
    """The packet with extension headers before its transport."""
    whole = IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim)
    for header in chain:
        whole /= header.copy()
    return whole / packet.payload.copy()


def optioned() -> Iterator[Case]:
    for name, options in (
        ("record route", [IPOption_RR(length=7, pointer=4, routers=["0.0.0.0"])]),
        ("no-operation", [IPOption_NOP()] * 4),
    ):
        packet = tcp("l2", 4, options=options)
        yield Case(f"v4: options towards a VIP ({name})", ether() / packet, DROP, None, {"OPTIONS": 1})
        other = ip(4, CLIENT[4], "198.51.100.250", options=options) / packet.payload
        yield Case(f"v4: options towards another address ({name})", ether() / other, PASS, None, {"NO_VIP": 1})


def elsewhere() -> Iterator[Case]:
    for version in BOTH:
        for backend in ("far", "far-ip4"):
            packet = tcp(backend, version)
            counts = sent(f"{backend}/{version}/tcp", backend, octets(packet))
            yield Case(
                f"v{version} {backend}: leaves by another interface",
                ether() / packet,
                REDIRECT,
                leaves(backend, packet),
                counts,
            )


CASES = [*by_every_mode(), *runts(), *extended(), *optioned(), *elsewhere()]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_forward(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


@pytest.mark.parametrize("backend", ["ip4", "gue4"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 100, 1001])
def test_outer_checksum_by_plain_addition(scene: Scene, backend: str, size: int) -> None:
    for version in BOTH:
        _, out = scene.programs.quick(bytes(ether() / tcp(backend, version, payload=bytes(size), tos=size & 0xFF)))
        assert out[14] == 0x45
        assert checksum(out[14:34]) == 0
        assert checksum(out[34:54]) == 0 or backend != "ip4" or version != 4


@pytest.mark.parametrize("backend", MODES)
def test_an_inner_packet_is_as_it_was_sent_but_for_its_hop(scene: Scene, backend: str) -> None:
    packet = bytes(tcp(backend, 4))
    verdict, out = scene.programs.quick(bytes(ether() / IP(packet)))
    inner = out[-len(packet) :]
    assert verdict == libbpf.XDP_TX
    assert inner[:8] == packet[:8]
    assert inner[12:] == packet[12:]
    assert checksum(inner[:20]) == 0
    assert BACKENDS[backend].mode == 1 or inner[8] == packet[8] - 1


def test_a_flow_to_an_address_that_is_no_vip_is_left_alone(scene: Scene) -> None:
    packet = ip(4, CLIENT[4], address_of("l2", 4)) / tcp("l2", 4).payload
    packet.dport = 81
    check(scene.programs, Case("another port", ether() / IP(bytes(packet)), PASS, None, {"NO_VIP": 1}))
