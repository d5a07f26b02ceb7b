"""Names, types and headers on the wire.  Pure.

A name here is its uncompressed wire form (RFC 1035 section 3.1): any octet may stand in a label (RFC 2181 section 11).
Keys that compare names are lowered whole: length octets are at most 63, below "A".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum
from struct import Struct

HEADER_OCTETS = 12
NAME_OCTETS = 255  # RFC 1035 section 3.1, the root octet included
LABEL_OCTETS = 63
HEADER = Struct(">2s5H")  # id, flags, and four counts
COUNTS = Struct(">5H")  # flags and four counts
PAIR = Struct(">HH")  # type and class
RECORD = Struct(">HHIH")  # type, class, TTL, RDLENGTH: what stands behind an owner
CLASS_IN = 1
CLASS_CH = 3
ROOT = b"\0"

RESPONSE = 0x8000  # QR
AUTHORITATIVE = 0x0400  # AA
TRUNCATED = 0x0200  # TC
RECURSION_DESIRED = 0x0100  # RD
OPCODE = 0x7800
OPCODE_SHIFT = 11


class Malformed(ValueError):
    """The octets are no DNS message as the RFCs define it; the sender is told FORMERR."""


class Rcode(IntEnum):
    """Response codes that this server gives (RFC 1035 section 4.1.1, RFC 2136, RFC 6672, RFC 6891, RFC 7873)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    YXDOMAIN = 6
    NOTAUTH = 9
    BADVERS = 16
    BADCOOKIE = 23


class Rtype(IntEnum):
    """Record types that mean something to this server; all others are opaque (RFC 3597)."""

    A = 1
    NS = 2
    MD = 3
    MF = 4
    CNAME = 5
    SOA = 6
    MB = 7
    MG = 8
    MR = 9
    PTR = 12
    HINFO = 13
    MINFO = 14
    MX = 15
    TXT = 16
    AAAA = 28
    SRV = 33
    DNAME = 39
    OPT = 41
    DS = 43
    SVCB = 64
    HTTPS = 65
    TSIG = 250
    IXFR = 251
    AXFR = 252
    ANY = 255


def name_end(message: bytes, start: int) -> int:
    """The offset behind the root octet of the name at `start`.

    Raises Malformed for a compression pointer (there is nothing before a question to point to), an unknown label
    type, a name of more than 255 octets, and a name that does not end within the message.
    """
    at = start
    while at < len(message):
        length = message[at]
        if length == 0:
            return at + 1
        if length > LABEL_OCTETS:
            raise Malformed(f"label type {length:#04x} at octet {at}")
        at += length + 1
        if at - start >= NAME_OCTETS:
            raise Malformed(f"the name at octet {start} is longer than {NAME_OCTETS} octets")
    raise Malformed(f"the name at octet {start} does not end")


# RDATA that begins with some octets and then names, and may be compressed since RFC 1035 defines it: (octets, names).
# No other type's RDATA is ever compressed (RFC 3597 section 4).
COMPRESSIBLE: Mapping[int, tuple[int, int]] = {
    Rtype.NS: (0, 1),
    Rtype.MD: (0, 1),
    Rtype.MF: (0, 1),
    Rtype.CNAME: (0, 1),
    Rtype.SOA: (0, 2),
    Rtype.MB: (0, 1),
    Rtype.MG: (0, 1),
    Rtype.MR: (0, 1),
    Rtype.PTR: (0, 1),
    Rtype.MINFO: (0, 2),
    Rtype.MX: (2, 1),
}


def suffixes(name: bytes) -> Iterator[bytes]:
    """The name itself, its parent, and so on to the root."""
    at = 0
    while name[at]:
        yield name[at:]
        at += name[at] + 1
    yield ROOT


def is_within(name: bytes, ancestor: bytes) -> bool:
    """Whether the lowered `name` is `ancestor` or below it; by labels, not by octets."""
    return name.endswith(ancestor) and ancestor in suffixes(name)
