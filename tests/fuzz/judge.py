"""What may become of a frame in the XDP programs, whatever is wrong with it.  Pure.

Rule 1: each function gives "" or a sentence that says what is wrong.
Rule 2: it is told from the frame, the backends and the counts, never by code of the product.
Standards: RFC 792, RFC 1071, RFC 1624, RFC 2003, RFC 2473, RFC 4443, RFC 6040, draft-ietf-intarea-gue-09.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

from gslb.layout import Mode
from tests.fuzz.frames import link_of
from tests.xdp.harness import LOOPBACK
from tests.xdp.packets.cases import DROP, PASS, REDIRECT, TX
from tests.xdp.packets.frames import checksum
from tests.xdp.packets.scene import GUE_PORT, LEAVES, OWN4, OWN6, UNREACHABLE, Backend, mac

IP4, IP6 = 0x0800, 0x86DD
PASSED = frozenset({"NOT_IP", "NO_VIP", "ICMP_UNKNOWN"})
DROPPED = frozenset(
    {"MALFORMED", "NO_BACKEND", "OPTIONS", "EXTENSIONS", "FRAGMENT_UNKNOWN", "TTL", "TOO_BIG_DROPPED", "NO_ROOM"}
)
ANSWERED = frozenset({"TOO_BIG_SENT", "ECHO"})
WITH_FORWARDED = frozenset({"FRAGMENTS", "ICMP_FORWARDED", "QUIC_ID"})
BESIDE = frozenset({"QUIC_UNKNOWN", "NEW_FLOWS_FULL", "EVENTS_LOST"})
SOURCE4, SPREAD4 = int(ipaddress.IPv4Address("198.18.0.0")), 0x1FFFF  # outer sources, and the bits that spread them
SOURCE6 = ipaddress.IPv6Address("100::").packed[:8]
LEFT, REFUSED, REDIRECTED = 0, 2, 7  # TC_ACT_OK, TC_ACT_SHOT, TC_ACT_REDIRECT
FRAGMENT = 44
EXTENSIONS = (0, 43, FRAGMENT, 60)


@dataclass(frozen=True, slots=True)
class Came:
    """What became of one frame; `packets` by VIP, `backends` by number of the backend: what was added to their counters."""

    verdict: int
    out: bytes
    events: tuple[str, ...]  # once for each time that it was counted
    vips: tuple[int, ...] = ()  # packets, octets, then others: of all VIPs together
    taken: tuple[int, ...] = ()  # the same of all backends together
    backend: int = 0  # the one whose packets grew


def wrong(frame: bytes, came: Came, backends: dict[int, Backend]) -> str:
    """Of entry and balancer."""
    forwarded = came.vips[0]
    outcomes = [event for event in came.events if event not in WITH_FORWARDED | BESIDE]
    if len(outcomes) + forwarded != 1 or len(came.events) != len(set(came.events)):
        return f"counted as {came.events}, forwarded {forwarded} times"
    if came.vips[:2] != came.taken[:2] or max(came.vips[2:]) > 1 or max(came.taken[2:]) > 1:
        return f"counters of VIPs {came.vips} and of backends {came.taken}"
    if forwarded:
        if came.backend not in backends:
            return f"forwarded to backend {came.backend}"
        return _not_forwarded(frame, came, backends[came.backend])
    if any(came.vips) or any(came.taken) or WITH_FORWARDED & set(came.events):
        return f"not forwarded, and counters of VIPs {came.vips}, of backends {came.taken}, {came.events}"
    return _not_ended(frame, came, outcomes[0], backends)


def _not_ended(frame: bytes, came: Came, outcome: str, backends: dict[int, Backend]) -> str:
    if outcome in PASSED:
        return "" if (came.verdict, came.out) == (PASS, frame) else f"{outcome} is not passed as it came"
    if outcome in DROPPED:
        return "" if came.verdict == DROP else f"{outcome} is not dropped"
    if came.verdict != TX:
        return f"{outcome} is not sent"
    return _not_echo(frame, came.out) if outcome == "ECHO" else _not_too_big(frame, came.out, backends.values())


def _not_forwarded(frame: bytes, came: Came, to: Backend) -> str:
    l3, kind = link_of(frame)
    if came.verdict != (TX if to.ifindex == LOOPBACK else REDIRECT):
        return f"verdict {came.verdict} of a packet to {to}"
    octets = _octets(frame, l3, kind)
    if came.vips[1] != octets:
        return f"{came.vips[1]} octets counted of {octets}"
    if bool(came.vips[7]) != ("ICMP_FORWARDED" in came.events):
        return f"errors {came.vips[7]} with {came.events}"
    if octets + _overhead(to) > to.mtu:
        return "larger than the MTU"
    link = mac(to.next_hop) + mac(LEAVES) + frame[12 : l3 - 2]
    if to.mode == Mode.MODE_L2:
        return "" if came.out == link + frame[l3 - 2 :] else "new Ethernet addresses, and not only those"
    return _not_aged_and_tunnelled(link, bytearray(frame[l3 : l3 + octets]), came.out, to)


def _not_aged_and_tunnelled(link: bytes, inner: bytearray, out: bytes, to: Backend) -> str:
    ttl = 8 if inner[0] >> 4 == 4 else 7
    if inner[ttl] < 2:
        return "a TTL or hop limit that ends here"
    if ttl == 8:
        inner[10:12] = _aged_checksum(bytes(inner[:20]))
    inner[ttl] -= 1
    return _not_tunnelled(link, bytes(inner), out, to)


def _not_tunnelled(link: bytes, inner: bytes, out: bytes, to: Backend) -> str:
    """Whether `out` is not `inner` in the tunnel of a backend, behind `link` (which ends before the type)."""
    over6 = ":" in to.address
    gue = to.mode == Mode.MODE_GUE
    head = (40 if over6 else 20) + 8 * gue
    at = len(link) + 2
    if out[: len(link)] != link or out[len(link) : at] != (IP6 if over6 else IP4).to_bytes(2, "big"):
        return "Ethernet before the outer header"
    if out[at + head :] != inner:
        return "the inner packet"
    outer = out[at : at + head]
    if over6:
        return _outer6(outer, inner, to, gue=gue)
    return _outer4(outer, inner, to, gue=gue)


def _outer4(outer: bytes, inner: bytes, to: Backend, *, gue: bool) -> str:
    four = inner[0] >> 4 == 4
    ident = inner[4:6] + bytes([inner[6] & 0x40, 0]) if four else b"\0\0\x40\0"
    want = bytes([0x45, _tos(inner)]) + (len(outer) + len(inner)).to_bytes(2, "big") + ident
    want += bytes([64, 17 if gue else (4 if four else 41)])
    source = int.from_bytes(outer[12:16], "big")
    if outer[:10] != want or outer[16:20] != ipaddress.IPv4Address(to.address).packed:
        return "the outer IPv4 header"
    if checksum(outer[:20]):
        return "the checksum of the outer IPv4 header"
    if source != int(ipaddress.IPv4Address(OWN4)) if gue else source & ~SPREAD4 != SOURCE4:
        return "the outer source"
    return _gue(outer[20:], inner) if gue else ""


def _outer6(outer: bytes, inner: bytes, to: Backend, *, gue: bool) -> str:
    first, label = int.from_bytes(outer[:4], "big") >> 20, int.from_bytes(outer[:4], "big") & 0xFFFFF
    protocol = 17 if gue else (4 if inner[0] >> 4 == 4 else 41)
    want = (len(outer) - 40 + len(inner)).to_bytes(2, "big") + bytes([protocol, 64])
    if first != 0x600 | _tos(inner) or outer[4:8] != want or outer[24:40] != ipaddress.IPv6Address(to.address).packed:
        return "the outer IPv6 header"
    if outer[8:24] != ipaddress.IPv6Address(OWN6).packed if gue else outer[8:16] != SOURCE6:
        return "the outer source"
    hashed, again = int.from_bytes(outer[16:20], "big"), int.from_bytes(outer[20:24], "big")
    if gue:
        hashed = again = label & ~0x3FFF | int.from_bytes(outer[40:42], "big") & 0x3FFF
    if hashed != again or hashed & 0xFFFFF != label:
        return "the flow label is of another flow than the outer source"
    return _gue(outer[40:], inner) if gue else ""


def _gue(udp: bytes, inner: bytes) -> str:
    want = GUE_PORT.to_bytes(2, "big") + (8 + len(inner)).to_bytes(2, "big") + b"\0\0"
    return "" if udp[0] >= 0xC0 and udp[2:] == want else "the UDP header of GUE"


def _not_echo(frame: bytes, out: bytes) -> str:
    l3, kind = link_of(frame)
    want = bytearray(frame)
    want[:12] = frame[6:12] + frame[:6]
    octets = _octets(frame, l3, kind)
    icmp = l3 + _headers(frame[l3:])
    if icmp == l3:
        return "an answer to a part of an echo request"
    if kind == IP4:
        want[l3 + 12 : l3 + 20] = frame[l3 + 16 : l3 + 20] + frame[l3 + 12 : l3 + 16]
        want[l3 + 8] = 64
        want[l3 + 10 : l3 + 12] = out[l3 + 10 : l3 + 12]
    else:
        want[l3 + 8 : l3 + 40] = frame[l3 + 24 : l3 + 40] + frame[l3 + 8 : l3 + 24]
        want[l3 + 7] = 64
    want[icmp] = 0 if kind == IP4 else 129
    want[icmp + 2 : icmp + 4] = out[icmp + 2 : icmp + 4]
    if out != bytes(want):
        return "the answer to an echo request"
    if kind == IP4 and _rest(out[l3 : l3 + 20]) != _rest(frame[l3 : l3 + 20]):
        return "the checksum of an echo's IPv4 header"
    if _rest(out[icmp : l3 + octets]) != _rest(frame[icmp : l3 + octets]):
        return "the checksum of an echo"
    return ""


def _not_too_big(frame: bytes, out: bytes, backends: Collection[Backend]) -> str:
    l3, kind = link_of(frame)
    octets = _octets(frame, l3, kind)
    link = frame[6:12] + frame[:6] + frame[12:l3]
    four = kind == IP4
    least, most = (28, 548) if four else (1232, 1232)
    quoted = most if octets >= most else least
    head = 20 if four else 40
    if out[:l3] != link or out[l3 + head + 8 :] != frame[l3 : l3 + quoted]:
        return "what is told of a packet that is too big: Ethernet, or the quote"
    ip, icmp = out[l3 : l3 + head], out[l3 + head :]
    if four:
        want = b"\x45\0" + (28 + quoted).to_bytes(2, "big") + b"\0\0\x40\0\x40\x01"
        right = ip[:10] == want and ip[12:] == frame[l3 + 16 : l3 + 20] + frame[l3 + 12 : l3 + 16] and not checksum(ip)
        right = right and not checksum(icmp) and icmp[:2] == b"\x03\x04"
        right = right and bool(frame[l3 + 6] & 0x40)
    else:
        want = b"\x60\0\0\0" + (8 + quoted).to_bytes(2, "big") + b"\x3a\x40"
        right = ip == want + frame[l3 + 24 : l3 + 40] + frame[l3 + 8 : l3 + 24]
        right = right and not checksum(ip[8:] + len(icmp).to_bytes(4, "big") + b"\0\0\0\x3a" + icmp)
        right = right and icmp[:2] == b"\x02\0"
    mtu = int.from_bytes(icmp[4:8], "big")
    fits = {to.mtu - _overhead(to) for to in backends}
    if not right or mtu not in fits or octets <= mtu:
        return f"what is told of a packet that is too big: MTU {mtu} of {fits}"
    return ""


def wrong_decapsulated(frame: bytes, came: Came) -> str:
    """Of the program at a backend: the same, or without outer headers."""
    if len(came.events) > 1:
        return f"counted as {came.events}"
    event = came.events[0] if came.events else ""
    if came.verdict != (DROP if event == "DECAP_CONGESTED" else PASS):
        return f"verdict {came.verdict}"
    if event in {"DECAP_IP", "DECAP_GUE"}:
        return _not_taken_out(frame, came.out, gue=event == "DECAP_GUE")
    return "" if came.out == frame or event == "DECAP_CONGESTED" else "passed, and not as it came"


def _not_taken_out(frame: bytes, out: bytes, *, gue: bool) -> str:
    """ECN bits, and with them the checksum of IPv4, are all that may differ; those of the outer header are RFC 6040's."""
    l3, kind = link_of(frame)
    head = (20 if kind == IP4 else 40) + 8 * gue
    inner, after = bytearray(frame[l3 + head :]), out[l3:]
    if head + _octets(bytes(inner), 0, IP4 if inner[0] >> 4 == 4 else IP6) > _octets(frame, l3, kind):
        return "an inner packet that is longer than the outer one says"
    four = inner[0] >> 4 == 4
    before, over = _tos(bytes(inner)) & 3, _tos(frame[l3:]) & 3
    ecn = over if before in (1, 2) and over in (1, 3) else before
    if four:
        if _rest(bytes(inner[:20])) != _rest(after[:20]):
            return "the checksum of the inner header"
        inner[10:12] = after[10:12]
        inner[1] = inner[1] & ~3 | ecn
    else:
        inner[1] = inner[1] & ~0x30 | ecn << 4
    if out != frame[: l3 - 2] + (IP4 if four else IP6).to_bytes(2, "big") + bytes(inner):
        return "what was taken out of a tunnel"
    return ""


def wrong_probe(frame: bytes, came: Came, to: Backend | None) -> str:
    """Of the program on the way out; `to`: the backend that the mark names."""
    if to is None:
        return "" if (came.verdict, came.out) == (LEFT, frame) else "a frame without a mark does not leave as it came"
    if to.mode == Mode.MODE_NONE or to.flags & UNREACHABLE:
        return "" if came.verdict == REFUSED else "a backend that cannot be reached was sent a frame"
    kind = int.from_bytes(frame[12:14], "big")
    if came.verdict == REFUSED:
        return "refused" if to.mode == Mode.MODE_L2 or kind in (IP4, IP6) else ""
    if came.verdict != (LEFT if to.ifindex == LOOPBACK else REDIRECTED):
        return f"verdict {came.verdict} of a frame to {to}"
    link = mac(to.next_hop) + mac(LEAVES)
    if to.mode == Mode.MODE_L2:
        return "" if came.out == link + frame[12:] else "new Ethernet addresses, and not only those"
    return _probe_tunnelled(frame, came.out, link, to, kind)


def _probe_tunnelled(frame: bytes, out: bytes, link: bytes, to: Backend, kind: int) -> str:
    """As `_not_tunnelled`, but lengths are those that the inner header tells, and nothing is cut off."""
    head = _overhead(to)
    over6 = ":" in to.address
    if out[:14] != link + (IP6 if over6 else IP4).to_bytes(2, "big"):
        return "Ethernet before the outer header"
    if out[14 + head :] != frame[14:]:
        return "the inner packet"
    told = _octets(frame, 14, kind) + head
    at, want = (18, told - 40) if over6 else (16, told)
    if out[at : at + 2] != (want & 0xFFFF).to_bytes(2, "big"):
        return "the length of the outer header"
    return "" if over6 or not checksum(out[14:34]) else "the checksum of the outer header"


def _overhead(to: Backend) -> int:
    if to.mode == Mode.MODE_L2:
        return 0
    return (40 if ":" in to.address else 20) + 8 * (to.mode == Mode.MODE_GUE)


def _octets(frame: bytes, l3: int, kind: int) -> int:
    if kind == IP4:
        return int.from_bytes(frame[l3 + 2 : l3 + 4], "big")
    return 40 + int.from_bytes(frame[l3 + 4 : l3 + 6], "big")


def _tos(inner: bytes) -> int:
    return inner[1] if inner[0] >> 4 == 4 else (inner[0] & 15) << 4 | inner[1] >> 4


def _headers(packet: bytes) -> int:
    """Where the headers of an IP packet end, extension headers with them; 0: it is a fragment."""
    if packet[0] >> 4 == 4:
        return 0 if int.from_bytes(packet[6:8], "big") & 0x3FFF else 20
    at, following = 40, packet[6]
    while following in EXTENSIONS:
        if following == FRAGMENT and int.from_bytes(packet[at + 2 : at + 4], "big") & 0xFFF9:
            return 0
        octets = 8 if following == FRAGMENT else 8 + 8 * packet[at + 1]
        following = packet[at]
        at += octets
    return at


def _rest(data: bytes) -> int:
    """What a checksum over octets with their own leaves: 0 where it is right, the same where it was wrong before."""
    return checksum(data) % 0xFFFF


def _aged_checksum(header: bytes) -> bytes:
    """RFC 1624 equation 3, for a TTL that lost one."""
    before, after = int.from_bytes(header[8:10], "big"), int.from_bytes(header[8:10], "big") - 0x100
    total = (~int.from_bytes(header[10:12], "big") & 0xFFFF) + (~before & 0xFFFF) + after
    total = (total & 0xFFFF) + (total >> 16)
    return (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
