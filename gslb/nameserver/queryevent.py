"""What is told of one query: struct dns_event of xdp/c/layout.h, made from a query and its reply, and read.  Pure.

Rule 1: of a client only its network is told: 24 bits of an IPv4 address, 56 of an IPv6 address; of a client subnet no more than that.
Rule 2: what the programs tell of their queries (xdp/c/dns_event.h) and what is told here of the reference's are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct, error

from gslb.layout import DNS_EVENT_NAME, DnsEventFlags
from gslb.nameserver.edns import (
    CODE_COOKIE,
    CODE_SUBNET,
    FAMILY_V4,
    OPT,
    OPTION,
    SUBNET,
    Edns,
    Subnet,
    read_opt,
    read_options,
)
from gslb.nameserver.wire import COUNTS, HEADER_OCTETS, PAIR, RECORD, TRUNCATED, Malformed, Rtype, name_end

RECORD_OCTETS = 120
V4_BITS, V6_BITS = 24, 56
_EVENT = Struct("=Q8s8s16sHHHBBB7x64s")
_RCODE = 0x0F
_POINTER = 0xC0
_ADDRESSES: dict[int, int] = {Rtype.A: 4, Rtype.AAAA: 16}  # octets


@dataclass(frozen=True, slots=True)
class QueryEvent:
    """One query.  `name` is on the wire, lowered, of which `cut` says that labels are missing; networks are texts."""

    at: float  # seconds since the epoch
    client: str
    subnet: str | None
    scope: int | None
    name: bytes
    cut: bool
    rtype: int
    rcode: int
    address: str | None  # of the first record of the answer
    flags: int  # DnsEventFlags


def pack(query: bytes, reply: bytes | None, client: str, at_ns: int, *, valid: bool) -> bytes | None:
    """A query that the reference answered, or did not (None), as a record; `valid`: with a good cookie.

    None for what is no question.
    """
    try:
        return _pack(query, reply, client, at_ns, valid=valid)
    except (Malformed, error, IndexError, ValueError):
        return None


def read(record: bytes) -> QueryEvent:
    """A record of RECORD_OCTETS."""
    at_ns, client, subnet, address, rtype, rcode, flags, octets, bits, scope, name = _EVENT.unpack(record)
    has_subnet = bool(flags & DnsEventFlags.DNS_EVENT_SUBNET)
    is_v6 = bool(flags & DnsEventFlags.DNS_EVENT_CLIENT6)
    known = flags & DnsEventFlags.DNS_EVENT_ADDRESS
    return QueryEvent(
        at=at_ns / 1e9,
        client=_network(client, V6_BITS if is_v6 else V4_BITS, is_v6=is_v6),
        subnet=_network(subnet, bits, is_v6=bool(flags & DnsEventFlags.DNS_EVENT_SUBNET6)) if has_subnet else None,
        scope=scope if has_subnet else None,
        name=name[:octets],
        cut=octets > DNS_EVENT_NAME,
        rtype=rtype,
        rcode=rcode,
        address=str(ip_address(address[: _ADDRESSES[rtype]])) if known and rtype in _ADDRESSES else None,
        flags=flags,
    )


def _pack(query: bytes, reply: bytes | None, client: str, at_ns: int, *, valid: bool) -> bytes | None:
    end = name_end(query, HEADER_OCTETS)
    rtype, _ = PAIR.unpack_from(query, end)
    name = query[HEADER_OCTETS:end].lower()
    flags = 0
    base, is_v6 = _base(client)
    if is_v6:
        flags |= DnsEventFlags.DNS_EVENT_CLIENT6
    edns = _edns(query[end + PAIR.size :])
    bits, subnet, scope, rcode, address = 0, b"", 0, 0, b""
    cookie = edns is not None and bool(edns.cookie)
    if edns is not None:
        flags |= DnsEventFlags.DNS_EVENT_DO if edns.do else 0
        if edns.subnet is not None:
            bits, subnet = _cut(edns.subnet)
            of_v4 = edns.subnet.family == FAMILY_V4
            flags |= DnsEventFlags.DNS_EVENT_SUBNET | (0 if of_v4 else DnsEventFlags.DNS_EVENT_SUBNET6)
    if reply is None:
        flags |= DnsEventFlags.DNS_EVENT_DROPPED
    else:
        rcode, scope, cookie, address = _told(reply, end + PAIR.size, rtype)
        flags |= DnsEventFlags.DNS_EVENT_TRUNCATED if int.from_bytes(reply[2:4], "big") & TRUNCATED else 0
        flags |= DnsEventFlags.DNS_EVENT_ADDRESS if address else 0
    flags |= DnsEventFlags.DNS_EVENT_COOKIE if cookie else 0
    flags |= DnsEventFlags.DNS_EVENT_COOKIE_VALID if cookie and valid else 0
    return _EVENT.pack(at_ns, base, subnet, address, rtype, rcode, flags, len(name), bits, scope, name[:DNS_EVENT_NAME])


def _base(client: str) -> tuple[bytes, bool]:
    """The octets of a client's network that are told, and whether it is of IPv6."""
    address = ip_address(client.partition("%")[0])
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return (address.packed[: V6_BITS // 8], True) if address.version == 6 else (address.packed[: V4_BITS // 8], False)


def _cut(subnet: Subnet) -> tuple[int, bytes]:
    most = V4_BITS if subnet.family == FAMILY_V4 else V6_BITS
    return min(subnet.source, most), subnet.address[: most // 8]


def _edns(octets: bytes) -> Edns | None:
    """The OPT record, where it stands alone behind the question."""
    try:
        return read_options(read_opt(octets), octets)
    except Malformed:
        return None


def _told(reply: bytes, at: int, rtype: int) -> tuple[int, int, bool, bytes]:
    """RCODE, scope of the client subnet, whether there is a cookie, and the address of the first record, where it is of the type asked for."""
    flags, _, answers, authorities, additionals = COUNTS.unpack_from(reply, 2)
    rcode, scope, cookie, address = flags & _RCODE, 0, False, b""
    for number in range(answers + authorities + additionals):
        owner, at = at, _behind_name(reply, at)
        kind, _, ttl, length = RECORD.unpack_from(reply, at)
        at += RECORD.size
        data = reply[at : at + length]
        if kind == Rtype.OPT:
            rcode |= ttl >> 24 << 4
            scope, cookie = _options(reply[owner : at + length])
        elif number == 0 and answers and kind == rtype and length == _ADDRESSES.get(kind):
            address = data
        at += length
    return rcode, scope, cookie, address


def _options(octets: bytes) -> tuple[int, bool]:
    """Of an OPT record: the scope of its client subnet, and whether it has a cookie."""
    at, scope, cookie = OPT.size, 0, False
    while at < len(octets):
        code, length = OPTION.unpack_from(octets, at)
        at += OPTION.size
        if code == CODE_SUBNET:
            scope = int(SUBNET.unpack_from(octets, at)[2])
        cookie = cookie or code == CODE_COOKIE
        at += length
    return scope, cookie


def _behind_name(message: bytes, at: int) -> int:
    while message[at]:
        if message[at] >= _POINTER:
            return at + 2
        at += message[at] + 1
    return at + 1


def _network(octets: bytes, bits: int, *, is_v6: bool) -> str:
    base = ip_address(octets.ljust(16, b"\0") if is_v6 else octets[:4])
    return f"{base}/{bits}"
