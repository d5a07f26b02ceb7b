"""Datagrams in fragments: later ones follow the first, which alone has ports; those without a first are dropped."""

from __future__ import annotations

import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.packet import Packet, Raw

from tests.xdp.packets.cases import DROP, PASS, TX, Case, check, sent
from tests.xdp.packets.frames import CLIENT, OUTSIDE, Tags, ether, ip, leaves, octets
from tests.xdp.packets.scene import BACKENDS, MODES, VIPS, Scene, address_of, all_slots
from xdp.flow import Flow

pytestmark = pytest.mark.root
BOTH = (4, 6)
NUMBERS = {"tcp": 6, "udp": 17}
TAGS: tuple[Tags, ...] = ((), ((0x8100, 12),), ((0x88A8, 7), (0x8100, 12)))
SIZE = 64  # octets of each fragment but the last
UNKNOWN = {"FRAGMENT_UNKNOWN": 1}


def pieces(
    version: int, to: str, whole: bytes, *, protocol: int = 17, ident: int = 77, source: str = ""
) -> list[Packet]:
    """A datagram as three fragments."""
    made = []
    for at in range(0, 3 * SIZE, SIZE):
        data = whole[at : at + SIZE] if at < 2 * SIZE else whole[at:]
        made.append(piece(version, to, data, at, more=at < 2 * SIZE, protocol=protocol, ident=ident, source=source))
    return made


def piece(
    version: int, to: str, data: bytes, at: int, *, more: bool, protocol: int = 17, ident: int = 77, source: str = ""
) -> Packet:
    """One fragment of a client's datagram."""
    source = source or CLIENT[version]
    if version == 4:
        flags = "MF" if more else ""
        return ip(4, source, to, proto=protocol, id=ident, flags=flags, frag=at // 8) / Raw(data)
    return ip(6, source, to) / IPv6ExtHdrFragment(nh=protocol, offset=at // 8, m=int(more), id=ident) / Raw(data)


def datagram(port: int = 80) -> bytes:
    """UDP with as much as three fragments hold, the last of an odd length."""
    return bytes(UDP(sport=40000, dport=port, len=2 * SIZE + 13) / Raw(bytes(range(2 * SIZE + 5))))


def segment(flags: str = "A") -> bytes:
    """The same over TCP."""
    return bytes(TCP(sport=40000, dport=80, flags=flags, seq=1000, ack=2000) / Raw(bytes(range(2 * SIZE - 7))))


def first_case(name: str, vip: str, backend: str, packet: Packet, *, kind: str = "udp", tags: Tags = ()) -> Case:
    """The first fragment is a packet like any other."""
    flow = Flow(packet.src, packet.dst, 40000, VIPS[vip].port, NUMBERS[kind])
    counts = sent(vip, backend, octets(packet), **({"udp_flows": 1} if kind == "udp" else {}))
    return Case(name, ether(tags=tags) / packet, TX, leaves(backend, packet, tags=tags, flow=flow), counts)


def later_case(name: str, vip: str, backend: str, packet: Packet, *, kind: str = "udp", tags: Tags = ()) -> Case:
    """A later one has no ports: its outer header is that of a flow without."""
    flow = Flow(packet.src, packet.dst, 0, 0, NUMBERS[kind])
    counts = sent(vip, backend, octets(packet), FRAGMENTS=1)
    return Case(name, ether(tags=tags) / packet, TX, leaves(backend, packet, tags=tags, flow=flow), counts)


@pytest.mark.parametrize("backend", MODES)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("tags", TAGS, ids=["untagged", "VLAN", "QinQ"])
def test_later_ones_follow_the_first(scene: Scene, backend: str, kind: str, version: int, tags: Tags) -> None:
    whole = datagram() if kind == "udp" else segment()
    vip = f"{backend}/{version}/{kind}"
    first, middle, last = pieces(version, address_of(backend, version), whole, protocol=NUMBERS[kind])
    check(scene.programs, first_case("first", vip, backend, first, kind=kind, tags=tags))
    check(scene.programs, later_case("last", vip, backend, last, kind=kind, tags=tags))
    check(scene.programs, later_case("middle", vip, backend, middle, kind=kind, tags=tags))


@pytest.mark.parametrize("version", BOTH)
def test_without_a_first_one_they_are_dropped(scene: Scene, version: int) -> None:
    vip = address_of("ip4", version)
    first, middle, last = pieces(version, vip, datagram())
    for packet in (middle, last):
        check(scene.programs, Case("before the first", ether() / packet, DROP, None, UNKNOWN))
    check(scene.programs, first_case("first", f"ip4/{version}/udp", "ip4", first))
    strangers = {
        "another identification": {"ident": 78},
        "another source": {"source": OUTSIDE[version]},
        "another protocol": {"protocol": 6},
    }
    for name, fields in strangers.items():
        packet = piece(version, vip, bytes(SIZE), SIZE, more=True, **fields)  # type: ignore[arg-type]
        check(scene.programs, Case(name, ether() / packet, DROP, None, UNKNOWN))
    other = piece(version, address_of("l2", version), bytes(SIZE), SIZE, more=True)
    check(scene.programs, Case("another VIP", ether() / other, DROP, None, UNKNOWN))
    check(scene.programs, later_case("its own", f"ip4/{version}/udp", "ip4", middle))


@pytest.mark.parametrize("version", BOTH)
def test_those_for_nobody_are_passed(scene: Scene, version: int) -> None:
    to = {4: "198.51.100.250", 6: "2001:db8:5::250"}[version]
    for packet in pieces(version, to, datagram()):
        check(scene.programs, Case("no VIP", ether() / packet, PASS, None, {"NO_VIP": 1}))
    first, middle, _ = pieces(version, address_of("l2", version), datagram(port=81))
    check(scene.programs, Case("another port", ether() / first, PASS, None, {"NO_VIP": 1}))
    check(scene.programs, Case("and what follows it", ether() / middle, DROP, None, UNKNOWN))


@pytest.mark.parametrize("version", BOTH)
def test_within_a_prefix(scene: Scene, version: int) -> None:
    to = {4: "203.0.114.77", 6: "2001:db8:6::77"}[version]
    vip = f"prefix/{version}/tcp"
    first, middle, _ = pieces(version, to, segment(), protocol=6)
    check(scene.programs, Case("middle", ether() / middle, DROP, None, UNKNOWN))
    check(scene.programs, first_case("first", vip, "one", first, kind="tcp"))
    check(scene.programs, later_case("middle", vip, "one", middle, kind="tcp"))


@pytest.mark.parametrize("version", BOTH)
def test_a_datagram_stays_whole_when_its_ring_changes(scene: Scene, version: int) -> None:
    vip = f"moving/{version}/udp"
    scene.moving(all_slots(BACKENDS["one"].number))
    first, middle, last = pieces(version, VIPS[vip].address, datagram(port=53))
    check(scene.programs, first_case("first", vip, "one", first))
    check(scene.programs, later_case("middle", vip, "one", middle))
    scene.moving(all_slots(BACKENDS["two"].number))
    check(scene.programs, later_case("last", vip, "one", last))
    following = pieces(version, VIPS[vip].address, datagram(port=53), ident=78, source=OUTSIDE[version])[0]
    check(scene.programs, first_case("the next datagram", vip, "two", following))


@pytest.mark.parametrize("version", BOTH)
def test_what_was_not_carried_is_not_remembered(scene: Scene, version: int) -> None:
    first, middle, _ = pieces(version, address_of("lost", version), datagram())
    check(scene.programs, Case("unreachable", ether() / first, DROP, None, {"NO_BACKEND": 1}))
    check(scene.programs, Case("and what follows it", ether() / middle, DROP, None, UNKNOWN))
    assert not list(scene.programs.maps["fragments"].keys())


@pytest.mark.parametrize("version", BOTH)
def test_the_hop_of_a_later_fragment_counts(scene: Scene, version: int) -> None:
    first, middle, _ = pieces(version, address_of("ip4", version), datagram())
    check(scene.programs, first_case("first", f"ip4/{version}/udp", "ip4", first))
    setattr(middle, "ttl" if version == 4 else "hlim", 1)
    check(scene.programs, Case("TTL 1", ether() / middle, DROP, None, {"TTL": 1}))


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_a_first_fragment_without_its_ports_is_dropped(scene: Scene, version: int, kind: str) -> None:
    """RFC 1858 section 3 and RFC 7112: nobody honest sends such."""
    whole, least = (datagram(), 8) if kind == "udp" else (segment(), 20)
    for size in range(0, least, 4):
        packet = piece(version, address_of("l2", version), whole[:size], 0, more=True, protocol=NUMBERS[kind])
        check(scene.programs, Case(f"{size} octets", ether() / packet, DROP, None, {"MALFORMED": 1}))


@pytest.mark.parametrize("backend", MODES)
def test_an_atomic_fragment_is_a_whole_packet(scene: Scene, backend: str) -> None:
    """RFC 6946 section 4: it has a header and no others."""
    packet = piece(6, address_of(backend, 6), datagram(), 0, more=False)
    check(scene.programs, first_case("atomic", f"{backend}/6/udp", backend, packet))
    assert not list(scene.programs.maps["fragments"].keys())


def test_a_fragment_header_behind_another(scene: Scene) -> None:
    flow_vip = "gue6/6/udp"
    made = []
    for packet in pieces(6, address_of("gue6", 6), datagram())[:2]:
        longer = ip(6, packet.src, packet.dst) / IPv6ExtHdrDestOpt() / packet.payload
        made.append(longer)
    check(scene.programs, first_case("first", flow_vip, "gue6", made[0]))
    check(scene.programs, later_case("middle", flow_vip, "gue6", made[1]))
