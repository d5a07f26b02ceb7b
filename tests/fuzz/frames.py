"""Frames to throw at the XDP programs: valid ones of every kind, and what becomes of them.  Pure, given a seeded generator.

Rule 1: most accidents happen to headers, since programs read little else; addresses are seldom hit, so that most frames still are for a VIP.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP
from scapy.packet import Packet, Raw

from tests.xdp.packets.frames import CLIENT, OUTSIDE, ether, ip, tcp, udp
from tests.xdp.packets.scene import BACKENDS, GUE_PORT, MODES, VIPS, address_of

MOST = 3400  # octets of a frame: what a test run takes in one page
HEADERS = 100  # octets of a frame in which most accidents happen
SERVER = 0x1234  # in QUIC connection ids
ENDS = {4: "10.0.0.2", 6: "fd00::3"}  # of tunnels, at a backend
NOBODY = {4: "198.51.100.250", 6: "2001:db8:5::fa"}
TAGS = ((), ((0x8100, 7),), ((0x88A8, 8), (0x8100, 7)), ((0x8100, 7),) * 3)
SIZES = (
    0,
    5,
    17,
    40,
    530,
    1200,
    1432,
    1452,
    1460,
    1480,
    2200,
)  # of a payload, about the limits of 1500, 1280 and 576 octets
ONE_EXTENSION = (IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting, IPv6ExtHdrFragment)
_COMPASS = (0, 1, 4, 6, 17, 41, 43, 44, 45, 58, 60, 0x45, 0x46, 0x4F, 0x60, 0x7F, 0x80, 0xFF)  # octets with a meaning


@cache
def corpus() -> tuple[bytes, ...]:
    """Valid and nearly valid frames of every kind that the balancer tells apart."""
    found = []
    for version in (4, 6):
        for number, packet in enumerate(_packets(version)):
            found += [bytes(ether(tags=TAGS[tags]) / packet) for tags in {0, (0, 1, 2, 1, 2, 0, 1, 2, 3)[number % 9]}]
    found += [bytes(ether(tags=tags) / ARP(pdst="198.51.100.1")) for tags in TAGS]
    return tuple(found)


@cache
def tunnelled() -> tuple[bytes, ...]:
    """The same in tunnels to a backend, by IP and GUE, with every ECN field."""
    found = []
    for version, over, gue in product((4, 6), (4, 6), (False, True)):
        inner = [*_flows(version), *_fragments(version), *_icmp(version)][over & 2 :: 3]
        for number, packet in enumerate(inner):
            setattr(packet, "tos" if version == 4 else "tc", number >> 2 & 3)
            protocol = 17 if gue else (4 if version == 4 else 41)
            outer = ip(over, OUTSIDE[over], ENDS[over], tos=number & 3, **{("proto", "nh")[over == 6]: protocol})
            head = outer / UDP(sport=50000, dport=GUE_PORT, chksum=0) if gue else outer
            found.append(bytes(ether(tags=TAGS[(0, 0, 1, 2)[number % 4]]) / head / Raw(bytes(packet))))
    return tuple(found)


def _packets(version: int) -> Iterator[Packet]:
    yield from _flows(version)
    yield from _fragments(version)
    yield from _icmp(version)
    yield from _quic(version)
    yield from _odd(version)


def _flows(version: int) -> Iterator[Packet]:
    for backend in BACKENDS:
        for flags in ("S", "A", "FA"):
            yield tcp(backend, version, flags, sport=40000 + len(flags))
        yield udp(backend, version, tos=3)
    for backend, size in product(("l2", "ip4", "ip6", "gue4", "gue6", "far-ip4"), SIZES):
        yield tcp(backend, version, payload=bytes(size), df=size % 2 == 0)
        yield udp(backend, version, payload=bytes(size))
    for backend, ttl in product(MODES, (0, 1, 2)):
        yield tcp(backend, version, ttl=ttl)
    for name, vip in VIPS.items():
        if f"/{version}/" in name and "/" not in vip.address[-4:]:
            port = vip.port or 4321
            for flags, sport in product("SA", (40000, 40001)):
                segment = (
                    TCP(sport=sport, dport=port, flags=flags) if vip.protocol == 6 else UDP(sport=sport, dport=port)
                )
                yield ip(version, CLIENT[version], vip.address) / segment / Raw(b"hello")
    for port in (80, 81):
        yield ip(version, CLIENT[version], NOBODY[version]) / TCP(dport=port)
        yield ip(version, CLIENT[version], address_of("l2", version)) / UDP(dport=port + 1)


def _fragments(version: int) -> Iterator[Packet]:
    for backend, ident in product(("l2", "gue4", "ip6"), (1, 2)):
        to = address_of(backend, version)
        whole = UDP(sport=40000, dport=80, len=1000) / Raw(bytes(504))
        parts = (whole, 0, 1), (Raw(bytes(200)), 64, 0), (Raw(bytes(200)), 64, 1)
        for body, offset, more in parts:
            if version == 4:
                flags = "MF" if more else ""
                yield IP(src=CLIENT[4], dst=to, id=ident, flags=flags, frag=offset, ttl=60, proto=17) / body
            else:
                header = IPv6ExtHdrFragment(id=ident, m=more, offset=offset, nh=17)
                yield IPv6(src=CLIENT[6], dst=to, hlim=60) / header / body
                yield IPv6(src=CLIENT[6], dst=to, hlim=60) / IPv6ExtHdrDestOpt() / header / body


def _icmp(version: int) -> Iterator[Packet]:
    for backend in ("l2", "gue4"):
        to = address_of(backend, version)
        if version == 4:
            yield IP(src=CLIENT[4], dst=to, id=9, flags="MF", ttl=60) / ICMP(type=8) / Raw(bytes(16))
        else:
            yield (
                IPv6(src=CLIENT[6], dst=to, hlim=60) / IPv6ExtHdrFragment(id=9, m=1) / ICMPv6EchoRequest(data=bytes(16))
            )
    for name, size in product((*MODES, "far", "lost"), (0, 56, 900, 1452)):
        to = address_of(name, version)
        echo = ICMPv6EchoRequest(id=7, data=bytes(size)) if version == 6 else ICMP(type=8, id=7) / Raw(bytes(size))
        yield ip(version, CLIENT[version], to) / echo
        quoted = ip(version, to, CLIENT[version]) / (TCP(sport=80, dport=40000) if size else UDP(sport=80, dport=40000))
        kinds: tuple[Packet, ...] = (ICMPv6DestUnreach(code=4), ICMPv6PacketTooBig(mtu=1280))
        if version == 4:
            kinds = (ICMP(type=3, code=4), ICMP(type=11), ICMP(type=12))
        for kind in kinds:
            yield ip(version, OUTSIDE[version], to) / kind / quoted / Raw(bytes(size))
    yield ip(version, CLIENT[version], NOBODY[version]) / (ICMPv6EchoRequest() if version == 6 else ICMP())
    yield ip(version, CLIENT[version], address_of("l2", version)) / (
        ICMPv6EchoReply() if version == 6 else ICMP(type=0)
    )


def _quic(version: int) -> Iterator[Packet]:
    to = VIPS[f"quic/{version}/udp"].address
    for server in (SERVER, 0x0077, 0x0055, 0x4321):
        named = b"\x07" + server.to_bytes(2, "big") + b"\xa0\xa1\xa2\xa3"
        for data in (b"\x43" + named, *(bytes([0xC3 | kind << 4, 0, 0, 0, 1, 7]) + named + b"\0" for kind in range(4))):
            for size in (0, 24, 1400):
                yield ip(version, CLIENT[version], to) / UDP(sport=40000, dport=443) / Raw(data + bytes(size))


def _odd(version: int) -> Iterator[Packet]:
    """Options, extension headers, other protocols, padding behind the packet."""
    for backend in ("l2", "ip4"):
        to = address_of(backend, version)
        if version == 4:
            for count in (4, 40):
                yield IP(src=CLIENT[4], dst=to, options=[IPOption_NOP()] * count) / TCP(dport=80)
            yield IP(src=CLIENT[4], dst=to, proto=132) / Raw(bytes(20))
        else:
            for count, kind in product((1, 3, 6, 7), ONE_EXTENSION):
                packet = IPv6(src=CLIENT[6], dst=to, hlim=60)
                for _ in range(count):
                    packet /= kind()
                yield packet / TCP(dport=80, flags="S")
                yield packet / ICMPv6EchoRequest()
        yield ip(version, CLIENT[version], to, **({"nh": 59} if version == 6 else {"proto": 59}))
        short = ip(version, CLIENT[version], to, **({"plen": 8, "nh": 17} if version == 6 else {"len": 28}))
        yield short / UDP(dport=80) / Raw(bytes(18))


def mutated(frame: bytes, seeds: tuple[bytes, ...], chance: random.Random) -> bytes:
    """`frame` after none to three accidents, with an IP header that fits what is left of it in half of the cases."""
    data = bytearray(frame)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        _accident(data, seeds, chance)
    if len(data) != len(frame) and chance.random() < 0.6:
        _set_length(data, lambda there: there)
    return bytes(data[:MOST].ljust(15, b"\0"))


def _accident(data: bytearray, seeds: tuple[bytes, ...], chance: random.Random) -> None:
    reach = len(data) if chance.random() < 0.1 else min(len(data), HEADERS)
    place = chance.randrange(12 if chance.random() < 0.1 else 14, max(15, reach))
    match chance.randrange(10):
        case 0 | 1 if place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        case 2 | 3 if place < len(data):
            data[place] = chance.choice(_COMPASS)
        case 4:
            del data[place:]
        case 5:
            data += chance.randbytes(chance.choice((1, 2, 6, 18, 46, 600)))
        case 6:
            data[place:place] = chance.randbytes(chance.choice((1, 2, 4, 8, 40)))
        case 7:
            other = chance.choice(seeds)
            data[place:] = other[chance.randrange(12, min(len(other), HEADERS)) :]
        case 8:
            del data[place : place + chance.choice((1, 2, 4, 8, 20))]
        case _:
            _lie(data, chance)


def _lie(data: bytearray, chance: random.Random) -> None:
    """A length that says something else."""
    if chance.random() < 0.2 and len(data) > 14:
        data[14] = data[14] & 0xF0 | chance.randrange(16)
        return
    _set_length(
        data, lambda there: chance.choice((0, 7, 8, 19, 20, 24, 27, 28, 48, there - 1, there, there + 1, 65495, 65535))
    )


def _set_length(data: bytearray, octets: Callable[[int], int]) -> None:
    """What the IP header says of its packet: of IPv6 it is without the header."""
    l3, kind = link_of(bytes(data))
    header, at = {0x0800: (20, 2), 0x86DD: (40, 4)}.get(kind, (0, 0))
    if header and len(data) >= l3 + header:
        there = len(data) - l3 - (header if kind == 0x86DD else 0)
        data[l3 + at : l3 + at + 2] = (octets(there) & 0xFFFF).to_bytes(2, "big")


def link_of(frame: bytes) -> tuple[int, int]:
    """Where Ethernet and up to two tags end, and the type of what follows."""
    at = 12
    while at < 20 and frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    return at + 2, int.from_bytes(frame[at : at + 2], "big")


def frames(count: int, seed: int, seeds: tuple[bytes, ...]) -> list[bytes]:
    """`count` frames made of `seeds`."""
    chance = random.Random(seed)
    return [mutated(chance.choice(seeds), seeds, chance) for _ in range(count)]
