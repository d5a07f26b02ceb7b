"""A bounded number of the frames of `make fuzz` through the XDP programs, and the fuzzer's own judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any

import pytest
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6PacketTooBig
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.conftest import missing
from tests.fuzz.frames import ENDS, frames
from tests.fuzz.judge import (
    ANSWERED,
    BESIDE,
    DROPPED,
    LEFT,
    PASSED,
    REFUSED,
    SOURCE4,
    SOURCE6,
    SPREAD4,
    WITH_FORWARDED,
    Came,
    wrong,
    wrong_decapsulated,
    wrong_probe,
)
from tests.fuzz.targets import Balancer, Decap, Probe
from tests.fuzz.xdp import UNUSABLE, counts, run
from tests.xdp.packets.cases import DROP, PASS, REDIRECT, TX
from tests.xdp.packets.frames import CLIENT, ether, hash_of, ip, leaves, octets, tcp
from tests.xdp.packets.scene import BACKENDS, LEAVES, MODES, OWN, ROUTER, UNREACHABLE, address_of, mac
from xdp.decap import DecapCount

FRAMES = 20_000
REACHED = {
    Balancer: PASSED | DROPPED | ANSWERED | WITH_FORWARDED | BESIDE | {"FORWARDED"},
    Decap: {kind.name for kind in DecapCount} | {"PASSED"},
    Probe: {"SENT", "REFUSED", "WITHOUT MARK"},
}
BY_NUMBER = {backend.number: backend for backend in BACKENDS.values()}


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("kind", REACHED, ids=lambda kind: kind.name)
def test_whatever_comes_the_program_does_what_it_may(kind: type[Balancer | Decap | Probe]) -> None:
    """Seed and frame are in the failure; the frames reach every count."""
    try:
        outcomes = run(kind, counts(FRAMES)[kind], seed=8906)
    except UNUSABLE as error:
        missing(str(error))
        return
    assert REACHED[kind] - {"EVENTS_LOST"} <= outcomes.keys()


NONE = (0,) * 8
FREE = {"gue4": {34: 0x3F, 35: 0xFF}, "gue6": {15: 0x0F, 16: 0xC0}}  # bits that only the hash of a flow says


def forwarded(backend: str, packet: Packet) -> tuple[bytes, Came]:
    """A frame, and what must become of it."""
    counted = (1, octets(packet), 0, 0, 0, 0, 0, 0)
    source = SPREAD[":" in BACKENDS[backend].address](hash_of(packet)) if "ip" in backend else ""
    came = Came(TX, bytes(leaves(backend, packet, source=source)), (), counted, counted, BACKENDS[backend].number)
    return bytes(ether() / packet), came


SPREAD: tuple[Callable[[int], str], ...] = (
    lambda hashed: str(ip_address(SOURCE4 | hashed & SPREAD4)),
    lambda hashed: str(ip_address(SOURCE6 + 2 * (hashed & 0xFFFFFFFF).to_bytes(4, "big"))),
)


def told(frame: bytes, event: str, answer: Packet) -> tuple[bytes, Came]:
    """A frame that is answered."""
    return frame, Came(TX, bytes(answer), (event,), NONE, NONE)


def judged(right: Came, judge: Callable[[Came], str], free: Mapping[int, int] = MappingProxyType({})) -> None:
    """`right` is right, and with any bit changed it is wrong, but for those that are free."""
    assert judge(right) == ""
    for at in range(8 * len(right.out)):
        changed = bytearray(right.out)
        changed[at // 8] ^= 1 << at % 8
        is_free = bool(free.get(at // 8, 0) & 1 << at % 8)
        assert bool(judge(replace(right, out=bytes(changed)))) != is_free, (at // 8, at % 8)
    for out in (right.out + b"\0", right.out[:-1]):
        assert judge(replace(right, out=out))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("backend", MODES)
def test_every_bit_of_what_is_forwarded_is_judged(backend: str, version: int) -> None:
    frame, right = forwarded(backend, tcp(backend, version))
    judged(right, lambda came: wrong(frame, came, BY_NUMBER), FREE.get(backend, {}))


@pytest.mark.parametrize("version", [4, 6])
def test_every_bit_of_an_echo_is_judged(version: int) -> None:
    vip = address_of("l2", version)
    ask, reply = (ICMP(type=8, id=7), ICMP(type=0, id=7)) if version == 4 else (ICMPv6EchoRequest(), ICMPv6EchoReply())
    back = Ether(src=OWN, dst=ROUTER) / ip(version, vip, CLIENT[version], ttl=64) / reply / Raw(b"hello")
    frame, right = told(bytes(ether() / ip(version, CLIENT[version], vip) / ask / Raw(b"hello")), "ECHO", back)
    judged(right, lambda came: wrong(frame, came, BY_NUMBER))


@pytest.mark.parametrize("version", [4, 6])
def test_every_bit_of_what_is_told_of_a_packet_that_is_too_big_is_judged(version: int) -> None:
    packet = tcp("ip6", version, payload=bytes(1460 - 20 * (version == 6)))
    quote = Raw(bytes(packet)[: 548 if version == 4 else 1232])
    error = ICMP(type=3, code=4, nexthopmtu=1460) if version == 4 else ICMPv6PacketTooBig(mtu=1460)
    over = ip(version, packet.dst, CLIENT[version], ttl=64, **({"id": 0} if version == 4 else {}))
    frame, right = told(bytes(ether() / packet), "TOO_BIG_SENT", Ether(src=OWN, dst=ROUTER) / over / error / quote)
    judged(right, lambda came: wrong(frame, came, BY_NUMBER))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"events": ("MALFORMED",)}, "forwarded 1 times"),
        ({"vips": NONE, "taken": NONE}, "forwarded 0 times"),
        ({"events": ("QUIC_ID", "QUIC_ID")}, "counted as"),
        ({"taken": NONE}, "of backends"),
        ({"vips": (1, 44, 0, 0, 0, 0, 0, 0), "taken": (1, 44, 0, 0, 0, 0, 0, 0)}, "44 octets"),
        ({"verdict": REDIRECT}, "verdict 4"),
        ({"verdict": DROP}, "verdict 1"),
        ({"backend": 99}, "backend 99"),
        ({"backend": 2}, "Ethernet"),
        ({"events": ("ICMP_FORWARDED",)}, "errors 0"),
        ({"events": ("NO_VIP",), "vips": NONE, "taken": NONE}, "not passed"),
        ({"events": ("NO_VIP", "QUIC_ID"), "vips": NONE, "taken": NONE}, "not forwarded"),
        ({"events": ("TTL",), "vips": NONE, "taken": NONE}, "not dropped"),
        ({"events": ("ECHO",), "vips": NONE, "taken": NONE, "verdict": DROP}, "not sent"),
    ],
)
def test_wrong_counts_and_verdicts_are_found_out(change: dict[str, Any], complaint: str) -> None:
    frame, right = forwarded("l2", tcp("l2", 4))
    assert complaint in wrong(frame, replace(right, **change), BY_NUMBER)


def test_what_does_not_fit_or_is_not_as_it_came_is_found_out() -> None:
    frame, right = forwarded("ip4", tcp("ip4", 4))
    small = BY_NUMBER | {BACKENDS["ip4"].number: replace(BACKENDS["ip4"], mtu=60)}
    assert "MTU" in wrong(frame, right, small)
    passed = Came(PASS, frame, ("NO_VIP",), NONE, NONE)
    judged(passed, lambda came: wrong(frame, came, BY_NUMBER))


@pytest.mark.parametrize("version", [4, 6])
def test_every_bit_of_what_a_tunnel_held_is_judged(version: int) -> None:
    inner, outer = tcp("l2", version, tos=2), ip(4, CLIENT[4], ENDS[4], proto=4 if version == 4 else 41, tos=3)
    after = tcp("l2", version, tos=3)
    frame, right = bytes(ether() / outer / inner), Came(PASS, bytes(ether() / after), ("DECAP_IP",))
    judged(right, lambda came: wrong_decapsulated(frame, came))
    for change in (
        {"verdict": DROP},
        {"events": ()},
        {"events": ("DECAP_IP", "DECAP_GUE")},
        {"events": ("DECAP_GUE",)},
    ):
        assert wrong_decapsulated(frame, replace(right, **change))


def test_probes_that_go_astray_are_found_out() -> None:
    frame, to = bytes(ether() / tcp("l2", 4)), BACKENDS["l2"]
    right = Came(LEFT, mac(to.next_hop) + mac(LEAVES) + frame[12:], ())
    judged(right, lambda came: wrong_probe(frame, came, to))
    judged(Came(LEFT, frame, ()), lambda came: wrong_probe(frame, came, None))
    assert wrong_probe(frame, right, replace(to, flags=UNREACHABLE))
    assert wrong_probe(frame, replace(right, verdict=REFUSED), to)
    assert wrong_probe(frame, right, replace(to, ifindex=77))
    tunnelled = Came(LEFT, bytes(leaves("gue6", tcp("gue6", 4), hop=False)), ())
    assert wrong_probe(bytes(ether() / tcp("gue6", 4)), tunnelled, BACKENDS["gue6"]) == ""
    assert wrong_probe(bytes(ether() / tcp("gue6", 6)), tunnelled, BACKENDS["gue6"])


def test_the_same_seed_makes_the_same_frames() -> None:
    seeds = tuple(bytes(ether() / tcp(backend, 4)) for backend in MODES)
    assert frames(500, 1, seeds) == frames(500, 1, seeds)
    assert frames(500, 1, seeds) != frames(500, 2, seeds)
