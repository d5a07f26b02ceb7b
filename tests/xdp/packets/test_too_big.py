"""What fits on its way to a backend, what does not, and what its sender is told: exactly at the boundary, in every mode."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, ICMPv6TimeExceeded
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.xdp.packets.cases import DROP, TX, Case, check, sent
from tests.xdp.packets.frames import (
    CLIENT,
    OUTER_TTL,
    OUTSIDE,
    Tags,
    checksum,
    ether,
    ip,
    leaves,
    octets,
    tcp,
    udp,
)
from tests.xdp.packets.scene import BACKENDS, MODES, MTU, OWN, ROUTER, Scene, address_of
from xdp import libbpf

pytestmark = pytest.mark.root
BOTH = (4, 6)
OVERHEAD = {"l2": 0, "ip4": 20, "ip6": 40, "gue4": 28, "gue6": 48}
TAGS: dict[str, Tags] = {"untagged": (), "VLAN": ((0x8100, 12),), "QinQ": ((0x88A8, 7), (0x8100, 12))}
MOST_ANSWERS = 1000  # a CPU and second of 2^30 ns (xdp/c/limits.h)


@dataclass(frozen=True)
class Sized:
    """A packet of so many octets towards a backend behind an interface of this MTU."""

    name: str
    backend: str
    mtu: int
    case: Case


def of_size(backend: str, version: int, size: int, *, kind: type[Packet] = TCP, **fields: Any) -> Packet:
    """A client's packet of `size` octets by its IP header."""
    make = tcp if kind is TCP else udp
    least = octets(make(backend, version, payload=b"", **fields))
    return make(backend, version, payload=bytes(at % 251 for at in range(size - least)), **fields)


def told(packet: Packet, mtu: int, *, tags: Tags = ()) -> Packet:
    """What its sender is told: RFC 1191 section 4 and RFC 1812 section 4.3.2.3, RFC 4443 sections 2.4 (c) and 3.2."""
    link = ether(tags=tags)
    link[Ether].src, link[Ether].dst = OWN, ROUTER
    whole = bytes(packet)
    if isinstance(packet, IP):
        quoted = whole[:548] if len(whole) >= 548 else whole[:28]
        header = ip(4, packet.dst, packet.src, ttl=OUTER_TTL, id=0)
        return link / header / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(quoted)
    header = ip(6, packet.dst, packet.src, ttl=OUTER_TTL)
    return link / header / ICMPv6PacketTooBig(mtu=mtu) / Raw(whole[:1232])


def fits(name: str, backend: str, packet: Packet, mtu: int = MTU) -> Sized:
    """It is carried."""
    version, kind = (4 if isinstance(packet, IP) else 6), ("tcp" if TCP in packet else "udp")
    counts = sent(f"{backend}/{version}/{kind}", backend, octets(packet), **({"udp_flows": 1} if kind == "udp" else {}))
    title = f"v{version} {backend} {mtu}: {name}"
    return Sized(title, backend, mtu, Case(title, ether() / packet, TX, leaves(backend, packet), counts))


def answered(name: str, backend: str, packet: Packet, mtu: int = MTU, tags: Tags = ()) -> Sized:
    """Its sender is told how much would fit."""
    title = f"v{4 if isinstance(packet, IP) else 6} {backend} {mtu}: {name}"
    answer = told(packet, mtu - OVERHEAD[backend], tags=tags)
    case = Case(title, ether(tags=tags) / packet, TX, answer, {"TOO_BIG_SENT": 1})
    return Sized(title, backend, mtu, case)


def dropped(name: str, backend: str, packet: Packet, mtu: int = MTU) -> Sized:
    """Nobody can be told."""
    title = f"v{4 if isinstance(packet, IP) else 6} {backend} {mtu}: {name}"
    return Sized(title, backend, mtu, Case(title, ether() / packet, DROP, None, {"TOO_BIG_DROPPED": 1}))


def sizes() -> Iterator[Sized]:
    for version in BOTH:
        for backend in MODES:
            for mtu in (MTU, 1400):
                most = mtu - OVERHEAD[backend]
                for kind in (TCP, UDP):
                    text = kind.__name__
                    yield fits(f"{text} fits exactly", backend, of_size(backend, version, most, kind=kind), mtu)
                    one_over = of_size(backend, version, most + 1, kind=kind)
                    yield answered(f"{text} is one octet too big", backend, one_over, mtu)
                yield fits("one octet to spare", backend, of_size(backend, version, most - 1), mtu)
                yield answered("two octets too big", backend, of_size(backend, version, most + 2), mtu)
            for name, tags in TAGS.items():
                packet = of_size(backend, version, MTU + 1 - OVERHEAD[backend])
                yield answered(f"too big, {name}", backend, packet, tags=tags)
    for backend in MODES:
        most = MTU - OVERHEAD[backend]
        yield fits("fits exactly, may be fragmented", backend, of_size(backend, 4, most, df=False))
        yield dropped("too big, may be fragmented", backend, of_size(backend, 4, most + 1, df=False))
        yield from small(backend)
        yield answered("ToS and TTL are not copied", backend, of_size(backend, 4, most + 1, tos=0xB9, ttl=200))
        yield answered("ToS and TTL are not copied", backend, of_size(backend, 6, most + 1, tos=0xB9, ttl=200))
    for version in BOTH:
        yield answered("TTL 1 is told its size first", "ip4", of_size("ip4", version, MTU, ttl=1))


def small(backend: str) -> Iterator[Sized]:
    """Packets that fill no quote."""
    for size, mtu in ((547, 500), (548, 500), (549, 500), (100, 99), (70, 69)):
        yield answered(f"{size} octets", backend, of_size(backend, 4, size), mtu)
    for mtu in sorted({0, OVERHEAD[backend]}):
        yield dropped("not even headers fit", backend, of_size(backend, 4, 100), mtu)
    yield dropped("1231 octets", backend, of_size(backend, 6, 1231), 1200)
    yield answered("1232 octets", backend, of_size(backend, 6, 1232), 1200)


@pytest.mark.parametrize("sized", [pytest.param(sized, id=sized.name) for sized in sizes()])
def test_sizes(scene: Scene, sized: Sized) -> None:
    scene.backend(replace(BACKENDS[sized.backend], mtu=sized.mtu))
    check(scene.programs, sized.case)


@pytest.mark.parametrize("backend", MODES)
@pytest.mark.parametrize("size", [100, 547, 548, 1001, 1501, 1502])
def test_checksums_by_plain_addition(scene: Scene, backend: str, size: int) -> None:
    scene.backend(replace(BACKENDS[backend], mtu=99))
    _, out = scene.programs.quick(bytes(ether() / of_size(backend, 4, size)))
    assert len(out) == 14 + (576 if size >= 548 else 56)
    assert checksum(out[14:34]) == 0
    assert checksum(out[34:]) == 0
    scene.backend(replace(BACKENDS[backend], mtu=1100))
    _, out = scene.programs.quick(bytes(ether() / of_size(backend, 6, size + 1200)))
    assert len(out) == 14 + 1280
    message = out[54:]
    assert checksum(out[22:54] + len(message).to_bytes(4, "big") + b"\0\0\0\x3a" + message) == 0


@pytest.mark.parametrize("version", BOTH)
def test_nobody_is_told_about_an_error_or_a_later_fragment(scene: Scene, version: int) -> None:
    """RFC 1122 section 3.2.2 and RFC 4443 section 2.4 (e)."""
    vip = address_of("ip4", version)
    header = ICMP(type=11) if version == 4 else ICMPv6TimeExceeded()
    quoted = bytes(ip(version, vip, CLIENT[version]) / TCP(sport=80, dport=40000)) + bytes(1420)
    packet = ip(version, OUTSIDE[version], vip) / header / Raw(quoted)
    check(scene.programs, dropped("an error", "ip4", packet).case)
    if version == 4:
        fields = {"df": False, "id": 9, "proto": 17}
        first = ip(4, CLIENT[4], vip, flags="MF", **fields) / Raw(bytes(UDP(sport=40000, dport=80)) + bytes(8))
        assert scene.programs.quick(bytes(ether() / first))[0] == libbpf.XDP_TX
        later = ip(4, CLIENT[4], vip, frag=2, flags="DF", **fields) / Raw(bytes(1480))
        check(scene.programs, dropped("a later fragment", "ip4", later).case)


def test_answers_have_a_limit(scene: Scene) -> None:
    """Whoever floods with packets that are too big gets no more out of a CPU than is said (RFC 4443 section 2.4 (f))."""
    frame = bytes(ether() / of_size("ip4", 4, MTU))
    cpus = range(libbpf.possible_cpus())
    before = [scene.programs.counters(cpu) for cpu in cpus]
    began, packets = time.monotonic_ns() >> 30, 4 * MOST_ANSWERS
    for _ in range(packets):
        scene.programs.quick(frame)
    seconds = (time.monotonic_ns() >> 30) - began + 1
    after = [scene.programs.counters(cpu) for cpu in cpus]
    told_by_cpu, kept_by_cpu = (
        [now[event] - was[event] for now, was in zip(after, before, strict=True)]
        for event in ("TOO_BIG_SENT", "TOO_BIG_DROPPED")
    )
    assert sum(told_by_cpu) + sum(kept_by_cpu) == packets
    assert all(told <= seconds * MOST_ANSWERS for told in told_by_cpu)
    assert sum(told_by_cpu) >= MOST_ANSWERS
