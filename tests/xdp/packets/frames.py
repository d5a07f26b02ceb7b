"""Frames that cases send, and what must become of them, in scapy.  Pure.

Rule 1: what is expected is said by scapy or by the few lines here, never by code of the product (but for the hash of a flow).
"""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from gslb.layout import Mode
from tests.xdp.packets import scene
from tests.xdp.packets.scene import BACKENDS, GUE_PORT, KEY, LEAVES, OWN, OWN4, OWN6, ROUTER, SOURCE4, SOURCE6, Backend
from xdp.flow import Flow, flow_hash, gue_source_port

CLIENT = {4: "203.0.113.7", 6: "2001:db8:c::7"}
OUTSIDE = {4: "203.0.113.99", 6: "2001:db8:c::99"}  # a router on the way
OUTER_TTL = 64
Tags = tuple[tuple[int, int], ...]


def ether(*, tags: Tags = ()) -> Packet:
    """A frame to us; `tags` are (EtherType of the tag, VLAN id)."""
    frame: Packet = Ether(src=ROUTER, dst=OWN)
    for kind, vlan in tags:
        frame /= Dot1Q(vlan=vlan, prio=3) if kind == 0x8100 else Dot1AD(vlan=vlan)
    return frame


def ip(version: int, source: str, destination: str, **fields: Any) -> Packet:
    """An IP header; `ttl` and `tos` have the names of IPv4 for both; `df`: it must not be fragmented."""
    df = fields.pop("df", True)
    if version == 4:
        return IP(src=source, dst=destination, **({"id": 1, "ttl": 60, "flags": "DF" if df else ""} | fields))
    fields = {"ttl": 60} | fields
    return IPv6(src=source, dst=destination, hlim=fields.pop("ttl"), tc=fields.pop("tos", 0), **fields)


def tcp(
    backend: str, version: int, flags: str = "A", *, payload: bytes = b"hello", sport: int = 40000, **fields: object
) -> Packet:
    """An IP packet of a client to the TCP VIP behind which only `backend` stands."""
    to = scene.address_of(backend, version)
    segment = TCP(sport=sport, dport=80, flags=flags, seq=1000, ack=0 if flags == "S" else 2000)
    return ip(version, CLIENT[version], to, **fields) / segment / Raw(payload)


def udp(backend: str, version: int, *, payload: bytes = b"hello", sport: int = 40000, **fields: Any) -> Packet:
    """The same over UDP."""
    to = scene.address_of(backend, version)
    return ip(version, CLIENT[version], to, **fields) / UDP(sport=sport, dport=80) / Raw(payload)


def towards(
    vip: str,
    flags: str = "A",
    *,
    to: str = "",
    sport: int = 40000,
    dport: int = -1,
    seq: int = 1000,
    payload: bytes = b"hello",
    **fields: Any,
) -> Packet:
    """The same to a VIP by its name; `to` and `dport`: another address or port than its own."""
    meant = scene.VIPS[vip]
    version, port = (6 if ":" in meant.address else 4), meant.port if dport < 0 else dport
    segment: Packet = UDP(sport=sport, dport=port)
    if meant.protocol == scene.TCP:
        segment = TCP(sport=sport, dport=port, flags=flags, seq=seq, ack=0 if flags == "S" else 2000)
    return ip(version, CLIENT[version], to or meant.address, **fields) / segment / Raw(payload)


def leaves(
    backend: str,
    packet: Packet,
    *,
    tags: Tags = (),
    source: str = "",
    hop: bool = True,
    flow: Flow | None = None,
) -> Packet:
    """What a backend is sent for an IP packet: the encapsulation of its mode.

    `source`: the outer source, where it is not that of the scene; `hop`: the inner TTL loses one, as RFC 2003 section 3.1 says;
    `flow`: that of the packet, where its own ports do not say it.
    """
    to = BACKENDS[backend]
    link = ether(tags=tags)
    link[Ether].src, link[Ether].dst = LEAVES, to.next_hop
    return link / (packet if to.mode == Mode.MODE_L2 else encapsulated(to, packet, source=source, hop=hop, flow=flow))


def encapsulated(
    to: Backend, packet: Packet, *, source: str = "", hop: bool = True, flow: Flow | None = None
) -> Packet:
    """The IP packet that carries `packet` to a backend."""
    inner = packet.copy()
    four = isinstance(inner, IP)
    tos = inner.tos if four else inner.tc
    if hop and four:
        inner.ttl -= 1
    elif hop:
        inner.hlim -= 1
    version = 6 if ":" in to.address else 4
    hashed = flow_hash(KEY, flow) if flow else hash_of(packet)
    gue = to.mode == Mode.MODE_GUE
    own, spread = ((OWN4, SOURCE4), (OWN6, SOURCE6))[version == 6]
    protocol = 17 if gue else (4 if four else 41)
    body: Packet = Raw(bytes(inner))
    if gue:
        body = UDP(sport=gue_source_port(hashed), dport=GUE_PORT, chksum=0) / body
    outer_source = source or (own if gue else spread)
    if version == 6:
        label = hashed & 0xFFFFF
        return IPv6(src=outer_source, dst=to.address, hlim=OUTER_TTL, nh=protocol, tc=tos, fl=label) / body
    flags, ident = ("DF" if inner.flags.DF else "", inner.id) if four else ("DF", 0)
    return IP(src=outer_source, dst=to.address, ttl=OUTER_TTL, id=ident, proto=protocol, tos=tos, flags=flags) / body


def hash_of(packet: Packet) -> int:
    """The hash of a TCP or UDP packet's flow under the scene's key."""
    protocol, ports = (6, packet[TCP]) if TCP in packet else (17, packet[UDP])
    return flow_hash(KEY, Flow(packet.src, packet.dst, ports.sport, ports.dport, protocol))


def octets(packet: Packet) -> int:
    """Of an IP packet."""
    return len(bytes(packet))


def checksum(data: bytes) -> int:
    """The Internet checksum of RFC 1071, by plain addition: 0 over data that holds its own."""
    total = sum(int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
