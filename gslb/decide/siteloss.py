"""If a site fails now: who would be too full, how many clients move, and how much farther they are.  Pure.

A standing figure for each site, so it must be cheap: one decision with the site lost, and the loads right after clients have
followed it; pools that then shed on their own come to rest later (`gslb.decide.simulate` shows that).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gslb.decide.case import Case, Routes, flows, paths_of, without
from gslb.decide.decide import decide
from gslb.decide.levels import marks_of
from gslb.decide.marks import Over, over
from gslb.decide.predict import Path
from gslb.decide.rest import Origin, loads_under, origin_of
from gslb.decide.spread import Rest
from gslb.model.deployment import Deployment, PoolId, SiteId
from gslb.model.location import Geography
from gslb.model.plan import Plan
from gslb.model.world import World


@dataclass(frozen=True, slots=True)
class SiteLoss:
    """What becomes of the others when one site fails.

    `over_soft` and `over_hard` are the pools whose load would exceed that mark (those over hard are not among the first).
    `worst` is the pool of another site that would be fullest, `share` its load as a share of its capacity; None where no load is
    known.  `unknown` are the pools that would answer and whose load nobody knows.
    `moved` is the share of all that is asked whose pool changes, `added_km` how much farther these clients are on average
    (None: not known), and `unanswered` the share that no pool would answer.
    """

    site: SiteId
    over_soft: tuple[PoolId, ...]
    over_hard: tuple[PoolId, ...]
    worst: PoolId | None
    share: float | None
    unknown: tuple[PoolId, ...]
    moved: float
    added_km: float | None
    unanswered: float


def site_losses(model: Deployment, geography: Geography, world: World, plan: Plan) -> Mapping[SiteId, SiteLoss]:
    """The figures of every site, one after the other; `site_loss` gives them one by one."""
    case = Case(model, geography, world, plan)
    origin = origin_of(case)
    return {site: site_loss(case, origin, site) for site in model.datacenters}


def site_loss(case: Case, origin: Origin, site: SiteId) -> SiteLoss:
    """The figures of one site; `origin` is that of the case."""
    plan = decide(case.model, case.geography, without(case, [site]).world, case.plan)
    loads = loads_under(plan, case.model, origin)
    known = {
        name: one.share
        for name, one in loads.items()
        if one.share and case.model.pools[name].datacenter != site
    }
    marks = {name: marks_of(pool.capacity) for name, pool in case.model.pools.items() if pool.capacity is not None}
    beyond = {name: over(marks[name], share) for name, share in known.items()}
    worst = max(known, key=lambda name: (known[name], name), default=None)
    asked = moved = unanswered = 0.0
    answering: set[PoolId] = set()
    for path in paths_of(origin.plan, plan, flows(origin.plan, plan, origin.audience)):
        asked += path.asked
        moved += path.asked * (path.left != path.reached)
        unanswered += path.asked * (path.reached is Rest.UNANSWERED)
        if path.asked and not isinstance(path.reached, Rest):
            answering.add(path.reached)
    return SiteLoss(
        site=site,
        over_soft=tuple(name for name, mark in beyond.items() if mark is Over.SOFT),
        over_hard=tuple(name for name, mark in beyond.items() if mark is Over.HARD),
        worst=worst,
        share=None if worst is None else known[worst],
        unknown=tuple(name for name, one in loads.items() if name in answering and one.share is None),
        moved=moved / asked if asked else 0.0,
        added_km=_added_km(case.geography, origin, plan),
        unanswered=unanswered / asked if asked else 0.0,
    )


def _added_km(geography: Geography, origin: Origin, plan: Plan) -> float | None:
    """The mean of what is added to the way of those who move, as far as both their distances are known."""
    added = weight = 0.0
    for km, path in _moving(geography, origin, plan):
        before, after = km.get(PoolId(path.left)), km.get(PoolId(path.reached))
        if before is not None and after is not None:
            added += path.asked * (after - before)
            weight += path.asked
    return added / weight if weight else None


def _moving(geography: Geography, origin: Origin, plan: Plan) -> Iterator[tuple[Mapping[PoolId, float], Path]]:
    """The paths of those who move, ranking by ranking, each with its distances."""
    routes = Routes(origin.plan, plan)
    for name, by_type in origin.audience.items():
        catchments = geography.catchments.get(name)
        if catchments is None:
            continue
        for rtype, asked in by_type.items():
            pairs = zip(origin.plan.policies[name].choices[rtype], plan.policies[name].choices[rtype], strict=True)
            for catchment, rate, pair in zip(catchments, asked, pairs, strict=True):
                for path in routes.between(*pair):
                    if path.left != path.reached:
                        yield catchment.km, Path(path.left, path.reached, rate * path.asked)
