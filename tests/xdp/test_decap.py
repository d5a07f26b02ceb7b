"""Decapsulation at a backend: packets in and out by BPF test run, then real ones in namespaces."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Padding, Raw

from xdp import btf, build, decap
from xdp.decap import DecapCount
from xdp.libbpf import XDP_DROP, XDP_PASS, Object, run_on

LINK = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
CLIENT4, CLIENT6 = "198.51.100.7", "2001:db8:c::7"
VIP4, VIP6 = "192.0.2.10", "2001:db8:a::10"
RANGE4, RANGE6 = "203.0.113.0/25", "2001:db8:b::/48"
END4, END6 = "10.1.0.11", "2001:db8:1::11"
LB4, LB6 = "198.18.3.4", "100::3:4"
ECT0, ECT1, CE = 2, 1, 3


def outer(version: int, proto: int, tos: int = 0) -> Packet:
    if version == 4:
        return IP(src=LB4, dst=END4, proto=proto, tos=tos, ttl=60, id=7)
    return IPv6(src=LB6, dst=END6, nh=proto, tc=tos, fl=0x12345, hlim=60)


def gue(version: int, tos: int = 0, port: int = 6080) -> Packet:
    return outer(version, 17, tos) / UDP(sport=50000, dport=port, chksum=0)


def tcp4(dst: str = VIP4, tos: int = 0, **more: Any) -> Packet:
    return IP(src=CLIENT4, dst=dst, tos=tos, ttl=61, **more) / TCP(sport=4242, dport=80, flags="S") / Raw(b"hello")


def tcp6(dst: str = VIP6, tos: int = 0) -> Packet:
    return IPv6(src=CLIENT6, dst=dst, tc=tos, fl=0xABCDE, hlim=61) / TCP(sport=4242, dport=80, flags="S") / Raw(b"hi")


@dataclass(frozen=True)
class Case:
    """One frame; `out` is None where it is dropped."""

    name: str
    send: Packet
    out: Packet | None
    counts: dict[DecapCount, int] = field(default_factory=dict)


IN_IP, IN_GUE = {DecapCount.DECAP_IP: 1}, {DecapCount.DECAP_GUE: 1}
NOT_OURS, MALFORMED = {DecapCount.DECAP_NOT_OURS: 1}, {DecapCount.DECAP_MALFORMED: 1}


def same(name: str, packet: Packet, counts: dict[DecapCount, int] | None = None) -> Case:
    """One that passes as it came."""
    return Case(name, packet, packet, counts or {})


def ecn(inner: int, over: int, after: int | None, *, version: int = 4) -> Case:
    """RFC 6040 section 4.2."""
    make = tcp4 if version == 4 else tcp6
    count = {DecapCount.DECAP_CONGESTED: 1} if after is None else IN_IP
    out = None if after is None else LINK / make(tos=0xB8 | after)
    send = LINK / outer(4, 4 if version == 4 else 41, 0xB8 | over) / make(tos=0xB8 | inner)
    return Case(f"ECN {inner} under {over} in IPv{version}", send, out, count)


CASES = [
    Case("IPv4 in IPv4", LINK / outer(4, 4) / tcp4(), LINK / tcp4(), IN_IP),
    Case("IPv6 in IPv4", LINK / outer(4, 41) / tcp6(), LINK / tcp6(), IN_IP),
    Case("IPv4 in IPv6", LINK / outer(6, 4) / tcp4(), LINK / tcp4(), IN_IP),
    Case("IPv6 in IPv6", LINK / outer(6, 41) / tcp6(), LINK / tcp6(), IN_IP),
    Case("IPv4 in GUE over IPv4", LINK / gue(4) / tcp4(), LINK / tcp4(), IN_GUE),
    Case("IPv6 in GUE over IPv4", LINK / gue(4) / tcp6(), LINK / tcp6(), IN_GUE),
    Case("IPv4 in GUE over IPv6", LINK / gue(6) / tcp4(), LINK / tcp4(), IN_GUE),
    Case("IPv6 in GUE over IPv6", LINK / gue(6) / tcp6(), LINK / tcp6(), IN_GUE),
    Case("one VLAN tag stays", LINK / Dot1Q(vlan=7) / outer(4, 4) / tcp4(), LINK / Dot1Q(vlan=7) / tcp4(), IN_IP),
    Case(
        "two VLAN tags stay, whatever the family",
        LINK / Dot1AD(vlan=8) / Dot1Q(vlan=7, prio=3) / outer(6, 4) / tcp4(),
        LINK / Dot1AD(vlan=8) / Dot1Q(vlan=7, prio=3) / tcp4(),
        IN_IP,
    ),
    Case("a VIP that is a range", LINK / outer(4, 4) / tcp4("203.0.113.99"), LINK / tcp4("203.0.113.99"), IN_IP),
    Case("an IPv6 range", LINK / outer(6, 41) / tcp6("2001:db8:b:1::9"), LINK / tcp6("2001:db8:b:1::9"), IN_IP),
    Case("inner options stay", LINK / outer(4, 4) / tcp4(options=[IPOption_NOP()] * 4), LINK / tcp4(options=[IPOption_NOP()] * 4), IN_IP),
    Case("an inner later fragment", LINK / outer(4, 4) / tcp4(frag=100), LINK / tcp4(frag=100), IN_IP),
    Case("UDP", LINK / gue(4) / IP(dst=VIP4) / UDP(dport=443) / b"q", LINK / IP(dst=VIP4) / UDP(dport=443) / b"q", IN_GUE),
    Case("ICMP", LINK / outer(4, 4) / IP(dst=VIP4) / ICMP(type=3, code=4), LINK / IP(dst=VIP4) / ICMP(type=3, code=4), IN_IP),
    Case("Ethernet's padding", LINK / outer(4, 4) / IP(dst=VIP4) / UDP() / Padding(bytes(9)), LINK / IP(dst=VIP4) / UDP() / Padding(bytes(9)), IN_IP),
    ecn(0, 0, 0), ecn(0, ECT0, 0), ecn(0, ECT1, 0), ecn(0, CE, None),
    ecn(ECT0, 0, ECT0), ecn(ECT0, ECT0, ECT0), ecn(ECT0, ECT1, ECT1), ecn(ECT0, CE, CE),
    ecn(ECT1, 0, ECT1), ecn(ECT1, ECT0, ECT1), ecn(ECT1, ECT1, ECT1), ecn(ECT1, CE, CE),
    ecn(CE, 0, CE), ecn(CE, ECT0, CE), ecn(CE, ECT1, CE), ecn(CE, CE, CE),
    ecn(ECT0, CE, CE, version=6), ecn(ECT0, ECT1, ECT1, version=6), ecn(0, CE, None, version=6), ecn(0, ECT1, 0, version=6),
    same("a VIP of nobody", LINK / outer(4, 4) / tcp4("192.0.2.11"), NOT_OURS),
    same("an IPv6 VIP of nobody", LINK / outer(6, 41) / tcp6("2001:db8:a::11"), NOT_OURS),
    same("beside the range", LINK / outer(4, 4) / tcp4("203.0.113.128"), NOT_OURS),
    same("the tunnel's end itself is no VIP", LINK / outer(4, 4) / tcp4(END4), NOT_OURS),
    same("an outer destination that is not ours", LINK / IP(src=LB4, dst="10.1.0.12", proto=4) / tcp4()),
    same("an outer IPv6 destination that is not ours", LINK / IPv6(src=LB6, dst="2001:db8:1::12", nh=4) / tcp4()),
    same("to the VIP without a tunnel", LINK / tcp4()),
    same("to the tunnel's end without a tunnel", LINK / IP(dst=END4) / TCP(dport=22)),
    same("UDP to another port", LINK / gue(4, port=6081) / tcp4()),
    same("GUE of variant 0", LINK / gue(4) / Raw(bytes([0, 4, 0, 0])) / tcp4()),
    same("GUE without a payload", LINK / gue(4)),
    same("outer options", LINK / IP(dst=END4, proto=4, options=[IPOption_NOP()] * 4) / tcp4()),
    same("an outer first fragment", LINK / IP(dst=END4, proto=4, flags="MF") / tcp4()),
    same("an outer later fragment", LINK / IP(dst=END4, proto=4, frag=3) / tcp4()),
    same("an outer IPv6 fragment", LINK / IPv6(dst=END6) / IPv6ExtHdrFragment(nh=4, m=1) / tcp4()),
    same("outer extension headers", LINK / IPv6(dst=END6) / IPv6ExtHdrHopByHop(nh=4) / tcp4()),
    same("three VLAN tags", LINK / Dot1Q() / Dot1Q() / Dot1Q() / outer(4, 4) / tcp4()),
    same("ARP", LINK / ARP(pdst=VIP4)),
    same("protocol 4 around IPv6", LINK / outer(4, 4) / tcp6(), MALFORMED),
    same("protocol 41 around IPv4", LINK / outer(4, 41) / tcp4(), MALFORMED),
    same("an inner length beyond the outer", LINK / outer(4, 4) / tcp4(len=1400), MALFORMED),
    same("an inner length below its header", LINK / outer(4, 4) / tcp4(len=19), MALFORMED),
    same("an inner header length below 20", LINK / outer(4, 4) / tcp4(ihl=4), MALFORMED),
    same("an outer length that leaves no room", LINK / IP(dst=END4, proto=4, len=30) / tcp4(), MALFORMED),
    same("an outer length below its header", LINK / IP(dst=END4, proto=4, len=10) / tcp4()),
    same("an outer length beyond the frame", LINK / IP(dst=END4, proto=4, len=1500) / tcp4(len=1400), MALFORMED),
    same("an inner IPv6 length beyond the outer", LINK / outer(4, 41) / IPv6(dst=VIP6, plen=900) / TCP(), MALFORMED),
    same("an outer version that is none", LINK / IP(dst=END4, proto=4, version=5) / tcp4()),
]  # fmt: skip


@pytest.fixture(scope="module")
def program() -> Iterator[Object]:
    """The program, attached nowhere."""
    build.build()
    vips = [ip_network(text) for text in (VIP4, VIP6, RANGE4, RANGE6)]
    made = decap.loaded(vips, [ip_address(END4), ip_address(END6)])
    yield made
    made.close()


def counted(program: Object) -> dict[DecapCount, int]:
    counters = program.map("decap_counts")
    found = {}
    for kind in DecapCount:
        octets = counters.lookup(int(kind).to_bytes(4, sys.byteorder))
        assert octets is not None
        found[kind] = sum(memoryview(octets).cast("Q"))
    return found


@pytest.mark.root
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(program: Object, case: Case) -> None:
    before = counted(program)
    sent = bytes(case.send)
    verdict, out, _ = run_on(program.program_fd("decap"), sent)
    after = counted(program)
    assert {kind: after[kind] - before[kind] for kind in DecapCount if after[kind] != before[kind]} == case.counts
    assert verdict == (XDP_DROP if case.out is None else XDP_PASS)
    if case.out is not None:
        expected = bytes(case.out)
        assert out == expected, f"\n{Ether(out)!r}\n{Ether(expected)!r}"


@pytest.mark.root
def test_every_truncation_passes_as_it_came(program: Object) -> None:
    for case in CASES:
        whole = bytes(case.send)
        for length in range(14, min(len(whole), 120)):
            cut = whole[:length]
            verdict, out, _ = run_on(program.program_fd("decap"), cut)
            assert verdict in (XDP_PASS, XDP_DROP)
            assert out == cut or len(out) < length


@pytest.mark.root
@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_what_leaves_is_what_came_or_its_inner_packet(program: Object, seed: int) -> None:
    chance = random.Random(seed)
    frames = [bytes(case.send) for case in CASES]
    taken = 0
    for _ in range(2500):
        frame = bytearray(chance.choice(frames))
        for _ in range(chance.randrange(1, 5)):
            frame[chance.randrange(12, min(len(frame), 90))] = chance.choice((0, 255, chance.randrange(256)))
        sent = bytes(frame)
        verdict, out, _ = run_on(program.program_fd("decap"), sent)
        assert verdict in (XDP_PASS, XDP_DROP)
        if verdict == XDP_PASS and out != sent:
            taken += 1
            assert len(sent) - len(out) in (20, 28, 40, 48)
            assert out[:12] == sent[:12]
            assert out[-8:] == sent[-8:]
    assert taken > 100


def test_the_counters_are_those_of_the_program() -> None:
    build.build()
    found = btf.read(Path(build.OBJECTS) / "decap.bpf.o")
    expected = {kind.name: int(kind) for kind in DecapCount} | {"DECAP_COUNTS": len(DecapCount)}
    assert found.enums["decap_count"] == expected
