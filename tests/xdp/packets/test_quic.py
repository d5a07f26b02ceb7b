"""QUIC towards a VIP that knows connection ids: by the id where a server made it, else by hash.

The ring of the VIP sends all to "one"; the server id 0x1234 is that of "two".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from scapy.layers.inet import UDP
from scapy.packet import Packet, Raw

from gslb import layout
from tests.xdp.harness import word
from tests.xdp.packets.cases import DROP, TX, Case, check, sent
from tests.xdp.packets.frames import CLIENT, ether, ip, leaves, octets
from tests.xdp.packets.scene import ANY_RING, BACKENDS, DOWN, MOVING_RING, UNREACHABLE, VIPS, Scene, all_slots

pytestmark = pytest.mark.root
BOTH = (4, 6)
SERVER = 0x1234
VERSION_1, VERSION_2 = 1, 0x6B3343CF  # RFC 9000, RFC 9369
INITIAL, ZERO_RTT, HANDSHAKE, RETRY = range(4)  # of version 1
TYPES_2 = {INITIAL: 1, ZERO_RTT: 2, HANDSHAKE: 3, RETRY: 0}  # RFC 9369 section 3.2
BY_ID, BY_HASH, UNKNOWN = "by id", "by hash", "by hash, unknown"


def connection_id(server: int = SERVER, *, first: int = 0x07, more: int = 4) -> bytes:
    """An id as QUIC-LB makes it in plaintext: first octet, server id, octets of the server's own."""
    return bytes([first]) + server.to_bytes(2, "big") + bytes(range(0xA0, 0xA0 + more))


def long(kind: int, named: bytes, *, version: int = VERSION_1, behind: bytes = bytes(24)) -> bytes:
    """A packet with a long header (RFC 9000 section 17.2) and a source id of 4 octets."""
    number = TYPES_2[kind] if version == VERSION_2 else kind
    head = bytes([0xC0 | number << 4 | 3]) + version.to_bytes(4, "big") + bytes([len(named)]) + named
    return head + b"\x04wxyz" + behind


def short(named: bytes, *, behind: bytes = bytes(24)) -> bytes:
    """A packet with a short header (RFC 9000 section 17.3)."""
    return b"\x43" + named + behind


@dataclass(frozen=True)
class Quic:
    """One datagram and what names its backend."""

    name: str
    data: bytes
    goes: str


def datagrams() -> Iterator[Quic]:
    for version, text in ((VERSION_1, "version 1"), (VERSION_2, "version 2")):
        for kind, name, goes in (
            (INITIAL, "Initial", BY_HASH),
            (ZERO_RTT, "0-RTT", BY_HASH),
            (HANDSHAKE, "Handshake", BY_ID),
            (RETRY, "Retry", BY_ID),
        ):
            yield Quic(f"{name}, {text}", long(kind, connection_id(), version=version), goes)
        unknown = long(HANDSHAKE, connection_id(0x4321), version=version)
        yield Quic(f"Handshake of an unknown server, {text}", unknown, UNKNOWN)
    for version in (0, 2, 0x0A0A0A0A, 0xFF00001D):
        yield Quic(f"version {version:#x}", long(HANDSHAKE, connection_id(), version=version), BY_HASH)
    for more in (4, 5, 13, 17):
        yield Quic(f"Handshake, id of {3 + more} octets", long(HANDSHAKE, connection_id(more=more)), BY_ID)
    for more in (0, 3):
        yield Quic(f"Handshake, id of {3 + more} octets", long(HANDSHAKE, connection_id(more=more)), UNKNOWN)
    yield Quic("Handshake, id of no octets", long(HANDSHAKE, b""), UNKNOWN)
    yield Quic("short header", short(connection_id()), BY_ID)
    yield Quic("short header, spin bit and key phase", b"\x67" + short(connection_id())[1:], BY_ID)
    yield Quic("short header without the fixed bit", b"\x03" + short(connection_id())[1:], BY_ID)
    yield Quic("short header, unknown server", short(connection_id(0x4321)), UNKNOWN)
    yield Quic("short header, octets of the id the other way round", short(connection_id(0x3412)), UNKNOWN)
    yield Quic("short header, server 0", short(connection_id(0)), UNKNOWN)
    yield Quic("short header, server of another ring", short(connection_id(0x0099)), UNKNOWN)
    yield Quic("short header, server that is no backend any more", short(connection_id(0x0077)), UNKNOWN)
    for first in (0x00, 0x1F):
        yield Quic(f"short header, first octet of the id {first:#04x}", short(connection_id(first=first)), BY_ID)
    for first in (0x20, 0x40, 0x80, 0xE7):
        yield Quic(f"short header, first octet of the id {first:#04x}", short(connection_id(first=first)), UNKNOWN)
        named = connection_id(first=first)
        yield Quic(f"Handshake, first octet of the id {first:#04x}", long(HANDSHAKE, named), UNKNOWN)
    yield Quic("short header and 3 octets of the id", short(connection_id()[:3], behind=b""), BY_ID)
    for size in (0, 1, 2, 3):
        yield Quic(f"short header cut to {size} octets", short(connection_id())[:size], BY_HASH)
    for size in (1, 4, 5, 6, 8):
        yield Quic(f"long header cut to {size} octets", long(HANDSHAKE, connection_id())[:size], BY_HASH)
    yield Quic("long header cut behind the server's id", long(HANDSHAKE, connection_id())[:9], BY_ID)


def quic(version: int, data: bytes) -> Packet:
    """An IP packet of a client to the VIP."""
    to = VIPS[f"quic/{version}/udp"].address
    return ip(version, CLIENT[version], to) / UDP(sport=40000, dport=443) / Raw(data)


def case(version: int, name: str, data: bytes, goes: str) -> Case:
    """It goes to "two" by id, else to "one"; what goes by hash is a flow like any other."""
    packet = quic(version, data)
    backend = "two" if goes == BY_ID else "one"
    counts = sent(f"quic/{version}/udp", backend, octets(packet))
    if goes == BY_ID:
        counts |= {"QUIC_ID": 1}
    else:
        counts = sent(f"quic/{version}/udp", backend, octets(packet), udp_flows=1)
        counts |= {"QUIC_UNKNOWN": 1} if goes == UNKNOWN else {}
    return Case(f"v{version} {name}", ether() / packet, TX, leaves(backend, packet), counts)


@pytest.fixture
def known(scene: Scene) -> Scene:
    """The scene with servers' ids."""
    scene.moving(all_slots(BACKENDS["one"].number))
    ids = {
        (MOVING_RING, SERVER): "two",
        (MOVING_RING, 0x0077): "none",
        (MOVING_RING, 0x0055): "lost",
        (ANY_RING, 0x0099): "two",
    }
    for (ring, server), name in ids.items():
        key = bytes(layout.QuicKey(ring=ring, server=server))
        scene.programs.set("quic_ids", key, word(BACKENDS[name].number))
    return scene


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("what", [pytest.param(what, id=what.name) for what in datagrams()])
def test_quic(known: Scene, version: int, what: Quic) -> None:
    check(known.programs, case(version, what.name, what.data, what.goes))


@pytest.mark.parametrize("version", BOTH)
def test_a_server_that_is_down_keeps_no_connection(known: Scene, version: int) -> None:
    known.backend(replace(BACKENDS["two"], flags=DOWN))
    check(known.programs, case(version, "down", short(connection_id()), UNKNOWN))


@pytest.mark.parametrize("version", BOTH)
def test_a_server_without_a_next_hop_keeps_its_connections(known: Scene, version: int) -> None:
    """Its neighbour may answer again at once: no other server knows the connection."""
    known.backend(replace(BACKENDS["two"], flags=UNREACHABLE))
    frame = ether() / quic(version, short(connection_id()))
    check(known.programs, Case("unreachable", frame, DROP, None, {"NO_BACKEND": 1}))


@pytest.mark.parametrize("version", BOTH)
def test_what_is_too_big_for_the_server_is_not_counted_as_sent_by_id(known: Scene, version: int) -> None:
    known.backend(replace(BACKENDS["two"], mtu=40))
    packet = quic(version, short(connection_id()))
    if version == 4:
        packet.flags = 0  # so that, as with this little of IPv6, nobody is told
    check(known.programs, Case("too big", ether() / packet, DROP, None, {"TOO_BIG_DROPPED": 1}))


@pytest.mark.parametrize("version", BOTH)
def test_a_connection_outlives_its_address_and_a_change_of_the_ring(known: Scene, version: int) -> None:
    """What migration is: the same id from another port reaches the same server, and leaves nothing in the ring's uses."""
    known.moving(all_slots(BACKENDS["three"].number, BACKENDS["one"].number))
    packet = quic(version, short(connection_id()))
    packet[UDP].sport = 41234
    counts = sent(f"quic/{version}/udp", "two", octets(packet)) | {"QUIC_ID": 1}
    check(known.programs, Case("moved", ether() / packet, TX, leaves("two", packet), counts))
    assert not any(known.programs.ring_uses(MOVING_RING))


def test_without_its_flag_a_vip_knows_no_ids(known: Scene) -> None:
    vip = VIPS["quic/4/udp"]
    known.vip(replace(vip, flags=0))
    try:
        check(known.programs, case(4, "plain UDP", short(connection_id()), BY_HASH))
    finally:
        known.vip(vip)
