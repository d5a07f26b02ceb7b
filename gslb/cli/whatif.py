"""What `gslb simulate` compares: the present case, and another one.  IO.

Clients are weighed by a histogram of queries, else by the demand that the node measured, else by the sizes of their networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from gslb.cli.crowd import Crowd, Distances, crowd_of, distances_of
from gslb.cli.histogram import Histogram, read_histogram
from gslb.decide.audience import answerable
from gslb.decide.case import Case, reconfigured, without
from gslb.decide.rest import Settled, at_rest, origin_of
from gslb.decide.simulate import Simulation, simulate
from gslb.decide.siteloss import SiteLoss, site_loss
from gslb.decide.spread import Rest
from gslb.geo.load import location_table
from gslb.geo.progress import Progress
from gslb.inspect.basis import Basis
from gslb.inspect.situation import mapped_table
from gslb.model.deployment import Deployment, PolicyId, SiteId
from gslb.model.plan import Mode
from gslb.model.world import Demand

_MEANING = {
    Mode.KEPT: "nothing else left, so pools that should go are kept",
    Mode.SERVE_ALL: "no usable pool, so all of them are answered",
    Mode.LAST_GOOD: "no usable pool, so the last good addresses are answered",
    Mode.LAST_RESORT: "no usable pool, so the addresses of last resort are answered",
    Mode.SERVFAIL: "no usable pool, so SERVFAIL is answered",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about: sites that fail, another configuration, and whose queries count."""

    sites: tuple[SiteId, ...] = ()
    new: Deployment | None = None
    histogram: Path | None = None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A comparison; distances are exact where the databases are at hand, and absent where they are not."""

    asked: Asked
    before: Deployment
    after: Deployment
    simulation: Simulation
    distances: Distances
    weights: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Losses:
    """The loss of each site in turn."""

    model: Deployment
    sites: tuple[SiteLoss, ...]
    weights: str
    notes: tuple[str, ...]


def compare(basis: Basis, asked: Asked, cache: Path, progress: Progress) -> WhatIf:
    """Compare the present with what is asked about.  Raises Refused over the histogram, OSError, ValueError."""
    histogram = None if asked.histogram is None else read_histogram(asked.histogram)
    after, table, notes = basis.model, basis.table, list(basis.notes)
    if asked.new is not None:
        located = location_table(asked.new, cache, progress)
        after, table = asked.new, mapped_table(located.path)
        notes += [note for note in located.notes if note not in notes]
    crowd = crowd_of(basis, (after, table), histogram, cache, progress)
    present = _present(basis, crowd, histogram)
    other = present
    if asked.new is not None and table is not None:
        other = reconfigured(present, after, table.geography(), crowd.cohorts or {})
    if asked.sites:  # they fail once the configuration has come to rest
        other = without(at_rest(other, origin_of(present), crowd.cohorts), asked.sites)
    simulation = simulate(present, other, crowd.cohorts)
    return WhatIf(
        asked=asked,
        before=basis.model,
        after=after,
        simulation=simulation,
        distances=distances_of(simulation, crowd, (basis.model, after)),
        weights=_weights(present, asked),
        notes=(*notes, *crowd.notes, *_remarks(simulation, after, asked.sites)),
    )


def losses(basis: Basis, asked: Asked, cache: Path, progress: Progress) -> Losses:
    """What the loss of each site would do.  Raises as `compare` does."""
    histogram = None if asked.histogram is None else read_histogram(asked.histogram)
    crowd = Crowd()
    if histogram is not None:
        crowd = crowd_of(basis, (basis.model, basis.table), histogram, cache, progress)
    present = _present(basis, crowd, histogram)
    origin = origin_of(present)
    found = tuple(site_loss(present, origin, site) for site in basis.model.datacenters)
    return Losses(basis.model, found, _weights(present, asked), (*basis.notes, *crowd.notes))


def _present(basis: Basis, crowd: Crowd, histogram: Histogram | None) -> Case:
    world = basis.world
    if histogram is not None:
        world = replace(world, demand=_counted(basis, crowd))
    return Case(basis.model, basis.geography, world, basis.previous)


def _counted(basis: Basis, crowd: Crowd) -> Demand:
    """The histogram as demand.  It does not say of which record type the queries are, so each type has them all."""
    demand: dict[PolicyId, Mapping[int, tuple[float, ...]]] = {}
    for name in crowd.counted:
        asked = [0.0] * len(basis.geography.rankings[name])
        for cohort in crowd.groups[name].cohorts:
            asked[cohort.before] += cohort.size
        demand[name] = dict.fromkeys(answerable(basis.model, basis.model.policies[name]), tuple(asked))
    return demand


def _weights(present: Case, asked: Asked) -> str:
    if asked.histogram is not None:
        return f"by the queries in {asked.histogram}"
    if present.world.demand:
        return "by the answers that this node gave"
    if present.geography.catchments:
        return "by the sizes of their networks"
    return "alike for each way of ordering pools: no place of any client is known"


def _remarks(simulation: Simulation, after: Deployment, lost: tuple[SiteId, ...]) -> list[str]:
    """What a reader must know to trust the figures."""
    notes = []
    for settled, when in ((simulation.before, "before"), (simulation.after, "after")):
        if not settled.calm:
            notes.append(f"{when}: still moving after {settled.seconds:,.0f} s of simulated time")
        for outcome in simulation.policies:
            notes += [
                f"{when}: policy {outcome.policy} has {_MEANING[mode]}" for mode in _modes(settled, outcome.policy)
            ]
    for outcome in simulation.policies:
        kept = [name for name, change in outcome.answers.items() if change.after > 0 and _site(after, name) in lost]
        if kept:
            notes.append(f"policy {outcome.policy}: {', '.join(kept)} is lost and still answered: see `gslb explain`")
        empty = outcome.answers.get(Rest.UNANSWERED)
        if empty is not None and empty.after > 0:
            notes.append(f"policy {outcome.policy}: {empty.after:.1%} of the answers are empty")
    notes += [f"policy {name} is only in the present configuration" for name in simulation.only_before]
    notes += [f"policy {name} is only in the new configuration" for name in simulation.only_after]
    return notes


def _modes(settled: Settled, policy: PolicyId) -> list[Mode]:
    """The ways in which a policy is answered for want of usable pools."""
    choices = settled.plan.policies[policy].choices
    met = {settled.plan.choices[index].mode for indexes in choices.values() for index in indexes}
    return [mode for mode in _MEANING if mode in met]


def _site(model: Deployment, name: str) -> SiteId | None:
    return next((pool.datacenter for pool in model.pools.values() if pool.name == name), None)
