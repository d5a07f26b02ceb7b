"""Refusals of zones.  Pure.

Standards: RFC 1034 section 3.6.2 and RFC 2181 section 10.1 (CNAME), RFC 2181 section 5 (RRsets) and 10.3 (NS), RFC 6672
section 2.4 (DNAME), RFC 2308 (SOA minimum), RFC 2181 section 8 (TTL).

Which NS is ours: one whose address, looked up in all zones of this configuration, is an address of `dns.listen` or within
an anycast prefix.  With a wildcard address in `dns.listen` it cannot be known, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from gslb.config.draft import Draft, Finding
from gslb.config.problem import Problem, Severity, Where, one_of
from gslb.config.zonedraft import (
    AAAA,
    ADDRESSES,
    CNAME,
    DNAME,
    DS,
    KEY,
    NS,
    NSEC,
    RRSIG,
    SOA,
    A,
    DynamicDraft,
    StaticRecord,
    ZoneDraft,
    ancestors,
    closest,
    name_text,
    within,
)
from gslb.config.zonefile import rdata_text, type_text
from gslb.model.deployment import Address, PolicyId

MAX_TTL = 2**31 - 1  # RFC 2181 section 8
MAX_RRSET = 60_000  # octets; a message holds 65 535, and other sections want room
BESIDE_CNAME = frozenset((CNAME, KEY, RRSIG, NSEC))  # RFC 4034 section 3, RFC 3007 section 5
AT_CUT = frozenset((NS, DS, NSEC, RRSIG))  # what the parent says at a delegation (RFC 4035 section 2)


def zone_twice(draft: Draft) -> Iterator[Finding]:
    """One zone in two files."""
    seen: dict[bytes, ZoneDraft] = {}
    for zone in draft.zones:
        first = seen.setdefault(zone.apex.lower(), zone)
        if first is not zone:
            yield _at(zone.where, name_text(zone.apex), f"this zone is in {first.where} already")


def record_without_zone(draft: Draft) -> Iterator[Finding]:
    """A name of `records:` that is in none of the zones."""
    apexes = [zone.apex.lower() for zone in draft.zones]
    for record in draft.records:
        if draft.whole and closest(record.owner.lower(), apexes) is None:
            known = one_of([name_text(zone.apex) for zone in draft.zones], name_text(record.owner))
            yield draft.named(record.path, f"is in none of the zones - {known}")


def unknown_policy(draft: Draft) -> Iterator[Finding]:
    """A record of a zone file whose policy nothing has."""
    known = draft.names("policies")
    judged = frozenset(draft.records)  # by unknown_name
    for zone in draft.zones:
        for record in zone.dynamic:
            if record.policy not in known and record not in judged:
                message = f"{record.policy} - no such name in policies - {one_of(known, record.policy)}"
                yield _at(record.where, f"{name_text(record.owner)} policy", message)


def no_soa(draft: Draft) -> Iterator[Finding]:
    """A zone without exactly one SOA at its apex."""
    for zone in draft.zones:
        found = zone.rrsets.get(zone.apex.lower(), {}).get(SOA, [])
        if not found and not zone.broken:
            yield _at(zone.where, name_text(zone.apex), "no SOA record - expected one at the zone's own name")
        for other in [r for r in zone.records if r.rtype == SOA and r not in found[:1]]:
            yield _of(other, "expected one SOA record, at the zone's own name")


def no_ns(draft: Draft) -> Iterator[Finding]:
    """A zone without NS at its apex."""
    for zone in draft.zones:
        if not zone.broken and NS not in zone.rrsets.get(zone.apex.lower(), {}):
            yield _at(zone.where, name_text(zone.apex), "no NS record - expected at least one at the zone's own name")


def outside_of_zone(draft: Draft) -> Iterator[Finding]:
    """Data of another zone."""
    for zone in draft.zones:
        apex = zone.apex.lower()
        for record in zone.records:
            if not within(record.owner.lower(), apex):
                yield _of(record, f"is not in the zone {name_text(zone.apex)}")


def beside_cname(draft: Draft) -> Iterator[Finding]:
    """A CNAME is alone at its name."""
    for zone in draft.zones:
        for owner, types in zone.rrsets.items():
            if CNAME not in types:
                continue
            for other in types[CNAME][1:]:
                if other.rdata != types[CNAME][0].rdata:
                    yield _of(other, "a second CNAME - expected one at a name")
            first = types[CNAME][0]
            others = [type_text(rtype) for rtype in types if rtype not in BESIDE_CNAME]
            others += ["a dynamic record"] if owner in zone.dynamic_by_owner else []
            if others:
                yield _of(first, f"stands beside {', '.join(others)} - expected nothing else at the name")


def static_and_dynamic(draft: Draft) -> Iterator[Finding]:
    """A name and type that both the zone and a policy answer."""
    for zone in draft.zones:
        for owner, dynamic in zone.dynamic_by_owner.items():
            seen: dict[int, DynamicDraft] = {}
            for record in dynamic:
                for rtype in record.types:
                    if rtype in zone.rrsets.get(owner, {}):
                        where = zone.rrsets[owner][rtype][0].where
                        message = f"is static too, at {where} - expected one of them"
                        yield _at(record.where, _subject(owner, rtype), message)
                    first = seen.setdefault(rtype, record)
                    if first is not record:
                        message = f"is dynamic at {first.where} already"
                        yield _at(record.where, _subject(owner, rtype), message)


def beneath_dname(draft: Draft) -> Iterator[Finding]:
    """A DNAME redirects all that is below it, so nothing can be there; and there is one."""
    for zone in draft.zones:
        dnames = {owner: types[DNAME] for owner, types in zone.rrsets.items() if DNAME in types}
        for records in dnames.values():
            for other in records[1:]:
                if other.rdata != records[0].rdata:
                    yield _of(other, "a second DNAME - expected one at a name")
        if not dnames:
            continue
        for owner, where, rtype, _ in _names(zone):
            above = next((name for name in ancestors(owner) if name in dnames), None)
            if above is not None:
                yield _at(where, _subject(owner, rtype), f"is below the DNAME {name_text(above)}, which redirects it")


def beneath_delegation(draft: Draft) -> Iterator[Finding]:
    """Data at or below a delegation is the child's; only addresses for NS belong there."""
    for zone in draft.zones:
        for owner, where, rtype, dynamic in _names(zone) if zone.cuts else ():
            cut = next((name for name in (owner, *ancestors(owner)) if name in zone.cuts), None)
            at_cut = owner == cut and rtype in AT_CUT
            if cut is None or at_cut or (rtype in ADDRESSES and not dynamic):
                continue
            message = f"is never answered: {name_text(cut)} is delegated to other servers"
            severity = Severity.ERROR if dynamic else Severity.WARNING
            yield _at(where, _subject(owner, rtype), message, severity)


def ns_without_address(draft: Draft) -> Iterator[Finding]:
    """An NS inside the zone that nobody could reach."""
    for zone in draft.zones:
        apex = zone.apex.lower()
        for record in zone.records:
            target = record.rdata.lower()
            if record.rtype == NS and within(target, apex) and not zone.broken and not _has_address(zone, target):
                yield _of(record, f"{name_text(target)} - expected an address (A or AAAA) for it in the zone")


def duplicate_record(draft: Draft) -> Iterator[Finding]:
    """The same record twice."""
    for zone in draft.zones:
        for types in zone.rrsets.values():
            for records in types.values():
                seen: dict[bytes, StaticRecord] = {}
                for record in records if len(records) > 1 else ():
                    first = seen.setdefault(record.rdata, record)
                    if first is not record and record.rtype != SOA:
                        yield _of(record, f"the same record is at {first.where}", Severity.WARNING)


def ttls_of_one_rrset(draft: Draft) -> Iterator[Finding]:
    """One RRset, one TTL (RFC 2181 section 5.2); the lowest is served."""
    for zone in draft.zones:
        for types in zone.rrsets.values():
            for rtype, records in types.items():
                other = next((r for r in records if r.ttl != records[0].ttl), None)
                if other is not None and rtype != RRSIG:
                    message = f"TTL {other.ttl} - expected that of the first, {records[0].ttl}; the lowest is served"
                    yield _of(other, message, Severity.WARNING)


def ttl_range(draft: Draft) -> Iterator[Finding]:
    """A TTL has 31 bits."""
    for zone in draft.zones:
        for record in zone.records:
            if record.ttl > MAX_TTL:
                yield _of(record, f"TTL {record.ttl} - expected at most {MAX_TTL}")


def rrset_too_large(draft: Draft) -> Iterator[Finding]:
    """An RRset that fits in no message."""
    for zone in draft.zones:
        for types in zone.rrsets.values():
            for records in types.values():
                octets = sum(12 + len(record.rdata) for record in records)  # pointer, type, class, TTL, length
                if octets > MAX_RRSET:
                    message = f"{len(records)} records are {octets} octets - expected at most {MAX_RRSET}"
                    yield _of(records[0], message)


def slow_negative(draft: Draft) -> Iterator[Finding]:
    """A negative answer that outlives the positive ones of a dynamic name (RFC 2308 section 4)."""
    for zone in draft.zones:
        soa = next((r for r in zone.records if r.rtype == SOA), None)
        least = draft.least_ttl(zone)
        if soa is None or least is None:
            continue
        minimum = int.from_bytes(soa.rdata[-4:], "big")
        if min(minimum, soa.ttl) > least:
            message = f"minimum {minimum} - expected at most the least dynamic TTL ({least})"
            yield _of(soa, message, Severity.WARNING)


def capped_ttl(draft: Draft) -> Iterator[Finding]:
    """A TTL that the policy's own bounds."""
    for zone in draft.zones:
        for record in zone.dynamic:
            policy = draft.deployment.policies.get(PolicyId(record.policy))
            if policy is not None and record.ttl is not None and record.ttl > policy.ttl_max:
                bound = f"is bounded by ttl.max of policy {policy.name} ({policy.ttl_max})"
                subject, message = name_text(record.owner), f"ttl {record.ttl} - {bound}"
                yield Finding(Problem(record.where, subject, message, Severity.WARNING, alike=f"ttl {bound}"))


def foreign_ns(draft: Draft) -> Iterator[Finding]:
    """An NS of a zone with dynamic records that is none of our nodes would not read client subnets."""
    listening = {socket.address for socket in draft.deployment.dns.listen}
    if any(address.is_unspecified for address in listening) or not draft.whole:
        return
    for zone in draft.zones:
        apex = zone.apex.lower()
        for record in zone.rrsets.get(apex, {}).get(NS, ()) if zone.dynamic else ():
            target = record.rdata.lower()
            addresses = _addresses(draft, target)
            if not addresses and within(target, apex):
                continue  # none at all, or dynamic ones
            if not any(_ours(draft, listening, address) for address in addresses):
                known = ", ".join(map(str, addresses)) or "its address is in none of the zones"
                message = (
                    f"{name_text(record.rdata)} ({known}) is none of our nodes: it would not read client subnets, "
                    "expected an address of dns.listen or anycast"
                )
                yield _of(record, message, Severity.WARNING)


RULES = (
    zone_twice,
    record_without_zone,
    unknown_policy,
    no_soa,
    no_ns,
    outside_of_zone,
    beside_cname,
    static_and_dynamic,
    beneath_dname,
    beneath_delegation,
    ns_without_address,
    duplicate_record,
    ttls_of_one_rrset,
    ttl_range,
    rrset_too_large,
    slow_negative,
    capped_ttl,
    foreign_ns,
)


def _at(where: Where, subject: str, message: str, severity: Severity = Severity.ERROR) -> Finding:
    return Finding(Problem(where, subject, message, severity))


def _of(record: StaticRecord, message: str, severity: Severity = Severity.ERROR) -> Finding:
    return _at(record.where, _subject(record.owner, record.rtype), message, severity)


def _subject(owner: bytes, rtype: int) -> str:
    return f"{name_text(owner)} {type_text(rtype)}"


def _names(zone: ZoneDraft) -> Iterator[tuple[bytes, Where, int, bool]]:
    """(owner in lower case, place, type, whether it is dynamic) of every RRset and dynamic type."""
    for owner, types in zone.rrsets.items():
        for rtype, records in types.items():
            yield owner, records[0].where, rtype, False
    for record in zone.dynamic:
        for rtype in record.types:
            yield record.owner.lower(), record.where, rtype, True


def _has_address(zone: ZoneDraft, name: bytes) -> bool:
    """Whether the zone gives the name an address, by a wildcard too (RFC 4592), static or dynamic."""
    for candidate in (name, *(b"\1*" + parent for parent in ancestors(name))):
        if candidate in zone.dynamic_by_owner or ADDRESSES & zone.rrsets.get(candidate, {}).keys():
            return True
    return False


def _addresses(draft: Draft, name: bytes) -> list[Address]:
    """The static addresses of a name in any zone."""
    found: list[Address] = []
    for zone in draft.zones:
        types = zone.rrsets.get(name, {})
        for rtype in (A, AAAA):
            found += [ip_address(rdata_text(rtype, record.rdata)) for record in types.get(rtype, ())]
    return found


def _ours(draft: Draft, listening: set[Address], address: Address) -> bool:
    return address in listening or any(
        address in prefix for anycast in draft.deployment.anycast for prefix in anycast.prefixes
    )
