"""One query to a program, as a frame that nobody sent, and what is wrong with what it makes of it.  Pure.

Standards: RFC 768 (a checksum of 0 is none), RFC 791, RFC 8200 section 8.1 (IPv6 needs one), RFC 1035 section 4.1.1.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

from xdp.libbpf import XDP_DROP, XDP_TX

PORT = 53053  # that it is asked from
TO = bytes.fromhex("020000000001")
_CLIENT = bytes.fromhex("020000000002")
# Addresses that no server can have, as those of documentation can: RFC 7600's source of what has none, RFC 6666's discard.
NOBODY = {4: ip_address("192.0.0.8"), 6: ip_address("100::53")}
_UDP, _HOPS = 17, 64
_RESPONSE, _RCODE = 0x8000, 0x000F


def frame(query: bytes, address: str, port: int, ethernet: bytes = TO) -> bytes:
    """A frame with `query` for an address, from nobody; `ethernet`: the interface's."""
    link = ethernet + _CLIENT
    to = ip_address(address)
    source = NOBODY[to.version].packed
    octets = 8 + len(query)
    udp = struct.pack("!4H", PORT, port, octets, 0) + query
    if to.version == 4:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + octets, 0, 0, _HOPS, _UDP, 0, source, to.packed)
        header = header[:10] + struct.pack("!H", _checksum(header)) + header[12:]
        return link + b"\x08\x00" + header + udp
    pseudo = source + to.packed + struct.pack("!II", octets, _UDP)
    udp = udp[:6] + struct.pack("!H", _checksum(pseudo + udp) or 0xFFFF) + udp[8:]
    header = struct.pack("!IHBB16s16s", 6 << 28, octets, _UDP, _HOPS, source, to.packed)
    return link + b"\x86\xdd" + header + udp


def wrong(query: bytes, verdict: int, out: bytes) -> str:
    """What is wrong with the answer; empty where it is one.

    A program that drops our query had an answer and limits responses to where we ask from: else anyone could have us called
    dead who sends in that name.
    """
    if verdict == XDP_DROP:
        return ""
    if verdict != XDP_TX:
        return f"the program passes on what it should answer (verdict {verdict}, expected {XDP_TX})"
    message = out[14 + (20 if out[12:14] == b"\x08\x00" else 40) + 8 :]
    if len(message) < 12 or message[:2] != query[:2]:
        return "the program answers with no message of DNS"
    (flags,) = struct.unpack_from("!H", message, 2)
    if not flags & _RESPONSE or flags & _RCODE:
        return f"the program answers with flags {flags:#06x}, expected a response without error"
    return ""


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
