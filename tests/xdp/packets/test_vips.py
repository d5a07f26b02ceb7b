"""Which VIP a packet is for where several could be meant, and VIPs that have nobody to send it to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.packet import Packet

from tests.xdp.packets.cases import DROP, PASS, TX, Case, check, named, sent
from tests.xdp.packets.frames import CLIENT, ether, ip, leaves, octets, towards
from tests.xdp.packets.scene import BACKENDS, MOVING_RING, VIPS, Scene, Vip, all_slots

pytestmark = pytest.mark.root
BOTH = (4, 6)
NAMES = {backend.number: name for name, backend in BACKENDS.items()}


def meant(vip: str, to: str, dport: int, *, why: str) -> Case:
    """A packet to this address and port is for this VIP, and goes to the one backend behind it."""
    packet = towards(vip, to=to, dport=dport)
    backend = NAMES[VIPS[vip].ring]
    more = {"udp_flows": 1} if UDP in packet else {}
    counts = sent(vip, backend, octets(packet), **more)
    return Case(f"{to} port {dport}: {why}", ether() / packet, TX, leaves(backend, packet), counts)


def nobody(version: int, to: str, dport: int, *, why: str, kind: type[Packet] = TCP) -> Case:
    """A packet to this address and port is for no VIP."""
    packet = ip(version, CLIENT[version], to) / kind(sport=40000, dport=dport) / b"hello"
    return Case(f"{to} port {dport}: {why}", ether() / packet, PASS, None, {"NO_VIP": 1})


def precedence() -> Iterator[Case]:
    for version, alone, base in ((4, "198.51.100.", "203.0.120."), (6, "2001:db8:5::", "2001:db8:7::")):
        for port in (443, 80, 1, 442, 444, 65535, 0):
            vip = f"{'exact' if port == 443 else 'any'}/{version}/tcp"
            yield meant(vip, f"{alone}100", port, why="a port of its own before any port")
        yield nobody(version, f"{alone}100", 443, why="another protocol", kind=UDP)
        yield nobody(version, f"{alone}1", 0, why="port 0 is not any port")
        yield nobody(version, f"{alone}1", 0x5000, why="port 80 in the other byte order")
        yield meant(f"any/{version}/tcp", f"{alone}100", 0xBB01, why="port 443 in the other byte order")
        yield nobody(
            version, {4: "1.100.51.198", 6: "100::500:b80d:120"}[version], 80, why="a VIP in the other byte order"
        )
        for port in (80, 81, 0):
            yield meant(
                f"host-any/{version}/tcp", f"{base}82", port, why="an address before a prefix, whatever the port"
            )
        yield meant(f"host-any/{version}/udp", f"{base}82", 80, why="each protocol has its own")
        yield meant(f"host/{version}/tcp", f"{base}81", 80, why="an address before a prefix")
        yield meant(f"wide-any/{version}/tcp", f"{base}81", 81, why="a port that the address does not have")
        yield nobody(version, f"{base}81", 80, why="a protocol that neither has", kind=UDP)
        yield from prefixes(version)


def prefixes(version: int) -> Iterator[Case]:
    """By the prefixes' first and last addresses."""
    wide, half, quarter = (
        ipaddress.ip_network(VIPS[f"{name}/{version}/tcp"].address) for name in ("wide", "half", "quarter-any")
    )
    for inside, port, vip, why in (
        (wide[0], 80, "wide", "the prefix's first address"),
        (half[0] - 1, 80, "wide", "the last address that only the longer one does not have"),
        (half[0], 80, "half", "the longer prefix, its first address"),
        (quarter[0], 80, "half", "a port before any port, though that prefix is longer"),
        (half[-1], 80, "half", "the longer prefix, its last address"),
        (wide[0], 81, "wide-any", "any port, first address"),
        (half[0], 81, "wide-any", "any port where the longer prefix has another"),
        (quarter[0] - 1, 81, "wide-any", "the last address before the longest one"),
        (quarter[0], 81, "quarter-any", "the longest prefix of any port"),
        (quarter[-1], 0, "quarter-any", "the longest prefix of any port, port 0"),
    ):
        yield meant(f"{vip}/{version}/tcp", str(inside), port, why=why)
    yield nobody(version, str(wide[0] - 1), 80, why="before the prefix")
    yield nobody(version, str(wide[0] - 1), 81, why="before the prefix, any port")
    yield nobody(version, str(wide[-1] + 1), 80, why="behind the prefix")
    yield nobody(version, str(wide[5]), 80, why="a prefix has its protocol", kind=UDP)


def without_backends() -> Iterator[Case]:
    """A VIP for which nobody is there takes its packets, and says so."""
    for version in BOTH:
        for vip, why in (
            ("lost", "the backend's next hop is not known"),
            ("none", "the backend is no more"),
            ("empty", "no slot has a backend"),
            ("no-ring", "there is no ring"),
        ):
            for kind in ("tcp", "udp"):
                if f"{vip}/{version}/{kind}" in VIPS:
                    for flags in ("S", "A") if kind == "tcp" else ("",):
                        packet = towards(f"{vip}/{version}/{kind}", flags)
                        name = f"v{version} {kind} {flags}: {why}"
                        yield Case(name, ether() / packet, DROP, None, {"NO_BACKEND": 1})


@pytest.mark.parametrize("case", list(precedence()), ids=named)
def test_which_is_meant(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


@pytest.mark.parametrize("case", list(without_backends()), ids=named)
def test_nobody_is_there(scene: Scene, case: Case) -> None:
    check(scene.programs, case)


@pytest.mark.parametrize("version", BOTH)
def test_what_is_meant_is_kept_apart_by_port(scene: Scene, version: int) -> None:
    """A VIP that a CPU keeps is that of the port that was asked for."""
    scene.settings(vips_version=7)
    to = VIPS[f"any/{version}/tcp"].address
    for _ in range(2):
        check(scene.programs, meant(f"exact/{version}/tcp", to, 443, why="exact"))
        check(scene.programs, meant(f"any/{version}/tcp", to, 444, why="any"))


@pytest.mark.parametrize("version", BOTH)
def test_prefixes_are_not_asked_where_there_are_none(scene: Scene, version: int) -> None:
    scene.settings(prefixes=0)
    base = {4: "203.0.120.", 6: "2001:db8:7::"}[version]
    check(scene.programs, nobody(version, f"{base}83", 80, why="no prefix"))
    check(scene.programs, meant(f"host-any/{version}/tcp", f"{base}82", 81, why="any port"))


@pytest.mark.parametrize("version", BOTH)
def test_a_vip_that_is_no_more_leaves_the_wider_one(scene: Scene, version: int) -> None:
    vip = VIPS[f"exact/{version}/tcp"]
    check(scene.programs, meant(f"exact/{version}/tcp", vip.address, 443, why="exact"))
    scene.without(vip)
    try:
        check(scene.programs, meant(f"any/{version}/tcp", vip.address, 443, why="any"))
    finally:
        scene.vip(vip)


@pytest.mark.parametrize("version", BOTH)
def test_a_whole_family_can_be_one_vip(scene: Scene, version: int) -> None:
    """All of IPv4 holds nothing of IPv6, nor does all that is routed of IPv6 hold IPv4."""
    whole = Vip(0, {4: "0.0.0.0/0", 6: "2000::/3"}[version], 6, 9, BACKENDS["one"].number)
    to = {4: "192.0.2.1", 6: "2001:db8:ffff::1"}
    other = 10 - version
    scene.vip(whole)
    try:
        packet = ip(version, CLIENT[version], to[version]) / TCP(sport=40000, dport=9, flags="A") / b"hello"
        counts = {"one.packets": 1, "one.octets": octets(packet)}
        check(scene.programs, Case("all", ether() / packet, TX, leaves("one", packet), counts))
        check(scene.programs, nobody(version, to[version], 10, why="another port"))
        check(scene.programs, nobody(other, to[other], 9, why="the other family"))
    finally:
        scene.without(whole)


@pytest.mark.parametrize("version", BOTH)
def test_vips_of_one_ring_are_counted_apart(scene: Scene, version: int) -> None:
    """Two VIPs, one ring, one backend: who shares is not mixed up."""
    scene.moving(all_slots(BACKENDS["two"].number))
    assert VIPS[f"moving/{version}/tcp"].ring == VIPS[f"moving/{version}/udp"].ring == MOVING_RING
    for vip in (f"moving/{version}/tcp", f"moving/{version}/udp"):
        packet = towards(vip)
        counts = sent(vip, "two", octets(packet), **({"udp_flows": 1} if UDP in packet else {}))
        check(scene.programs, Case(vip, ether() / packet, TX, leaves("two", packet), counts))
