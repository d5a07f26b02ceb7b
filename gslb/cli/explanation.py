"""The way of one question through zone, place, class, rule, pools, choice, TTL and answer, as values to print.

Rule: each step is taken by the code that serves: the zone walk, the location table, `decide`, and a `Responder` that
answers the question itself.  IO: it reads, and makes a location table only where none is in force.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path

from gslb.cli.question import Asked, Record, Reply, found, replied
from gslb.cli.situation import Situation, generation_in_force, mapped_table, table_in_force
from gslb.control.planner import nsid_of
from gslb.control.secret import NAME as SECRET
from gslb.control.secret import NoSecret, secret_of
from gslb.decide.decide import decide
from gslb.decide.explain import Explanation, explain
from gslb.decide.ttl import answered_ttl
from gslb.geo.distance import kilometres
from gslb.geo.load import location_table
from gslb.geo.progress import Progress
from gslb.geo.rank import matches_geo
from gslb.geo.rows import Row, known, rows
from gslb.geo.schema import Location
from gslb.geo.source import DatabaseUnusable
from gslb.geo.table import LocationTable, normalise
from gslb.model.choice import CHOICE_SLOTS, sticky_keys, sticky_slot
from gslb.model.deployment import Address, Deployment, Network, PoolId, Rule
from gslb.model.plan import Plan
from gslb.model.world import World
from gslb.nameserver.answer import Responder
from gslb.nameserver.generation import Manifest
from gslb.nameserver.lookup import Ending
from gslb.nameserver.table import Tables, compile_names, compile_plan
from gslb.nameserver.tree import Forest


@dataclass(frozen=True, slots=True)
class Place:
    """Where the client is: the databases' rows for its address, and the place that its whole block is taken for."""

    rows: tuple[Row, ...]
    location: Location | None


@dataclass(frozen=True, slots=True)
class Located:
    """What the location table says: class, depth as a scope, the network that shares them, and the table's name."""

    location_class: int
    classes: int
    scope: int
    network: Network
    embedded: bool
    digest: str


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a client falls in a choice of more members than are answered; None: by each query's id."""

    network: Network
    slot: int
    slots: int


@dataclass(frozen=True, slots=True)
class Decided:
    """The dynamic part: place, class, decision, slot, and TTL."""

    place: Place
    located: Located
    rule: Rule
    matched: str
    decision: Explanation
    kilometres: Mapping[PoolId, float]
    slot: Slot | None
    record_ttl: int
    ttl: int


@dataclass(frozen=True, slots=True)
class InForce:
    """The plan as it is decided now, and what the node has: its stored plan and the generation it serves."""

    version: int
    digest: str
    stored: tuple[int, str] | None
    generation: int | None
    served: tuple[int, str] | None

    @property
    def same(self) -> bool:
        """Whether the node serves what is decided now."""
        return self.served is not None and self.served[1] == self.digest


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that `gslb explain` tells."""

    asked: Asked
    record: Record
    decided: Decided | None
    reply: Reply | None
    plan: InForce
    notes: tuple[str, ...]


class _Teller:
    """Collects what is needed once: overrides, plans, location table, secret; and remarks on what is not there."""

    def __init__(self, here: Situation, now: float, cache: Path, progress: Progress) -> None:
        self.here = here
        self.notes: list[str] = []
        self.manifest = generation_in_force(here)
        self.table = self._table(cache, progress)
        self.geography = self.table.geography()
        stored = here.store.read_plan()
        overrides = here.store.load_overrides()
        self.notes += [note for note in (stored.note, overrides.note) if note is not None]
        self.stored = stored.plan
        self.world = World(now, overrides=tuple(o for o in overrides.overrides or () if o.holds_at(now)))
        self.plan = decide(here.model, self.geography, self.world, self.stored)

    def _table(self, cache: Path, progress: Progress) -> LocationTable:
        table = table_in_force(self.here, self.manifest)
        if table is not None:
            return table
        try:
            located = location_table(self.here.model, cache, progress)
        except DatabaseUnusable as error:
            self.notes.append(str(error))
            geo = replace(self.here.model.geo, databases=())
            located = location_table(replace(self.here.model, geo=geo), cache, progress)
        self.notes += located.notes
        return mapped_table(located.path)

    @cached_property
    def secret(self) -> bytes | None:
        """The secret as the node has it; it is not made here.  Asked for only where a choice hangs on it."""
        model, folder = self.here.model, self.here.store.folder
        given = model.secret_file is not None or os.environ.get(model.secret_env or "")
        if not given and not (folder / SECRET).exists():
            self.notes.append("this node has no secret yet, so who is given which of several addresses is not known")
            return None
        try:
            return secret_of(model, os.environ, self.here.config, folder)
        except NoSecret as error:
            self.notes.append(str(error))
            return None


def report(here: Situation, asked: Asked, now: float, cache: Path, progress: Progress) -> Report:
    """Explain what `asked` is answered, as decided `now`.  Raises OSError, ValueError where no table can be made."""
    teller = _Teller(here, now, cache, progress)
    record, ending = found(Forest(here.loaded.zones), asked)
    decided = None if ending is None else _decided(teller, asked, ending)
    return Report(
        asked=asked,
        record=record,
        decided=decided,
        reply=_reply(teller, asked, decided),
        plan=_in_force(teller.plan, teller.stored, teller.manifest),
        notes=tuple(teller.notes),
    )


def _decided(teller: _Teller, asked: Asked, ending: Ending) -> Decided:
    address, model, policy = asked.decides, teller.here.model, ending.record.policy
    location_class, scope = teller.table.lookup(address.packed)
    ranking = teller.table.ranking_of[policy][location_class]
    decision = explain(model, teller.geography, teller.world, teller.stored, (policy, ranking, asked.rtype))
    rule = decision.policy.rules[decision.ranking.rule]
    place = _place(teller, address)
    return Decided(
        place=place,
        located=Located(
            location_class=location_class,
            classes=teller.table.classes,
            scope=scope,
            network=ip_network((address, scope), strict=False),
            embedded=normalise(address.packed)[1] > 0,
            digest=teller.table.digest,
        ),
        rule=rule,
        matched=_matched(rule, ip_address(normalise(address.packed)[0]), place.location),
        decision=decision,
        kilometres=_distances(model, decision, place.location),
        slot=_slot(teller, address, decision),
        record_ttl=ending.record.ttl,
        ttl=answered_ttl(ending.record.ttl, decision.ttl),
    )


def _place(teller: _Teller, address: Address) -> Place:
    geo = teller.here.model.geo
    present = [path for path in map(Path, geo.databases) if path.exists()]
    bits = geo.scope4 if address.version == 4 else geo.scope6
    base = ip_network((address, bits), strict=False).network_address  # the table takes it for the whole block
    try:
        return Place(tuple(rows(present, address)), known(rows(present, base)))
    except DatabaseUnusable as error:
        teller.notes.append(str(error))
        return Place((), None)


def _matched(rule: Rule, address: Address, place: Location | None) -> str:
    """Which condition of the rule holds; where the databases changed since, none may."""
    if rule.catches_all:
        return "every client"
    held = [f"in {subnet}" for subnet in rule.subnets if subnet.version == address.version and address in subnet]
    if place is not None:
        held += [f"AS{asn}" for asn in rule.asns if asn == place.asn]
        held += [code for code in rule.geos if matches_geo(code, place.continent, place.country, place.subdivision)]
    return ", ".join(held) or "by the location table in force"


def _distances(model: Deployment, decision: Explanation, place: Location | None) -> Mapping[PoolId, float]:
    """Kilometres from the client's place to each pool's datacenter, where both are known."""
    if place is None or place.coordinates is None:
        return {}
    sites = {tried.pool: model.datacenters[tried.datacenter].at for tried in decision.tried}
    return {pool: kilometres(place.coordinates, at) for pool, at in sites.items() if at is not None}


def _slot(teller: _Teller, address: Address, decision: Explanation) -> Slot | None:
    """The client's slot where there is something to choose, and choices stick."""
    sticky = decision.policy.sticky
    if len(decision.members) <= decision.count or sticky is None or teller.secret is None:
        return None
    deciding = ip_address(normalise(address.packed)[0])
    bits = sticky.v4 if deciding.version == 4 else sticky.v6
    network = ip_network((deciding, bits), strict=False)
    value = int(deciding) >> (deciding.max_prefixlen - bits)
    return Slot(network, sticky_slot(value, sticky_keys(teller.secret, decision.policy.name)), CHOICE_SLOTS)


def _reply(teller: _Teller, asked: Asked, decided: Decided | None) -> Reply | None:
    """What a worker with these tables says; None where that hangs on a secret that is not there."""
    chosen = decided is not None and len(decided.decision.members) > decided.decision.count
    secret = teller.secret if chosen else b""  # without a choice any will do
    if secret is None:
        return None
    here = teller.here
    names = compile_names(here.loaded.zones, nsid_of(here.model, here.node))
    return replied(Responder(Tables.load(names, compile_plan(teller.plan, secret), teller.table)), asked)


def _in_force(plan: Plan, stored: Plan | None, manifest: Manifest | None) -> InForce:
    return InForce(
        version=plan.version,
        digest=plan.digest,
        stored=None if stored is None else (stored.version, stored.digest),
        generation=None if manifest is None else manifest.generation,
        served=None if manifest is None else (manifest.plan_version, manifest.plan_digest),
    )
