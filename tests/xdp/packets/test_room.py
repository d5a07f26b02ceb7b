"""The room before a frame, and where the outer source comes from."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from scapy.layers.l2 import Ether

from tests.xdp.packets.cases import DROP, TX, Case, check, sent
from tests.xdp.packets.frames import ether, hash_of, leaves, octets, tcp
from tests.xdp.packets.scene import BACKENDS, MODES, OWN, ROUTER, Scene, packed
from tests.xdp.packets.test_too_big import OVERHEAD, of_size, told

pytestmark = pytest.mark.root
BOTH = (4, 6)
FLOWS = 64
ANSWER = {4: 28, 6: 48}  # octets before what is quoted


# ---- headroom ----


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("backend", MODES)
def test_a_frame_with_as_little_headroom_as_its_header_needs(scene: Scene, backend: str, version: int) -> None:
    packet = tcp(backend, version)
    counts = sent(f"{backend}/{version}/tcp", backend, octets(packet))
    most = scene.programs.most_eaten(bytes(ether() / packet))
    just = Case("just enough", ether() / packet, TX, leaves(backend, packet), counts, eaten=most - OVERHEAD[backend])
    check(scene.programs, just)
    if OVERHEAD[backend]:
        for eaten in (most, most - OVERHEAD[backend] + 1):
            check(scene.programs, Case("too little", ether() / packet, DROP, None, {"NO_ROOM": 1}, eaten=eaten))


@pytest.mark.parametrize("version", BOTH)
def test_an_answer_with_as_little_headroom_as_it_needs(scene: Scene, version: int) -> None:
    scene.backend(replace(BACKENDS["l2"], mtu=1300))
    packet = of_size("l2", version, 1301)
    most = scene.programs.most_eaten(bytes(ether() / packet))
    answer, counts = told(packet, 1300), {"TOO_BIG_SENT": 1}
    assert (answer[Ether].src, answer[Ether].dst) == (OWN, ROUTER)
    check(scene.programs, Case("just enough", ether() / packet, TX, answer, counts, eaten=most - ANSWER[version]))
    for eaten in (most, most - ANSWER[version] + 1):
        check(scene.programs, Case("too little", ether() / packet, DROP, None, {"NO_ROOM": 1}, eaten=eaten))


# ---- outer source ----


def test_outer_sources_spread_over_their_prefix(scene: Scene) -> None:
    """Receivers hash the outer addresses alone: flows of one client must not all meet on one CPU."""
    prefix = ipaddress.ip_network("198.18.0.0/15")
    mask = int(prefix.hostmask)
    scene.settings(source4=int(prefix.network_address), spread4=mask)
    found = set()
    for port in range(40000, 40000 + FLOWS):
        for version in BOTH:
            packet = tcp("ip4", version, sport=port)
            source = ipaddress.IPv4Address(int(prefix.network_address) | hash_of(packet) & mask)
            assert source in prefix
            found.add(source)
            counts = sent(f"ip4/{version}/tcp", "ip4", octets(packet))
            expect = leaves("ip4", packet, source=str(source))
            check(scene.programs, Case(f"port {port}", ether() / packet, TX, expect, counts))
    assert len(found) > 2 * FLOWS - 4


def test_outer_sources_of_ip6_spread_over_their_prefix(scene: Scene) -> None:
    """Each 32-bit word of the host part is that of the hash."""
    prefix = ipaddress.ip_network("100::/64")
    scene.settings(source6=tuple(packed("100::")), spread6=tuple(prefix.hostmask.packed))
    found = set()
    for port in range(40000, 40000 + FLOWS):
        for version in BOTH:
            packet = tcp("ip6", version, sport=port)
            low = hash_of(packet) & 0xFFFFFFFF
            source = ipaddress.IPv6Address(int(prefix.network_address) | low << 32 | low)
            found.add(source)
            counts = sent(f"ip6/{version}/tcp", "ip6", octets(packet))
            expect = leaves("ip6", packet, source=str(source))
            check(scene.programs, Case(f"port {port}", ether() / packet, TX, expect, counts))
    assert len(found) > 2 * FLOWS - 4


@pytest.mark.parametrize("backend", ["gue4", "gue6"])
def test_the_source_of_gue_is_the_node_and_its_port_spreads(scene: Scene, backend: str) -> None:
    scene.settings(spread4=0x1FFFF, spread6=(0,) * 8 + (255,) * 8)
    found = set()
    at = 34 if backend == "gue4" else 54
    for port in range(40000, 40000 + FLOWS):
        packet = tcp(backend, 4, sport=port)
        counts = sent(f"{backend}/4/tcp", backend, octets(packet))
        ran = check(scene.programs, Case(f"port {port}", ether() / packet, TX, leaves(backend, packet), counts))
        found.add(int.from_bytes(ran.out[at : at + 2], "big"))
    assert min(found) >= 0xC000
    assert len(found) > FLOWS - 4


@pytest.mark.parametrize("backend", MODES[1:])
def test_a_flow_keeps_its_outer_source(scene: Scene, backend: str) -> None:
    """A flow that changes its path may be reordered: its every packet has the same outer header."""
    scene.settings(spread4=0x1FFFF, spread6=(0,) * 8 + (255,) * 8)
    heads = set()
    for flags in ("S", "A", "PA", "FA", "R"):
        _, out = scene.programs.quick(bytes(ether() / tcp(backend, 4, flags, payload=b"")))
        heads.add(out[14 : 14 + OVERHEAD[backend]])
    assert len(heads) == 1
