"""Who the clients of a what-if are: cohorts of networks in both location tables, and how far they are from pools.  IO.

numpy is imported where it is needed: without databases, and with one location table, it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gslb.cli.histogram import Histogram
from gslb.decide.simulate import Simulation, Trip
from gslb.decide.spread import Destination, Rest
from gslb.geo.progress import Progress
from gslb.geo.source import DatabaseUnusable, content_digest
from gslb.geo.table import LocationTable
from gslb.inspect.basis import Basis
from gslb.model.deployment import Deployment, Network, PolicyId, PoolId
from gslb.model.location import Cohort

if TYPE_CHECKING:
    from gslb.geo.clients import Clients, Grouped
    from gslb.geo.places import Places
    from gslb.geo.reach import Distance

Distances = Mapping[PolicyId, tuple["Distance | None", "Distance | None"]]
Side = tuple[Deployment, LocationTable | None]


@dataclass(frozen=True, slots=True)
class Crowd:
    """The clients of each policy that both configurations have; nothing where each ranking is one cohort, uncounted.

    `counted` are the policies whose clients are those of a histogram.
    """

    places: Places | None = None
    clients: Mapping[PolicyId, Clients] = field(default_factory=dict)
    groups: Mapping[PolicyId, Grouped] = field(default_factory=dict)
    counted: tuple[PolicyId, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def cohorts(self) -> Mapping[PolicyId, Sequence[Cohort]] | None:
        """For `simulate`."""
        return {name: group.cohorts for name, group in self.groups.items()} or None


def crowd_of(basis: Basis, after: Side, histogram: Histogram | None, cache: Path, progress: Progress) -> Crowd:
    """The clients of `basis` and of another configuration.  Raises OSError where the cache cannot be written."""
    model, table = after
    places, notes = _places(basis.model, cache, progress)
    if places is None and not notes:
        places, notes = _places(model, cache, progress)
    alone = table is basis.table and histogram is None and places is None
    if alone or basis.table is None or table is None:
        return Crowd(notes=tuple(notes))
    from gslb.geo.clients import Mapped, by_count, by_size, grouped  # noqa: PLC0415

    progress("counting networks", 0.0)
    sides = Mapped(basis.model, basis.table), Mapped(model, table)
    rows = {} if histogram is None else _by_policy(histogram, basis, notes)
    everyone = by_size(places, *sides)
    clients, groups, counted = {}, {}, []
    for name in basis.model.policies:
        if name not in model.policies:
            continue
        mine = rows.get(name, [])
        clients[name] = by_count(places, *sides, mine) if mine else everyone
        groups[name] = grouped(clients[name], *sides, name)
        counted += [name] if mine else []
    return Crowd(places, clients, groups, tuple(counted), tuple(notes))


def distances_of(simulation: Simulation, crowd: Crowd, sides: tuple[Deployment, Deployment]) -> Distances:
    """How far each policy's clients are from their pools, before and after; nothing where no place is known."""
    if crowd.places is None:
        return {}
    from gslb.geo.reach import Reach  # noqa: PLC0415

    reaches: dict[tuple[int, int], Reach] = {}
    found: dict[PolicyId, tuple[Distance | None, Distance | None]] = {}
    for outcome in simulation.policies:
        clients, group = crowd.clients[outcome.policy], crowd.groups[outcome.policy]
        both = []
        for place, model in enumerate(sides):
            key = place, id(clients)
            reaches[key] = reaches.get(key) or Reach(crowd.places, clients, model)
            both.append(reaches[key].distance(group, [_asked(trip, after=place == 1) for trip in outcome.trips]))
        found[outcome.policy] = both[0], both[1]
    return found


def _asked(trip: Trip, *, after: bool) -> Mapping[PoolId, float]:
    asked: Mapping[Destination, float] = trip.after if after else trip.before
    return {name: rate for name, rate in asked.items() if not isinstance(name, Rest)}


def _places(model: Deployment, cache: Path, progress: Progress) -> tuple[Places | None, list[str]]:
    """The places of the databases, through the cache (0.4 s, or 10 s where they are not there)."""
    present = [path for path in (Path(name).expanduser() for name in model.geo.databases) if path.exists()]
    if not present:
        return None, []
    from gslb.geo.rebuild import places_of  # noqa: PLC0415

    try:
        return places_of(present, content_digest(present), cache, progress), []
    except DatabaseUnusable as error:
        return None, [f"networks are not counted: {error}"]


def _by_policy(histogram: Histogram, basis: Basis, notes: list[str]) -> Mapping[PolicyId, list[tuple[Network, float]]]:
    """The histogram's rows for each policy: those of its names, and those without a name."""
    policies = {record.owner.lower(): record.policy for zone in basis.zones for record in zone.dynamic}
    found: dict[PolicyId, dict[Network, float]] = {}
    others = 0.0
    for name, counts in histogram.counts.items():
        asked = tuple(basis.model.policies) if name is None else _policies_of(name, policies)
        others += 0.0 if asked else sum(counts.values())
        for policy in asked:
            of_policy = found.setdefault(policy, {})
            for network, count in counts.items():
                if count:
                    of_policy[network] = of_policy.get(network, 0.0) + count
    if others:
        notes.append(f"{others:,.0f} queries are for names that no policy answers")
    return {policy: list(counts.items()) for policy, counts in found.items()}


def _policies_of(name: bytes, policies: Mapping[bytes, PolicyId]) -> tuple[PolicyId, ...]:
    """The policy of a name, or of the wildcard that covers it (RFC 4592), if there is one."""
    if name in policies:
        return (policies[name],)
    while name[0]:
        name = name[1 + name[0] :]
        if b"\x01*" + name in policies:
            return (policies[b"\x01*" + name],)
    return ()
