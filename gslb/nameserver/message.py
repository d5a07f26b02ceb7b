"""Sections -> octets behind a question: the finished part of a reply.  Pure.

Rule 1: a finished reply depends on (lowered name, type, our tables) only, so it is made once and sent to everyone; what
differs from query to query (id, RD, the name's case, the OPT record) is put around it.
Rule 2: compression points backwards only, at names of the question and of RDATA that RFC 1035 defines.
Rule 3: what does not fit is dropped where it is optional; else TC, and no half RRset (RFC 2181 section 9).
"""

from __future__ import annotations

from collections.abc import Sequence

from gslb.model.zone import RRset
from gslb.nameserver.counters import Counter
from gslb.nameserver.lookup import Resolved
from gslb.nameserver.wire import (
    AUTHORITATIVE,
    CLASS_IN,
    COMPRESSIBLE,
    COUNTS,
    HEADER_OCTETS,
    PAIR,
    RECORD,
    RECURSION_DESIRED,
    RESPONSE,
    TRUNCATED,
    Rcode,
    name_end,
)

# A finished reply: the ten octets of flags and counts for each way to ask (WITH_RD + WITH_OPT), the records, what it counts
# as (a `Counter`), and the mark of the pools in it (`gslb.nameserver.given`).  Plain tuples, since the hot path takes them
# apart.
Heads = tuple[bytes, bytes, bytes, bytes]
Finished = tuple[Heads, bytes, int, int]
WITH_RD, WITH_OPT = 1, 2
QUESTION_NAME = b"\xc0\x0c"  # a pointer at the question's name: behind the header
POINTER = 0xC000
POINTER_REACH = 0x4000  # a pointer has 14 bits

_OUTCOMES = {
    Rcode.NXDOMAIN: Counter.NXDOMAIN,
    Rcode.REFUSED: Counter.REFUSED,
    Rcode.SERVFAIL: Counter.SERVFAIL,
    Rcode.FORMERR: Counter.FORMERR,
    Rcode.NOTIMP: Counter.NOTIMP,
    Rcode.BADVERS: Counter.BADVERS,
    Rcode.BADCOOKIE: Counter.BADCOOKIE,
    Rcode.NOTAUTH: Counter.NOTAUTH,
    Rcode.YXDOMAIN: Counter.YXDOMAIN,
}


class Writer:
    """Records behind a question, with their names compressed against all that stand before them."""

    def __init__(self, qname: bytes, before: int = 0) -> None:
        """The question's name, or its end behind `before` octets that are never pointed at."""
        self.body = bytearray()
        self._base = HEADER_OCTETS + before + len(qname) + PAIR.size
        self._places: dict[bytes, int] = {}
        self._remember(qname.lower(), HEADER_OCTETS + before)

    def name(self, name: bytes) -> bytes:
        """`name` as it is to be written at the end of the body: its longest known suffix becomes a pointer."""
        lowered = name.lower()
        at = 0
        while name[at]:
            place = self._places.get(lowered[at:])
            if place is not None:
                return name[:at] + (POINTER | place).to_bytes(2, "big")
            at += name[at] + 1
        return name

    def rrset(self, rrset: RRset) -> int:
        """Append all records of a set; how many."""
        for rdata in rrset.rdatas:
            self._append_name(rrset.owner)
            self.body += RECORD.pack(rrset.rtype, CLASS_IN, rrset.ttl, 0)
            start = len(self.body)
            self._append_rdata(rrset.rtype, rdata)
            self.body[start - 2 : start] = (len(self.body) - start).to_bytes(2, "big")
        return len(rrset.rdatas)

    def _append_name(self, name: bytes) -> None:
        written = self.name(name)
        fresh = len(name) if written == name else len(written) - 2
        self._remember(name.lower(), self._base + len(self.body), fresh)
        self.body += written

    def _append_rdata(self, rtype: int, rdata: bytes) -> None:
        at, names = COMPRESSIBLE.get(rtype, (0, 0))
        self.body += rdata[:at]
        for _ in range(names):
            end = name_end(rdata, at)
            self._append_name(rdata[at:end])
            at = end
        self.body += rdata[at:]

    def _remember(self, lowered: bytes, place: int, octets: int = HEADER_OCTETS + 255) -> None:
        """Later names may point at the suffixes of this one that start within its first `octets`."""
        at = 0
        while at < octets and lowered[at] and place + at < POINTER_REACH:
            self._places.setdefault(lowered[at:], place + at)
            at += lowered[at] + 1


def finish(resolved: Resolved, qname: bytes, room: int, before: int = 0) -> Finished:
    """The whole static reply in at most `room` octets of records; with TC and without records where it cannot be.

    `before` as for `Writer`.
    """
    writer = Writer(qname, before)
    counts = [sum(map(writer.rrset, section)) for section in (resolved.answer, resolved.authority, resolved.glue)]
    if len(writer.body) > room:
        return truncated(authoritative=resolved.authoritative, rcode=resolved.rcode)
    whole = len(writer.body)
    for rrset in resolved.additional:
        added = writer.rrset(rrset)
        if len(writer.body) > room:
            break
        whole = len(writer.body)
        counts[2] += added
    return finished(flags(resolved), counts, bytes(writer.body[:whole]), outcome(resolved))


def finished(flag_bits: int, counts: Sequence[int], body: bytes, counter: Counter, mark: int = 0) -> Finished:
    """Join records with the four heads that they can be sent under.  `counts`: answer, authority, additional."""
    answers, authorities, additionals = counts
    plain, recursive = flag_bits | RESPONSE, flag_bits | RESPONSE | RECURSION_DESIRED
    heads = (
        COUNTS.pack(plain, 1, answers, authorities, additionals),
        COUNTS.pack(recursive, 1, answers, authorities, additionals),
        COUNTS.pack(plain, 1, answers, authorities, additionals + 1),
        COUNTS.pack(recursive, 1, answers, authorities, additionals + 1),
    )
    return heads, body, int(counter), mark


def empty(rcode: Rcode, *, authoritative: bool = False) -> Finished:
    """A reply without records; the part of an RCODE above 15 stands in the OPT record."""
    bits = AUTHORITATIVE if authoritative else 0
    return finished(bits | rcode & 15, (0, 0, 0), b"", _OUTCOMES.get(rcode, Counter.NODATA))


def truncated(*, authoritative: bool, rcode: Rcode = Rcode.NOERROR) -> Finished:
    """TC and nothing else: come back by TCP."""
    return finished(TRUNCATED | (AUTHORITATIVE if authoritative else 0) | rcode, (0, 0, 0), b"", Counter.ANSWERED)


def flags(resolved: Resolved) -> int:
    """AA and RCODE."""
    return (AUTHORITATIVE if resolved.authoritative else 0) | resolved.rcode


def outcome(resolved: Resolved) -> Counter:
    """What a reply of these sections counts as."""
    if resolved.rcode in _OUTCOMES:
        return _OUTCOMES[resolved.rcode]
    if resolved.is_referral:
        return Counter.REFERRAL
    return Counter.ANSWERED if resolved.answer else Counter.NODATA
