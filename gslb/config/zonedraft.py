"""A zone as it was read: records that know their place.  Pure.

Zone files, whatever their syntax, become a `ZoneDraft`; `gslb.config.zonerules` checks it; `zone_of` makes the model's Zone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from gslb.config.problem import KeyPath, Where
from gslb.model.deployment import PolicyId
from gslb.model.zone import DynamicRecord, RRset, Zone

A, NS, CNAME, SOA, KEY, AAAA, DNAME, DS, RRSIG, NSEC = 1, 2, 5, 6, 25, 28, 39, 43, 46, 47
ADDRESSES = frozenset((A, AAAA))
MAX_RECORDS = 5_000_000  # of one zone


@dataclass(frozen=True, slots=True)
class StaticRecord:
    """One record: owner and data in uncompressed wire form."""

    owner: bytes
    rtype: int
    ttl: int
    rdata: bytes
    where: Where


@dataclass(frozen=True, slots=True)
class DynamicDraft:
    """A dynamic record as written; without `ttl` it has the policy's."""

    owner: bytes
    types: tuple[int, ...]
    policy: str
    ttl: int | None
    where: Where
    path: KeyPath


@dataclass(eq=False)
class ZoneDraft:
    """One zone.  `broken`: some of it could not be read, so nothing follows from what is absent.

    `given_soa`: where in `records` the SOA stands that the zone was given, since none is written.
    """

    apex: bytes
    where: Where
    records: list[StaticRecord]
    dynamic: list[DynamicDraft] = field(default_factory=list)
    broken: bool = False
    given_soa: int | None = None

    @cached_property
    def rrsets(self) -> dict[bytes, dict[int, list[StaticRecord]]]:
        """The static records by owner in lower case, then by type."""
        found: dict[bytes, dict[int, list[StaticRecord]]] = defaultdict(lambda: defaultdict(list))
        for record in self.records:
            found[record.owner.lower()][record.rtype].append(record)
        return found

    @cached_property
    def dynamic_by_owner(self) -> dict[bytes, list[DynamicDraft]]:
        """The dynamic records by owner in lower case."""
        found: dict[bytes, list[DynamicDraft]] = defaultdict(list)
        for record in self.dynamic:
            found[record.owner.lower()].append(record)
        return found

    @cached_property
    def cuts(self) -> frozenset[bytes]:
        """The owners of delegations: NS below the apex."""
        apex = self.apex.lower()
        return frozenset(owner for owner, types in self.rrsets.items() if NS in types and owner != apex)


def zone_of(draft: ZoneDraft, ttl_of: dict[str, int]) -> Zone:
    """The model's zone of a draft without errors.  `ttl_of` is the greatest TTL of each policy, in seconds."""
    rrsets = tuple(
        RRset(records[0].owner, rtype, min(r.ttl for r in records), tuple(dict.fromkeys(r.rdata for r in records)))
        for types in draft.rrsets.values()
        for rtype, records in types.items()
    )
    dynamic = tuple(
        DynamicRecord(r.owner, r.types, PolicyId(r.policy), ttl_of[r.policy] if r.ttl is None else r.ttl)
        for r in draft.dynamic
    )
    return Zone(draft.apex, rrsets, dynamic)


def ancestors(name: bytes) -> Iterator[bytes]:
    """The wire name's parent, its parent, and so on to the root."""
    while name[0]:
        name = name[name[0] + 1 :]
        yield name


def within(name: bytes, apex: bytes) -> bool:
    """Whether the wire name is `apex` or below it; both in lower case."""
    return name == apex or (name.endswith(apex) and apex in ancestors(name))


def closest(name: bytes, apexes: Iterable[bytes]) -> bytes | None:
    """The longest of `apexes` that the name is within; all in lower case."""
    known = frozenset(apexes)
    return next((each for each in (name, *ancestors(name)) if each in known), None)


def name_text(name: bytes) -> str:
    """The wire name as text with a final dot, special octets escaped (RFC 1035 section 5.1, RFC 4343 section 2.1)."""
    labels: list[str] = []
    at = 0
    while name[at]:
        end = at + 1 + name[at]
        labels.append("".join(map(_octet, name[at + 1 : end])))
        at = end
    return ".".join(labels) + "."


def _octet(octet: int) -> str:
    if octet in b'.;"\\()@$':
        return "\\" + chr(octet)
    return chr(octet) if 0x20 < octet < 0x7F else f"\\{octet:03d}"
