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
from gslb.decide.marks import Over, brought, over
from gslb.decide.predict import Path
from gslb.decide.rest import Origin, origin_of
from gslb.decide.spread import Rest
from gslb.model.deployment import Deployment, PoolId, SiteId
from gslb.model.location import Geography
from gslb.model.plan import Plan
from gslb.model.world import World


@dataclass(frozen=True, slots=True)
class SiteLoss:
    """What becomes of the others when one site fails.

    `over_soft` and `over_hard` are the pools that the loss would bring over that mark (those over hard are not among the first);
    `already_over` those that exceed one as it is, and are not fuller then.  `worst` is the fullest of those that would be over hard,
    else of all pools of other sites, `share` its load then as a share of its capacity; None where no load is known.  `unknown` are the pools that would answer and whose load nobody knows.
    `moved` is the share of all that is asked whose pool changes, `added_km` how much farther these clients are on average
    (None: not known), and `unanswered` the share that no pool would answer.
    """

    site: SiteId
    over_soft: tuple[PoolId, ...]
    over_hard: tuple[PoolId, ...]
    already_over: tuple[PoolId, ...]
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
    paths = list(paths_of(origin.plan, plan, flows(origin.plan, plan, origin.audience)))
    loads = origin.costs.carried(case.model, paths)
    elsewhere = {name: loads[name].share for name, pool in case.model.pools.items() if pool.datacenter != site}
    known = {name: share for name, share in elsewhere.items() if share}
    beyond, already = _beyond(case, known)
    hard = [name for name, mark in beyond.items() if mark is Over.HARD]
    worst = max(hard or known, key=lambda name: (known[name], name), default=None)
    answering = {path.reached for path in paths if path.asked}
    asked = sum(path.asked for path in paths) or 1.0
    return SiteLoss(
        site=site,
        over_soft=tuple(name for name, mark in beyond.items() if mark is Over.SOFT),
        over_hard=tuple(hard),
        already_over=already,
        worst=worst,
        share=None if worst is None else known[worst],
        unknown=tuple(name for name, one in loads.items() if name in answering and one.share is None),
        moved=sum(path.asked for path in paths if path.left != path.reached) / asked,
        added_km=_added_km(case.geography, origin, plan),
        unanswered=sum(path.asked for path in paths if path.reached is Rest.UNANSWERED) / asked,
    )


def _beyond(case: Case, then: Mapping[PoolId, float]) -> tuple[dict[PoolId, Over], tuple[PoolId, ...]]:
    """The mark that the loss brings each pool over, and those that are over one as it is and are not fuller then."""
    found: dict[PoolId, Over] = {}
    already: list[PoolId] = []
    for name, share in then.items():
        capacity = case.model.pools[name].capacity
        if capacity is None:
            continue
        marks, load = marks_of(capacity), case.world.loads.get(name)
        now, was = over(marks, share), Over.NONE if load is None else over(marks, load.share)
        found[name] = brought(now, share, was, None if load is None else load.share)
        if now is not Over.NONE and found[name] is Over.NONE:
            already.append(name)
    return found, tuple(already)


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
    moving: dict[tuple[int, int], tuple[Path, ...]] = {}
    for name, by_type in origin.audience.items():
        catchments = geography.catchments.get(name)
        if catchments is None:
            continue
        for rtype, asked in by_type.items():
            pairs = zip(origin.plan.policies[name].choices[rtype], plan.policies[name].choices[rtype], strict=True)
            for ranking, pair in enumerate(pairs):
                if pair not in moving:
                    moving[pair] = tuple(path for path in routes.between(*pair) if path.left != path.reached)
                for path in moving[pair]:
                    yield catchments[ranking].km, Path(path.left, path.reached, asked[ranking] * path.asked)
