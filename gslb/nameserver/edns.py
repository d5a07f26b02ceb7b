"""EDNS: the OPT record of a query, and that of a reply.  Pure.

Rule 1: options that are not known are ignored and never echoed; what was not asked is not told.
Rule 2: a client subnet is echoed as it came, with the scope of the answer.
Rule 3: the options of a reply stand in this order: NSID, keepalive, cookie, client subnet; what depends on the answer is last.
Standards: RFC 6891 (EDNS), RFC 7871 (client subnet), RFC 5001 (NSID), RFC 7828 (edns-tcp-keepalive), RFC 7873 (cookies),
RFC 3225 (DO).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from gslb.nameserver.wire import Malformed, Rtype

UDP_SAFE = 1232  # octets: IPv6 minimum MTU 1280 - 40 - 8; our own limit and what we advertise
UDP_PLAIN = 512  # octets: without EDNS, and the least that a payload size can mean (RFC 6891 section 6.2.3)
OPT = Struct(">BHHBBHH")  # owner (root), type, payload size, extended RCODE, version, flags, RDLENGTH
OPTION = Struct(">HH")
SUBNET = Struct(">HBB")  # family, source prefix length, scope prefix length
SUBNET_OCTETS = OPT.size + OPTION.size + SUBNET.size  # an OPT with a client subnet, up to its address
DO = 0x8000

CODE_NSID = 3
CODE_SUBNET = 8
CODE_COOKIE = 10
CODE_KEEPALIVE = 11
FAMILY_NONE, FAMILY_V4, FAMILY_V6 = 0, 1, 2
FAMILY_BITS = {FAMILY_NONE: 0, FAMILY_V4: 32, FAMILY_V6: 128}
KEEPALIVE_UNIT_S = 0.1
COOKIE_LENGTHS = frozenset((8, *range(16, 41)))  # octets: the client's, and with the server's (RFC 7873 section 4)


@dataclass(frozen=True, slots=True)
class Subnet:
    """A client subnet option: `address` holds ceil(source / 8) octets, as sent."""

    family: int
    source: int
    address: bytes

    @property
    def packed(self) -> bytes | None:
        """The network's address of 4 or 16 octets; None where the client wants to be unknown (source 0)."""
        return self.address.ljust(FAMILY_BITS[self.family] // 8, b"\0") if self.source else None


@dataclass(frozen=True, slots=True)
class Edns:
    """The OPT record of a query."""

    payload: int
    version: int
    do: bool
    options: int = 0  # how many, known or not
    subnet: Subnet | None = None
    nsid: bool = False
    keepalive: bool = False
    cookie: bytes = b""  # the data of the first COOKIE option

    @property
    def room(self) -> int:
        """The octets that a UDP reply may have."""
        return min(max(self.payload, UDP_PLAIN), UDP_SAFE)


def read_opt(octets: bytes) -> Edns:
    """Read a whole OPT record, from its owner on, without its options.  Raises Malformed."""
    if len(octets) < OPT.size:
        raise Malformed("the OPT record is cut")
    owner, rtype, payload, _, version, flags, length = OPT.unpack_from(octets)
    if owner != 0 or rtype != Rtype.OPT:
        raise Malformed("not an OPT record of the root")
    if len(octets) != OPT.size + length:
        raise Malformed(f"the OPT record says {length} octets of options and has {len(octets) - OPT.size}")
    return Edns(payload, version, bool(flags & DO))


def read_options(edns: Edns, octets: bytes) -> Edns:
    """Add the options of the OPT record that `read_opt` read from the same octets.  Raises Malformed."""
    if len(octets) == OPT.size:
        return edns
    subnet: Subnet | None = None
    codes: list[int] = []
    cookie = b""
    at = OPT.size
    while at < len(octets):
        if at + OPTION.size > len(octets):
            raise Malformed("an EDNS option is cut")
        code, length = OPTION.unpack_from(octets, at)
        at += OPTION.size
        if at + length > len(octets):
            raise Malformed(f"EDNS option {code} reaches past the OPT record")
        if code == CODE_SUBNET:
            if subnet is not None:
                raise Malformed("two client subnets")
            subnet = read_subnet(octets[at : at + length])
        if code == CODE_COOKIE and not cookie:  # further ones are ignored
            if length not in COOKIE_LENGTHS:
                raise Malformed(f"a cookie of {length} octets")
            cookie = octets[at : at + length]
        codes.append(code)
        at += length
    nsid, keepalive = CODE_NSID in codes, CODE_KEEPALIVE in codes
    return Edns(edns.payload, edns.version, edns.do, len(codes), subnet, nsid, keepalive, cookie)


def read_subnet(data: bytes) -> Subnet:
    """Read the data of a client subnet option (RFC 7871 section 6).  Raises Malformed for all that it forbids."""
    if len(data) < SUBNET.size:
        raise Malformed(f"a client subnet of {len(data)} octets")
    family, source, scope = SUBNET.unpack_from(data)
    address = data[SUBNET.size :]
    if family not in FAMILY_BITS:
        raise Malformed(f"client subnet family {family}")
    if source > FAMILY_BITS[family]:
        raise Malformed(f"client subnet /{source} in family {family}")
    if scope:
        raise Malformed(f"a query with client subnet scope {scope}")
    if len(address) != (source + 7) // 8:
        raise Malformed(f"client subnet /{source} with {len(address)} octets of address")
    if source % 8 and address[-1] & (0xFF >> source % 8):
        raise Malformed(f"client subnet /{source} with bits set beyond it")
    return Subnet(family, source, address)


def without_cookie(octets: bytes) -> tuple[bytes, bytes] | None:
    """A whole OPT record without its COOKIE option, and that option's data.

    None unless the cookie is of a good length and stands alone or beside one option, before or behind it.
    """
    if len(octets) < OPT.size + OPTION.size:
        return None
    end = len(octets)
    at = OPT.size
    code, length = OPTION.unpack_from(octets, at)
    if code != CODE_COOKIE:
        at += OPTION.size + length
        if at + OPTION.size > end:
            return None
        code, length = OPTION.unpack_from(octets, at)
        if at + OPTION.size + length != end:
            return None
    after = at + OPTION.size + length
    if code != CODE_COOKIE or length not in COOKIE_LENGTHS or after > end:
        return None
    told = int.from_bytes(octets[OPT.size - 2 : OPT.size], "big")
    if told != end - OPT.size:
        return None
    rest = (told - OPTION.size - length).to_bytes(2, "big")
    return octets[: OPT.size - 2] + rest + octets[OPT.size : at] + octets[after:], octets[at + OPTION.size : after]


def without_nsid(record: bytes) -> bytes:
    """The OPT record of a reply (rule 3: NSID comes first), or nothing, without NSID."""
    if record[OPT.size : OPT.size + 2] != CODE_NSID.to_bytes(2, "big"):
        return record
    rest = record[OPT.size + OPTION.size + int.from_bytes(record[OPT.size + 2 : OPT.size + OPTION.size], "big") :]
    return record[: OPT.size - 2] + len(rest).to_bytes(2, "big") + rest


def opt(
    edns: Edns,
    *,
    scope: int = 0,
    nsid: bytes | None = None,
    keepalive_s: float | None = None,
    cookie: bytes = b"",
    extended_rcode: int = 0,
) -> bytes:
    """The OPT record that answers `edns`.

    `scope` is told where a subnet was; `nsid` and `keepalive_s` (the idle timeout of this connection) where asked; `cookie` is
    the data of a COOKIE option, or nothing.
    """
    options = b""
    if edns.nsid and nsid is not None:
        options += OPTION.pack(CODE_NSID, len(nsid)) + nsid
    if edns.keepalive and keepalive_s is not None:
        options += OPTION.pack(CODE_KEEPALIVE, 2) + min(int(keepalive_s / KEEPALIVE_UNIT_S), 0xFFFF).to_bytes(2, "big")
    if cookie:
        options += OPTION.pack(CODE_COOKIE, len(cookie)) + cookie
    if edns.subnet is not None:
        subnet = edns.subnet
        options += OPTION.pack(CODE_SUBNET, SUBNET.size + len(subnet.address))
        options += SUBNET.pack(subnet.family, subnet.source, scope) + subnet.address
    flags = DO if edns.do else 0  # as asked (RFC 3225 section 3); all others clear
    return OPT.pack(0, Rtype.OPT, UDP_SAFE, extended_rcode, 0, flags, len(options)) + options
