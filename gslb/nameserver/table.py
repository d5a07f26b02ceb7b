"""Zones and plan -> the bytes that a worker loads, and back.  Pure.

Names and plan are compiled apart, since decisions change often and zones seldom (docs/decisions/0003).  Each is
MAGIC, BLAKE2b-16 of the rest, MessagePack: a worker that outlives its controller reads nothing else.

Rule 1: what does not fit together (another format, a damaged file, a plan for another geography, a name bound to a
policy that is not there) is refused whole.
Rule 2: the deployment's secret stays with the controller; a compiled plan carries the keys made from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any

import msgpack

from gslb.geo.table import LocationTable, UnreadableTable
from gslb.model.choice import CHOICE_SLOTS, sticky_keys
from gslb.model.deployment import PolicyId
from gslb.model.plan import Choice as PlanChoice
from gslb.model.plan import Member, Mode, Plan
from gslb.model.zone import DynamicRecord, RRset, Zone
from gslb.nameserver.given import LAST_RESORT
from gslb.nameserver.lookup import TARGET_AT
from gslb.nameserver.protection import Protection
from gslb.nameserver.protection import dump as dump_protection
from gslb.nameserver.protection import load as load_protection
from gslb.nameserver.tree import Forest
from gslb.nameserver.views import Choice, Members, PolicyTable, Stickiness
from gslb.nameserver.wire import COMPRESSIBLE, name_end

NAMES_MAGIC = b"GSLBNAM\x01"
PLAN_MAGIC = b"GSLBPLN\x03"  # the last octet is the format
NSID_OCTETS = 128  # so that every reply has room for it beside the longest question
_DIGEST_OCTETS = 16
_MISSHAPEN = (TypeError, ValueError, KeyError, IndexError, AttributeError)  # what a body of another shape leads to

__all__ = ["Tables", "UnreadableTable", "compile_names", "compile_plan"]


def compile_names(zones: Iterable[Zone], nsid: bytes | None) -> bytes:
    """All zones, and what this server calls itself (RFC 5001).

    Raises ValueError for what could not be served: a zone without SOA, a name outside its zone, RDATA without the names
    that its type has, an nsid of more than NSID_OCTETS.
    """
    if nsid is not None and len(nsid) > NSID_OCTETS:
        raise ValueError(f"nsid {nsid!r} has {len(nsid)} octets, expected at most {NSID_OCTETS}")
    zones = tuple(zones)
    Forest(zones)
    for zone in zones:
        for rrset in zone.rrsets:
            _check_rdata(rrset)
    return _seal(NAMES_MAGIC, [nsid, [_dump_zone(zone) for zone in zones]])


def compile_plan(plan: Plan, secret: bytes, protection: Protection | None = None) -> bytes:
    """A plan with the slot keys that `secret` gives each policy.  Without `protection` there are no cookies and no limit."""
    policies = {
        name: [
            policy.ttl,
            sticky_keys(secret, name),
            policy.sticky4,
            policy.sticky6,
            {rtype: list(choices) for rtype, choices in policy.choices.items()},
        ]
        for name, policy in plan.policies.items()
    }
    choices = [_dump_choice(choice) for choice in plan.choices]
    content = [plan.deployment, plan.version, plan.geography, policies, choices, list(plan.heavy)]
    return _seal(PLAN_MAGIC, [*content, dump_protection(protection)])


@dataclass(frozen=True, slots=True)
class Tables:
    """Everything that an answer depends on, besides the query and where it came from."""

    forest: Forest
    nsid: bytes | None
    policies: Mapping[PolicyId, PolicyTable]
    location: LocationTable
    deployment: str
    version: int
    heavy: frozenset[str]  # as sources are written, also by sockets of IPv6 that take IPv4
    protection: Protection | None = None

    @classmethod
    def load(cls, names: bytes, plan: bytes, location: LocationTable, *, deployment: str | None = None) -> Tables:
        """Open what `compile_names` and `compile_plan` made; a plan of another `deployment` is refused where one is given.

        Raises UnreadableTable.
        """
        forest, nsid = _load_names(names)
        decision = _open(PLAN_MAGIC, plan, "plan")
        try:
            of, version, geography, raw_policies, raw_choices, raw_heavy, raw_protection = decision
            protection = load_protection(raw_protection)
            heavy = frozenset(form for address in raw_heavy for form in _written(address))
            choices = [_load_choice(choice) for choice in raw_choices]
            policies = {PolicyId(name): _load_policy(raw, choices) for name, raw in raw_policies.items()}
        except _MISSHAPEN as error:
            raise UnreadableTable(f"the compiled plan is malformed: {error!r}") from error
        if deployment not in (None, of):
            raise UnreadableTable(f"the plan is of deployment {of!r}, expected {deployment!r}")
        if geography != location.digest:
            raise UnreadableTable(f"the plan is for geography {geography}, expected {location.digest}")
        tables = cls(forest, nsid, policies, location, of, version, heavy, protection)
        tables._check_policies()
        return tables

    def _check_policies(self) -> None:
        for record in self.forest.dynamic:
            table = self.policies.get(record.policy)
            if table is None or record.policy not in self.location.ranking_of:
                raise UnreadableTable(f"the plan has no policy {record.policy!r}, which {record.owner!r} is bound to")
            if not set(record.types) <= table.choices.keys():
                raise UnreadableTable(f"policy {record.policy!r} does not answer all types of {record.owner!r}")


def _written(address: str) -> tuple[str, ...]:
    return (address,) if ":" in address else (address, f"::ffff:{address}")


@lru_cache(maxsize=1)
def _load_names(names: bytes) -> tuple[Forest, bytes | None]:
    """Plans change often and names seldom, so the names that were opened last are kept; nothing changes them."""
    content = _open(NAMES_MAGIC, names, "names")
    try:
        nsid, zones = content
        return Forest(_load_zone(zone) for zone in zones), nsid
    except _MISSHAPEN as error:
        raise UnreadableTable(f"the compiled names are malformed: {error!r}") from error


def _check_rdata(rrset: RRset) -> None:
    skipped, names = COMPRESSIBLE.get(rrset.rtype, (TARGET_AT.get(rrset.rtype, 0), int(rrset.rtype in TARGET_AT)))
    for rdata in rrset.rdatas:
        at = skipped
        for _ in range(names):
            at = name_end(rdata, at)


def _dump_zone(zone: Zone) -> list[object]:
    rrsets = [[rrset.owner, rrset.rtype, rrset.ttl, list(rrset.rdatas)] for rrset in zone.rrsets]
    dynamic = [[record.owner, list(record.types), record.policy, record.ttl] for record in zone.dynamic]
    return [zone.apex, rrsets, dynamic]


def _load_zone(raw: Sequence[Any]) -> Zone:
    apex, rrsets, dynamic = raw
    return Zone(
        apex,
        tuple(RRset(owner, rtype, ttl, tuple(rdatas)) for owner, rtype, ttl, rdatas in rrsets),
        tuple(DynamicRecord(owner, tuple(types), PolicyId(policy), ttl) for owner, types, policy, ttl in dynamic),
    )


def _dump_choice(choice: PlanChoice) -> list[object]:
    shed = [[part.slots, _dump_members(part.members)] for part in choice.shed]
    return [choice.mode is Mode.SERVFAIL, choice.count, _dump_members(choice.members), shed]


def _dump_members(members: Sequence[Member]) -> list[object]:
    """As [packed address, weight, identity, pools]; an address that two pools share is one member (RFC 2181 section 5)."""
    weights: dict[str, int] = {}
    pools: dict[str, dict[str, None]] = {}
    for member in members:
        weights[member.address] = weights.get(member.address, 0) + member.weight
        pools.setdefault(member.address, {})[LAST_RESORT if member.pool is None else member.pool] = None
    return [[ip_address(address).packed, weight, address, list(pools[address])] for address, weight in weights.items()]


def _load_choice(raw: Sequence[Any]) -> Choice:
    servfail, count, members, raw_shed = raw
    shed = tuple((slots, _load_members(part)) for slots, part in raw_shed)
    if any(slots < 0 for slots, _ in shed) or sum(slots for slots, _ in shed) > CHOICE_SLOTS:
        raise ValueError(f"parts of {[slots for slots, _ in shed]} slots, expected at most {CHOICE_SLOTS} in all")
    return Choice(servfail, count, _load_members(members), shed)


def _load_members(raw: Sequence[Any]) -> Members:
    return Members(
        addresses=tuple(packed for packed, _, _, _ in raw),
        identities=tuple((identity, weight) for _, weight, identity, _ in raw),
        pools=tuple(tuple(pools) for _, _, _, pools in raw),
    )


def _load_policy(raw: Sequence[Any], choices: Sequence[Choice]) -> PolicyTable:
    ttl, (first, second), v4, v6, indexes = raw
    by_type = {rtype: [choices[index] for index in by_ranking] for rtype, by_ranking in indexes.items()}
    return PolicyTable(ttl, Stickiness((first, second), v4, v6), by_type)


def _seal(magic: bytes, content: object) -> bytes:
    body: bytes = msgpack.packb(content)
    return magic + blake2b(body, digest_size=_DIGEST_OCTETS).digest() + body


def _open(magic: bytes, data: bytes, what: str) -> Any:
    head = len(magic) + _DIGEST_OCTETS
    if data[: len(magic)] != magic:
        raise UnreadableTable(f"these are no compiled {what} of the format that this server reads")
    if blake2b(data[head:], digest_size=_DIGEST_OCTETS).digest() != data[len(magic) : head]:
        raise UnreadableTable(f"the compiled {what} are damaged: the digest does not match")
    try:
        return msgpack.unpackb(data[head:], strict_map_key=False)
    except ValueError as error:
        raise UnreadableTable(f"the compiled {what} are malformed: {error}") from error
