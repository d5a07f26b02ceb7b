"""One situation to decide in, what it does to clients, and the same with sites lost.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gslb.decide.audience import Audience, split
from gslb.decide.predict import Path
from gslb.decide.spread import paths, spread
from gslb.model.deployment import Deployment, PolicyId, Pool, PoolId, SiteId
from gslb.model.location import Cohort, Geography
from gslb.model.plan import Plan
from gslb.model.world import Health, Verdict, Verdicts, World


@dataclass(frozen=True, slots=True)
class Case:
    """What is configured, where clients are, what is observed, and the plan in force (None: none yet)."""

    model: Deployment
    geography: Geography
    world: World
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """Clients of one policy and record type who were given the choice `before` and are given `after` (indexes of plans)."""

    before: int
    after: int
    asked: float


Cohorts = Mapping[PolicyId, Sequence[Cohort]]


def without(case: Case, sites: Collection[SiteId]) -> Case:
    """The case where every target of these sites' pools fails, as every check of them agrees, and nobody tells their load."""
    lost = [pool for pool in case.model.pools.values() if pool.datacenter in sites]
    verdicts = {**case.world.verdicts, **{pool.name: _failing(pool) for pool in lost}}
    silent = {pool.name: replace(load, stale=True) for pool in lost if (load := case.world.loads.get(pool.name))}
    world = replace(
        case.world,
        verdicts=verdicts,
        regional=_regional(case.world, case.model.pools.keys() - {pool.name for pool in lost}),
        loads={**case.world.loads, **silent},
    )
    return replace(case, world=world)


def reconfigured(case: Case, model: Deployment, geography: Geography, cohorts: Cohorts) -> Case:
    """The case under another configuration: the same clients ask, and what was observed of pools that stay is still so."""
    known = case.model.pools.keys() & model.pools.keys()
    world = replace(
        case.world,
        verdicts={name: found for name, found in case.world.verdicts.items() if name in known},
        regional=_regional(case.world, known),
        loads={name: load for name, load in case.world.loads.items() if name in known},
        demand={
            name: {
                rtype: _regrouped(asked, cohorts[name], len(geography.rankings[name]))
                for rtype, asked in by_type.items()
            }
            for name, by_type in case.world.demand.items()
            if name in cohorts and name in geography.rankings
        },
    )
    return Case(model, geography, world, case.plan)


def flows(before: Plan, after: Plan, audience: Audience, cohorts: Cohorts | None = None) -> Iterator[Flow]:
    """What the clients of each pair of choices ask, for the policies that both plans have.

    Without `cohorts` the plans are of one geography.  A policy and record type has one flow for each pair of choices, so
    what is worked out by flow does not grow with the number of rankings.
    """
    for name, by_type in audience.items():
        if name not in before.policies or name not in after.policies:
            continue
        for rtype, asked in by_type.items():
            earlier, later = before.policies[name].choices[rtype], after.policies[name].choices[rtype]
            sums: dict[tuple[int, int], float] = {}
            for pair, rate in _met(earlier, later, asked, None if cohorts is None else cohorts[name]):
                sums[pair] = sums.get(pair, 0.0) + rate
            for (then, now), rate in sums.items():
                yield Flow(then, now, rate)


class Routes:
    """Where the clients of each pair of choices go, from one plan to another."""

    def __init__(self, before: Plan, after: Plan) -> None:
        self._spreads = [spread(choice) for choice in before.choices], [spread(choice) for choice in after.choices]
        self._known: dict[tuple[int, int], tuple[Path, ...]] = {}

    def between(self, before: int, after: int) -> tuple[Path, ...]:
        """The paths of those who were given one choice and are given another, with their shares; stayers are among them."""
        pair = before, after
        if pair not in self._known:
            one, other = self._spreads[0][before], self._spreads[1][after]
            self._known[pair] = tuple(Path(*path) for path in paths(one, other))
        return self._known[pair]


def paths_of(before: Plan, after: Plan, found: Iterable[Flow]) -> Iterator[Path]:
    """The paths that the clients of all flows take."""
    routes = Routes(before, after)
    for flow in found:
        for path in routes.between(flow.before, flow.after):
            yield Path(path.left, path.reached, path.asked * flow.asked)


def _regional(world: World, pools: Collection[PoolId]) -> Mapping[str, Verdicts]:
    """What continents say otherwise of these pools."""
    return {
        continent: {name: found for name, found in verdicts.items() if name in pools}
        for continent, verdicts in world.regional.items()
    }


def _regrouped(asked: Sequence[float], cohorts: Sequence[Cohort], rankings: int) -> tuple[float, ...]:
    found = [0.0] * rankings
    for cohort, rate in zip(cohorts, split(asked, cohorts), strict=True):
        found[cohort.after] += rate
    return tuple(found)


def _met(
    earlier: Sequence[int], later: Sequence[int], asked: Sequence[float], cohorts: Sequence[Cohort] | None
) -> Iterable[tuple[tuple[int, int], float]]:
    """Pairs of choices, and what the clients between them ask."""
    if cohorts is None:
        return zip(zip(earlier, later, strict=True), asked, strict=True)
    pairs = ((earlier[cohort.before], later[cohort.after]) for cohort in cohorts)
    return zip(pairs, split(asked, cohorts), strict=True)


def _failing(pool: Pool) -> Mapping[str, Verdict]:
    backends = [backend.address for backend in pool.balance.backends] if pool.balance else []
    verdict = Verdict(Health.DOWN, why=f"{pool.datacenter} is lost", double=True)
    return {str(address): verdict for address in (*(answer.address for answer in pool.answers), *backends)}
