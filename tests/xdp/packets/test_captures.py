"""Sampled packets for people: which are taken, what is kept of them, and what becomes of them all the same."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from scapy.layers.inet import ICMP, IPOption_NOP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NS, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from gslb import layout
from tests.xdp.harness import VERDICTS, word
from tests.xdp.packets.cases import DROP, REDIRECT, TX, Case, check, sent
from tests.xdp.packets.frames import CLIENT, ether, ip, leaves, octets, tcp, towards, udp
from tests.xdp.packets.moving import number_of
from tests.xdp.packets.scene import BACKENDS, MODES, VIPS, Scene, address_of

pytestmark = pytest.mark.root
BOTH = (4, 6)
SNAP = 256
FOR_EVER = 0xFFFFFFFF
SAMPLES = 4000
ROOM = layout.CAPTURE_OCTETS // (8 + ctypes.sizeof(layout.CaptureEvent))  # a record has a header of 8 octets


def capture(scene: Scene, *, vip: str = "", one_in: int = 1, until_s: int = FOR_EVER) -> None:
    """What who captures says; no VIP: of all."""
    number = VIPS[vip].number if vip else 0
    scene.programs.set("capture", word(0), layout.Capture(vip=number, one_in=one_in, until_s=until_s))


def captured(scene: Scene) -> list[layout.CaptureEvent]:
    """What user space is told; the buffer is empty afterwards."""
    records = scene.programs.events("captured")
    assert {len(record) for record in records} <= {ctypes.sizeof(layout.CaptureEvent)}
    return [layout.CaptureEvent.from_buffer_copy(record) for record in records]


@dataclass(frozen=True)
class Taken:
    """One packet, and what is told of it; `vip` by its name, or that of any VIP of its address."""

    name: str
    packet: Packet
    verdict: int
    vip: str
    backend: str = ""


def to_vips() -> Iterator[Taken]:
    for version in BOTH:
        of = f"v{version}"
        for backend in (*MODES, "far"):
            verdict = REDIRECT if backend == "far" else TX
            name = f"{backend}/{version}"
            yield Taken(f"{of} {backend}: forwarded", tcp(backend, version), verdict, f"{name}/tcp", backend)
            yield Taken(f"{of} {backend}: UDP", udp(backend, version), verdict, f"{name}/udp", backend)
        big = tcp("ip4", version, payload=bytes(1460))
        yield Taken(f"{of}: too big, answered", big, TX, f"ip4/{version}/tcp", "ip4")
        last = tcp("ip4", version, ttl=1)
        yield Taken(f"{of}: TTL", last, DROP, f"ip4/{version}/tcp", "ip4")
        lost = towards(f"lost/{version}/tcp")
        yield Taken(f"{of}: no next hop", lost, DROP, f"lost/{version}/tcp", "lost")
        yield Taken(f"{of}: an empty ring", towards(f"empty/{version}/tcp"), DROP, f"empty/{version}/tcp")
        echo = ICMP() if version == 4 else ICMPv6EchoRequest()
        asked = ip(version, CLIENT[version], address_of("l2", version)) / echo / b"abcd"
        yield Taken(f"{of}: echo, answered", asked, TX, f"l2/{version}/udp")
    options = tcp("l2", 4, options=[IPOption_NOP()] * 4)
    yield Taken("v4: options", options, DROP, "l2/4/tcp")
    later = ip(4, CLIENT[4], address_of("l2", 4), frag=2, proto=17, df=False) / bytes(16)
    yield Taken("v4: a later fragment without a first", later, DROP, "l2/4/udp")
    plain = tcp("l2", 6)
    deep = ip(6, plain.src, plain.dst)
    for _ in range(12):
        deep /= IPv6ExtHdrDestOpt()
    yield Taken("v6: too many extension headers", deep / plain.payload.copy(), DROP, "l2/6/udp")
    short = ip(4, CLIENT[4], address_of("l2", 4), proto=6) / bytes(12)
    yield Taken("v4: the ports are cut off", short, DROP, "l2/4/udp")


def to_nobody() -> Iterator[tuple[str, Packet]]:
    yield "ARP", Ether() / ARP()
    yield "no VIP", ether() / ip(4, CLIENT[4], "198.51.100.250") / b"hello"
    yield "another port", ether() / towards("l2/4/tcp", dport=81)
    yield "v4: an answer to an echo", ether() / ip(4, CLIENT[4], address_of("l2", 4)) / ICMP(type=0)
    yield "v6: an answer to an echo", ether() / ip(6, CLIENT[6], address_of("l2", 6)) / ICMPv6EchoReply()
    yield "neighbour discovery", ether() / ip(6, CLIENT[6], address_of("l2", 6)) / ICMPv6ND_NS()
    yield "a header that lies", ether() / ip(4, CLIENT[4], address_of("l2", 4), len=2000) / b"hello"


def same_address(vip: str, number: int) -> bool:
    """Whether this is the number of the VIP, or of another one of its address."""
    return number in {one.number for one in VIPS.values() if one.address == VIPS[vip].address}


@pytest.mark.parametrize("taken", [pytest.param(taken, id=taken.name) for taken in to_vips()])
def test_what_concerns_a_vip_is_told_as_it_came(scene: Scene, taken: Taken) -> None:
    capture(scene)
    frame = bytes(ether() / taken.packet)
    before = time.monotonic_ns()
    verdict, _ = scene.programs.quick(frame)
    after = time.monotonic_ns()
    assert VERDICTS[verdict] == VERDICTS[taken.verdict]
    [event] = captured(scene)
    assert before <= event.at_ns <= after
    assert same_address(taken.vip, event.vip)
    assert event.vip == VIPS[taken.vip].number or not taken.backend
    assert event.backend == number_of(taken.backend)
    assert (event.octets, event.captured) == (len(frame), min(len(frame), SNAP))
    assert (event.verdict, bytes(event.zero)) == (taken.verdict, bytes(3))
    assert bytes(event.data)[: event.captured] == frame[:SNAP]


@pytest.mark.parametrize("frame", [pytest.param(frame, id=name) for name, frame in to_nobody()])
def test_what_concerns_no_vip_is_not_told(scene: Scene, frame: Packet) -> None:
    capture(scene)
    scene.programs.quick(bytes(frame))
    assert captured(scene) == []


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("size", [80, SNAP - 1, SNAP, SNAP + 1, 2 * SNAP, 1514])
def test_of_a_frame_so_much_is_kept(scene: Scene, size: int, version: int) -> None:
    """By its length with Ethernet header, and padding if it has any."""
    capture(scene)
    least = octets(tcp("l2", version, payload=b"")) + 14
    frame = bytes(ether() / tcp("l2", version, payload=bytes(at % 251 for at in range(size - least))))
    assert len(frame) == size
    for whole in (frame, frame + b"\xee" * 4):
        scene.programs.quick(whole)
        [event] = captured(scene)
        assert (event.octets, event.captured) == (len(whole), min(len(whole), SNAP))
        assert bytes(event.data)[: event.captured] == whole[:SNAP]


@pytest.mark.parametrize("tags", [((0x8100, 12),), ((0x88A8, 7), (0x8100, 12))], ids=["VLAN", "QinQ"])
def test_tags_are_told_as_they_came(scene: Scene, tags: tuple[tuple[int, int], ...]) -> None:
    capture(scene)
    frame = bytes(ether(tags=tags) / tcp("gue6", 4))
    scene.programs.quick(frame)
    [event] = captured(scene)
    assert bytes(event.data)[: event.captured] == frame


@pytest.mark.parametrize("backend", MODES)
def test_a_packet_that_is_told_goes_its_way(scene: Scene, backend: str) -> None:
    capture(scene)
    for version in BOTH:
        packet = tcp(backend, version)
        counts = sent(f"{backend}/{version}/tcp", backend, octets(packet))
        check(scene.programs, Case("told", ether() / packet, TX, leaves(backend, packet), counts))
    assert len(captured(scene)) == len(BOTH)


def test_of_one_vip_alone(scene: Scene) -> None:
    capture(scene, vip="ip4/6/tcp")
    for version in BOTH:
        for backend in MODES:
            scene.programs.quick(bytes(ether() / tcp(backend, version)))
            scene.programs.quick(bytes(ether() / udp(backend, version)))
    [event] = captured(scene)
    assert (event.vip, event.backend) == (VIPS["ip4/6/tcp"].number, number_of("ip4"))


def test_a_capture_ends_by_itself(scene: Scene) -> None:
    frame = bytes(ether() / tcp("l2", 4))
    now = int(time.monotonic())
    for until_s in (0, 1, now):
        capture(scene, until_s=until_s)
        scene.programs.quick(frame)
        assert captured(scene) == []
    capture(scene, until_s=now + 60)
    scene.programs.quick(frame)
    assert len(captured(scene)) == 1


@pytest.mark.parametrize("one_in", [0, 1, 2, 10, 100, 0xFFFFFFFF])
def test_one_in_so_many_is_taken(scene: Scene, one_in: int) -> None:
    """By chance, within six standard deviations."""
    capture(scene, one_in=one_in)
    frame = bytes(ether() / tcp("l2", 4))
    for _ in range(SAMPLES):
        scene.programs.quick(frame)
    share = 1 / one_in if one_in else 0.0
    wide = 6 * (SAMPLES * share * (1 - share)) ** 0.5
    assert abs(len(captured(scene)) - SAMPLES * share) <= wide + (1 if one_in > SAMPLES else 0)


def test_a_backend_is_told_as_it_was_chosen(scene: Scene) -> None:
    """Where its packets do not fit, too: what people look for is whom the packet was for."""
    scene.backend(replace(BACKENDS["l2"], mtu=100))
    capture(scene)
    scene.programs.quick(bytes(ether() / tcp("l2", 4, payload=bytes(200), df=False)))
    [event] = captured(scene)
    assert (event.verdict, event.backend) == (DROP, number_of("l2"))


def test_what_finds_no_room_is_counted_as_lost(scene: Scene) -> None:
    """Nobody reads: the oldest stay, and packets go their way."""
    capture(scene)
    packet = tcp("ip4", 4)
    frame = bytes(ether() / packet)
    lost = scene.programs.counters()["EVENTS_LOST"]
    for _ in range(ROOM):
        scene.programs.quick(frame)
    assert scene.programs.counters()["EVENTS_LOST"] == lost
    counts = sent("ip4/4/tcp", "ip4", octets(packet))
    full = Case("full", ether() / packet, TX, leaves("ip4", packet), counts | {"EVENTS_LOST": 1})
    for _ in range(3):
        check(scene.programs, full)
    assert len(captured(scene)) == ROOM
    check(scene.programs, replace(full, counts=counts))
    assert len(captured(scene)) == 1
