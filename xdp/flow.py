"""Which backend a flow goes to, and why: what the program decides, said again in Python.  Pure.

Rule 1: this is the twin of hash.h, vip.h and slots.h in xdp/c, and tests hold both against each other packet by packet.
Rule 2: nothing is changed: to ask leaves no flow behind, while a packet of the same kind might.
Connection ids of QUIC and fragments are not flows and not looked at.
Standards: SipHash-1-3 (Aumasson and Bernstein, 2012).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Protocol

from gslb.layout import COARSE_SHIFT, MOST_VIPS, RING_SLOTS, BackendFlags, Mode

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
UDP_LIVE = 14  # coarse units, as in slots.h
_MASK = (1 << 64) - 1
_IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Flow:
    """A client's flow as it comes to the balancer; `protocol` is the number of IP.  A protocol without ports has ports 0."""

    source: str
    destination: str
    source_port: int
    destination_port: int
    protocol: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What the maps hold of a VIP."""

    vip: int
    ring: int


@dataclass(frozen=True, slots=True)
class UdpEntry:
    """What the table of UDP flows holds at one place; `seen` in coarse units, modulo 2^16."""

    tag: int
    backend: int
    seen: int


class Maps(Protocol):
    """What the maps hold, entry by entry.  Addresses are their 16 octets in the maps."""

    def key(self) -> bytes:
        """The secret of the flow hash, 16 octets."""

    def vip(self, address: bytes, port: int, protocol: int) -> Entry | None:
        """The VIP of exactly this address and port."""

    def prefix(self, address: bytes, port: int, protocol: int) -> Entry | None:
        """The longest prefix with exactly this port."""

    def slot(self, ring: int, slot: int) -> tuple[int, int] | None:
        """current and previous; None where there is no such ring."""

    def backend(self, backend: int) -> tuple[int, int]:
        """Its mode and flags."""

    def new_flow(self, flow_hash: int) -> int | None:
        """The backend of a flow that began in a slot with a previous backend."""

    def udp_flow(self, index: int) -> UdpEntry:
        """One place of the table of UDP flows."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Ids, 0 where there is none, and the reason for people; `hash` and `slot` are -1 where there is no VIP."""

    vip: int
    ring: int
    hash: int
    slot: int
    current: int
    previous: int
    backend: int
    why: str


def choose(held: Maps, flow: Flow, now_s: float, *, syn: bool = False) -> Choice:
    """Where the flow's next packet goes; `syn`: its first one of TCP.  `now_s` of the monotonic clock.  Raises ValueError: no address."""
    entry = find_vip(held, flow)
    if entry is None:
        return Choice(0, 0, -1, -1, 0, 0, 0, "no VIP has this address, port and protocol: it goes to the kernel")
    hashed = flow_hash(held.key(), flow)
    at = slot_of(hashed)
    found = held.slot(entry.ring, at)
    if found is None:
        return Choice(entry.vip, entry.ring, hashed, at, 0, 0, 0, "the VIP has no ring: dropped")
    current, previous = found
    if flow.protocol == UDP:
        backend, why = _udp(held, hashed, entry.vip, (current, previous), now_s)
    elif flow.protocol == TCP and previous:
        backend, why = _tcp(held, hashed, current, previous, syn=syn)
    else:
        backend, why = current, "the slot's backend"
    mode, flags = held.backend(backend)
    if not backend:
        why = "the slot is empty: dropped"
    elif mode == Mode.MODE_NONE or flags & BackendFlags.BACKEND_UNREACHABLE:
        why = f"{why}, which cannot be reached: dropped"
    return Choice(entry.vip, entry.ring, hashed, at, current, previous, backend, why)


def find_vip(held: Maps, flow: Flow) -> Entry | None:
    """The VIP of a flow: the address with the port, with any port, then the longest prefix with the port, with any port."""
    address = octets_of(flow.destination)
    for find in (held.vip, held.prefix):
        for port in (flow.destination_port, 0):
            found = find(address, port, flow.protocol)
            if found is not None:
                return found
    return None


def is_usable(held: Maps, backend: int) -> bool:
    """Whether flows may stay with a backend."""
    mode, flags = held.backend(backend)
    return mode != Mode.MODE_NONE and not flags & BackendFlags.BACKEND_DOWN


def octets_of(address: str) -> bytes:
    """The 16 octets of an address in the maps: IPv4 as ::ffff:a.b.c.d.  Raises ValueError."""
    packed = ipaddress.ip_address(address).packed
    return packed if len(packed) == 16 else _IPV4_IN_IPV6 + packed


def flow_hash(key: bytes, flow: Flow) -> int:
    """The 64 bits that all of a flow's places come from.  Raises ValueError: no address."""
    addresses = ipaddress.ip_address(flow.source).packed + ipaddress.ip_address(flow.destination).packed
    ports = flow.source_port.to_bytes(2, "big") + flow.destination_port.to_bytes(2, "big")
    return siphash13(key, addresses + ports + bytes([flow.protocol]))


def slot_of(hashed: int) -> int:
    """The slot of a ring."""
    return (hashed >> 32) * RING_SLOTS >> 32


def index_of(hashed: int) -> int:
    """The place in the tables of UDP flows and of handshakes."""
    return hashed & 0xFFFF


def tag_of(hashed: int) -> int:
    """What tells the flow from others in its place."""
    return hashed >> 16 & 0xFFFFFFFF


def udp_tag_of(hashed: int, vip: int) -> int:
    """The same in the table of UDP flows, where a VIP's id has the lower bits."""
    return tag_of(hashed) & ~(MOST_VIPS - 1) | vip


def gue_source_port(hashed: int) -> int:
    """The UDP source port of GUE."""
    return 0xC000 | hashed & 0x3FFF


def siphash13(key: bytes, data: bytes) -> int:
    """SipHash-1-3 of octets under a key of 16."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    state = (k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573)
    whole = len(data) // 8 * 8
    last = data[whole:].ljust(7, b"\0") + bytes([len(data) & 0xFF])
    for at in range(0, whole, 8):
        state = _block(state, int.from_bytes(data[at : at + 8], "little"))
    v0, v1, v2, v3 = _block(state, int.from_bytes(last, "little"))
    state = (v0, v1, v2 ^ 0xFF, v3)
    for _ in range(3):
        state = _round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _tcp(held: Maps, hashed: int, current: int, previous: int, *, syn: bool) -> tuple[int, str]:
    if syn:
        return current, "a new flow goes to the slot's current backend"
    remembered = held.new_flow(hashed)
    kept, why = previous, "the slot's previous backend keeps the flows that it had"
    if remembered is not None:
        kept, why = remembered, "the flow began since the slot changed, with this backend"
    if is_usable(held, kept):
        return kept, why
    return current, "the backend that had the flow is down: the slot's current one"


def _udp(held: Maps, hashed: int, vip: int, slot: tuple[int, int], now_s: float) -> tuple[int, str]:
    current, previous = slot
    entry = held.udp_flow(index_of(hashed))
    age = ((int(now_s * 1e9) >> COARSE_SHIFT) - entry.seen) & 0xFFFF
    if not previous:
        return current, "the slot's backend"
    if entry.tag != udp_tag_of(hashed, vip) or age > UDP_LIVE:
        return current, "no such flow was seen in the last minute: the slot's current backend"
    if entry.backend == current or is_usable(held, entry.backend):
        return entry.backend, "the flow was seen in the last minute, with this backend"
    return current, "the backend that had the flow is down: the slot's current one"


def _block(state: tuple[int, int, int, int], block: int) -> tuple[int, int, int, int]:
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ block)
    return v0 ^ block, v1, v2, v3


def _round(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    v0 = (v0 + v1) & _MASK
    v2 = (v2 + v3) & _MASK
    v1 = _rotated(v1, 13) ^ v0
    v3 = _rotated(v3, 16) ^ v2
    v0 = _rotated(v0, 32)
    v2 = (v2 + v1) & _MASK
    v0 = (v0 + v3) & _MASK
    return v0, _rotated(v1, 17) ^ v2, _rotated(v2, 32), _rotated(v3, 21) ^ v0


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _MASK
