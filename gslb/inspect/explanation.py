"""The way of one question through zone, place, class, rule, pools, choice, TTL and answer, as values to print.

Rule: each step is taken by the code that serves: the zone walk, the location table, `decide`, and a `Responder` that
answers the question itself.  IO: the geo databases are read for the client's row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path

from gslb.control.planner import nsid_of
from gslb.control.secret import NoSecret
from gslb.decide.decide import decide
from gslb.decide.explain import Explanation, explain
from gslb.decide.levels import Marks, marks_of
from gslb.decide.ttl import answered_ttl
from gslb.geo.distance import kilometres
from gslb.geo.rank import matches_geo
from gslb.geo.rows import Row, known, rows
from gslb.geo.schema import Location
from gslb.geo.source import DatabaseUnusable
from gslb.geo.table import LocationTable, normalise
from gslb.inspect.basis import Basis
from gslb.inspect.question import Asked, Record, Reply, found, replied
from gslb.inspect.shedding import Given, Going, given
from gslb.model.choice import CHOICE_SLOTS, sticky_keys, sticky_slot
from gslb.model.deployment import Address, Deployment, Network, PoolId, Rule
from gslb.model.history import Shed
from gslb.model.plan import Member, Plan, Serving
from gslb.model.world import GivenShed, Load
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
class Burden:
    """What a pool carries: its load beside its marks (None where one is not known), and what it sheds.

    `given`: what another node says it sheds, which steers it (None: this node does).
    """

    load: Load | None
    marks: Marks | None
    shed: Shed | None
    given: GivenShed | None


@dataclass(frozen=True, slots=True)
class Decided:
    """The dynamic part: place, class, decision, what spill makes of it, slot, and TTL at the time `now`.

    `servings` says what the balancers do with each backend of the balanced pools.
    """

    now: float
    place: Place
    located: Located
    rule: Rule
    matched: str
    decision: Explanation
    given: Given
    burdens: Mapping[PoolId, Burden]
    heavy: bool
    kilometres: Mapping[PoolId, float]
    servings: Mapping[PoolId, Mapping[str, Serving]]
    slot: Slot | None
    record_ttl: int
    ttl: int

    @property
    def members(self) -> tuple[Member, ...]:
        """Who may answer this client."""
        return self.given.members(self._known_slot)

    @property
    def moved(self) -> Going | None:
        """What takes this client away from its home."""
        return self.given.going(self._known_slot)

    @property
    def _known_slot(self) -> int | None:
        return None if self.slot is None or self.heavy else self.slot.slot


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
    """One basis, its location table and its plan as of now, and remarks on what is not there."""

    def __init__(self, basis: Basis, table: LocationTable) -> None:
        self.basis = basis
        self.table = table
        self.notes = list(basis.notes)
        self.plan = decide(basis.model, basis.geography, basis.world, basis.previous)

    @cached_property
    def secret(self) -> bytes | None:
        """The node's secret; asked for only where a choice hangs on it."""
        try:
            return self.basis.secret()
        except NoSecret as error:
            self.notes.append(str(error))
            return None


def report(basis: Basis, asked: Asked) -> Report:
    """Explain what `asked` is answered by a basis with a location table."""
    if basis.table is None:
        raise ValueError("there is no location table yet")
    teller = _Teller(basis, basis.table)
    record, ending = found(Forest(basis.zones), asked)
    decided = None if ending is None else _decided(teller, asked, ending)
    return Report(
        asked=asked,
        record=record,
        decided=decided,
        reply=_reply(teller, asked, decided),
        plan=_in_force(teller.plan, basis.previous, basis.manifest),
        notes=tuple(teller.notes),
    )


def _decided(teller: _Teller, asked: Asked, ending: Ending) -> Decided:
    address, model, policy = asked.decides, teller.basis.model, ending.record.policy
    location_class, scope = teller.table.lookup(address.packed)
    ranking = teller.table.ranking_of[policy][location_class]
    decision = explain(
        model, teller.basis.geography, teller.basis.world, teller.basis.previous, (policy, ranking, asked.rtype)
    )
    rule = decision.policy.rules[decision.ranking.rule]
    place = _place(teller, address)
    spilled = given(teller.plan, policy, asked.rtype, ranking)
    return Decided(
        now=teller.basis.world.now,
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
        given=spilled,
        burdens={tried.pool: _burden(teller, tried.pool) for tried in decision.tried},
        heavy=asked.client is None and str(asked.resolver) in teller.plan.heavy and bool(spilled.choice.shed),
        kilometres=_distances(model, decision, place.location),
        servings={
            tried.pool: {one.address: one.serving for one in teller.plan.balancers[tried.pool].backends}
            for tried in decision.tried
            if tried.pool in teller.plan.balancers
        },
        slot=_slot(teller, address, decision, spilled),
        record_ttl=ending.record.ttl,
        ttl=answered_ttl(ending.record.ttl, decision.ttl),
    )


def _place(teller: _Teller, address: Address) -> Place:
    geo = teller.basis.model.geo
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


def _burden(teller: _Teller, pool: PoolId) -> Burden:
    capacity = teller.basis.model.pools[pool].capacity
    return Burden(
        load=teller.basis.world.loads.get(pool),
        marks=None if capacity is None else marks_of(capacity),
        shed=teller.plan.history.sheds.get(pool),
        given=teller.basis.world.given.get(pool),
    )


def _slot(teller: _Teller, address: Address, decision: Explanation, spilled: Given) -> Slot | None:
    """The client's slot where there is something to choose, and choices stick."""
    sticky = decision.policy.sticky
    if not spilled.by_slot or sticky is None or teller.secret is None:
        return None
    deciding = ip_address(normalise(address.packed)[0])
    bits = sticky.v4 if deciding.version == 4 else sticky.v6
    network = ip_network((deciding, bits), strict=False)
    value = int(deciding) >> (deciding.max_prefixlen - bits)
    return Slot(network, sticky_slot(value, sticky_keys(teller.secret, decision.policy.name)), CHOICE_SLOTS)


def _reply(teller: _Teller, asked: Asked, decided: Decided | None) -> Reply | None:
    """What a worker with these tables says; None where that hangs on a secret that is not there."""
    chosen = decided is not None and decided.given.by_slot
    secret = teller.secret if chosen else b""  # without a choice any will do
    if secret is None:
        return None
    basis = teller.basis
    names = compile_names(basis.zones, nsid_of(basis.model, basis.node))
    return replied(Responder(Tables.load(names, compile_plan(teller.plan, secret), teller.table)), asked)


def _in_force(plan: Plan, stored: Plan | None, manifest: Manifest | None) -> InForce:
    return InForce(
        version=plan.version,
        digest=plan.digest,
        stored=None if stored is None else (stored.version, stored.digest),
        generation=None if manifest is None else manifest.generation,
        served=None if manifest is None else (manifest.plan_version, manifest.plan_digest),
    )
