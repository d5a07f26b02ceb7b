"""The slow and obvious twin of lookup and message: what a reply must hold, by plain loops over dnspython names.

Written from the RFCs and not from the code: RFC 1034 section 4.3.2, RFC 4592, RFC 6672, RFC 8482, RFC 8020, RFC 2308.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import dns.name
from dns.name import Name

A, NS, CNAME, SOA, MX, AAAA, DNAME, DS, HINFO, ANY = 1, 2, 5, 6, 15, 28, 39, 43, 13, 255
CHAIN = 16  # names in one answer, as far as we follow: a DNAME into its own subtree never ends
Records = tuple[int, tuple[str, ...]]  # TTL, and data as text
OracleZone = Mapping[Name, Mapping[int, Records]]  # owner -> type -> records
Line = tuple[Name, int, int, str]  # owner, type, TTL, data


@dataclass
class Expected:
    """A reply: sets of lines for each section, RCODE as text, AA."""

    rcode: str = "NOERROR"
    aa: bool = True
    answer: set[Line] = field(default_factory=set)
    authority: set[Line] = field(default_factory=set)
    glue: set[Line] = field(default_factory=set)


def expect(zones: Mapping[Name, OracleZone], qname: Name, rtype: int) -> Expected:
    """What the zones say of (qname, rtype)."""
    expected = Expected()
    seen = {qname}
    while True:
        apex = zone_of(zones, qname, rtype)
        if apex is None:
            if not expected.answer:
                return Expected(rcode="REFUSED", aa=False)
            return expected
        target = one_walk(zones[apex], apex, qname, rtype, expected)
        if target is None or target in seen or len(seen) == CHAIN:
            return expected
        seen.add(target)
        qname = target


def zone_of(zones: Mapping[Name, OracleZone], qname: Name, rtype: int) -> Name | None:
    """The zone with the longest apex; for DS at an apex the parent, where that delegates to it."""
    above = sorted((apex for apex in zones if qname.is_subdomain(apex)), key=len, reverse=True)
    if rtype == DS and len(above) > 1 and above[0] == qname and NS in zones[above[1]].get(qname, {}):
        return above[1]
    return above[0] if above else None


def one_walk(zone: OracleZone, apex: Name, qname: Name, rtype: int, expected: Expected) -> Name | None:
    """Add one zone's part to `expected`; the name where the chain goes on."""
    for length in range(len(apex), len(qname) + 1):
        ancestor = Name(qname.labels[-length:])
        here = zone.get(ancestor, {})
        if ancestor != apex and NS in here and not (ancestor == qname and rtype == DS):
            expected.aa = bool(expected.answer)
            expected.authority |= lines(ancestor, NS, here[NS])
            for target in here[NS][1]:
                inside = dns.name.from_text(target)
                if inside.is_subdomain(ancestor):
                    expected.glue |= addresses(zone, inside)
            return None
        if ancestor != qname and DNAME in here:
            return redirected(qname, ancestor, here[DNAME], rtype, expected)
    return at_name(zone, apex, qname, rtype, expected)


def redirected(qname: Name, owner: Name, dname: Records, rtype: int, expected: Expected) -> Name | None:
    """RFC 6672 section 2.2: replace the suffix."""
    ttl, (target,) = dname
    expected.answer |= lines(owner, DNAME, dname)
    try:
        new = qname.relativize(owner).concatenate(dns.name.from_text(target))
    except dns.name.NameTooLong:
        expected.rcode = "YXDOMAIN"
        return None
    expected.answer |= lines(qname, CNAME, (ttl, (new.to_text(),)))
    return None if rtype in (CNAME, ANY) else new


def at_name(zone: OracleZone, apex: Name, qname: Name, rtype: int, expected: Expected) -> Name | None:
    """Exact name, or wildcard at the closest encloser, or nothing."""
    source = qname
    if not exists(zone, qname):
        encloser = qname.parent()
        while not exists(zone, encloser):
            encloser = encloser.parent()
        source = Name((b"*", *encloser.labels))
        if not exists(zone, source):
            expected.rcode = "NXDOMAIN"
            expected.authority |= negative(zone, apex)
            return None
    here = zone.get(source, {})
    if rtype == ANY and here and CNAME not in here:
        expected.answer |= lines(qname, HINFO, (3600, ('"RFC8482" ""',)))
    elif rtype in here or (rtype == ANY and CNAME in here):
        found = CNAME if rtype == ANY else rtype
        expected.answer |= lines(qname, found, here[found])
    elif CNAME in here:
        expected.answer |= lines(qname, CNAME, here[CNAME])
        return dns.name.from_text(here[CNAME][1][0])
    else:
        expected.authority |= negative(zone, apex)
    return None


def exists(zone: OracleZone, name: Name) -> bool:
    """A name exists if it, or any name below it, has records (RFC 4592 section 2.2.2)."""
    return any(owner.is_subdomain(name) for owner in zone)


def negative(zone: OracleZone, apex: Name) -> set[Line]:
    """The SOA with the lesser of its TTL and MINIMUM (RFC 2308 section 3)."""
    ttl, (data,) = zone[apex][SOA]
    return lines(apex, SOA, (min(ttl, int(data.split()[-1])), (data,)))


def addresses(zone: OracleZone, name: Name) -> set[Line]:
    """A and AAAA of a name."""
    here = zone.get(name, {})
    return {line for rtype in (A, AAAA) if rtype in here for line in lines(name, rtype, here[rtype])}


def lines(owner: Name, rtype: int, records: Records) -> set[Line]:
    """Records as comparable lines."""
    ttl, data = records
    return {(owner, rtype, ttl, text.lower()) for text in data}
