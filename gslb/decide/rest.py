"""Where a case comes to rest: decisions over simulated time, until nothing moves any more.  Pure.

Clients follow each plan after one TTL, loads follow the clients (`gslb.decide.predict`), and the next decision sees them.  An
override that is in force stays in force, however long the simulated time runs.  Whichever node steers a pool does so by the same
law, so here all pools are steered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gslb.decide.audience import Audience, audience_of
from gslb.decide.case import Case, Cohorts, flows, paths_of
from gslb.decide.decide import decide
from gslb.decide.levels import LONGEST
from gslb.decide.predict import Carried, Costs
from gslb.decide.spread import Rest
from gslb.model.deployment import Deployment, PoolId
from gslb.model.plan import Plan
from gslb.model.world import Load, World

CALM = 3  # decisions in a row that change nothing
MOST_DECISIONS = 400


@dataclass(frozen=True, slots=True)
class Origin:
    """What is measured: the plan that clients follow now, what they ask, and what that costs each pool."""

    plan: Plan
    audience: Audience
    costs: Costs


@dataclass(frozen=True, slots=True)
class Settled:
    """The plan, the loads, after how many seconds; not `calm`: it was still moving after MOST_DECISIONS."""

    plan: Plan
    loads: Mapping[PoolId, Carried]
    seconds: float
    calm: bool


def origin_of(case: Case) -> Origin:
    """The origin of all clients: the plan in force, or where that belongs to another configuration, the next one."""
    plan, geography = case.plan, case.geography
    fits = (
        plan is not None and plan.geography == geography.digest and plan.policies.keys() == case.model.policies.keys()
    )
    if plan is None or not fits:
        plan = decide(case.model, geography, case.world, plan)
    audience = audience_of(case.model, geography, case.world)
    asked: dict[PoolId, float] = {}
    for path in paths_of(plan, plan, flows(plan, plan, audience)):
        if not isinstance(path.left, Rest):
            asked[path.left] = asked.get(path.left, 0.0) + path.asked
    return Origin(plan, audience, Costs(case.model, case.world.loads, asked))


def settled(case: Case, origin: Origin, cohorts: Cohorts | None = None) -> Settled:
    """Decide until nothing moves.  `cohorts` say which rankings clients have where the geography is not the origin's."""
    world = _frozen(case.world)
    plan = decide(case.model, case.geography, world, case.plan)
    dwell = LONGEST * float(max((policy.ttl_max for policy in case.model.policies.values()), default=1))
    seconds, calm = 0.0, 0
    for turn in range(1, MOST_DECISIONS):
        loads = loads_under(plan, case.model, origin, cohorts)
        world = replace(world, now=world.now + dwell, loads=_seen(world.loads, loads))
        following = decide(case.model, case.geography, world, plan)
        calm, seconds = (calm + 1, seconds) if _same(plan, following) else (0, turn * dwell)
        plan = following
        if calm == CALM:
            break
    return Settled(plan, loads_under(plan, case.model, origin, cohorts), seconds, calm == CALM)


def at_rest(case: Case, origin: Origin, cohorts: Cohorts | None = None) -> Case:
    """The case as it is once nothing moves any more, with the loads that will then be measured."""
    rest = settled(case, origin, cohorts)
    world = replace(_frozen(case.world), now=case.world.now + rest.seconds, loads=_seen(case.world.loads, rest.loads))
    return replace(case, world=world, plan=rest.plan)


def loads_under(plan: Plan, model: Deployment, origin: Origin, cohorts: Cohorts | None = None) -> dict[PoolId, Carried]:
    """What each pool of `model` carries when clients follow `plan`."""
    found = flows(origin.plan, plan, origin.audience, cohorts)
    return origin.costs.carried(model, paths_of(origin.plan, plan, found))


def _frozen(world: World) -> World:
    holding = (override for override in world.overrides if override.holds_at(world.now))
    return replace(world, overrides=tuple(replace(override, until=None) for override in holding), given={})


def _seen(measured: Mapping[PoolId, Load], loads: Mapping[PoolId, Carried]) -> dict[PoolId, Load]:
    """What would be measured: a source that tells nothing goes on telling nothing, and so does one we cannot predict."""
    told = {pool: Load(one.share) for pool, one in loads.items() if one.share is not None}
    return {**told, **{pool: load for pool, load in measured.items() if load.stale or pool not in told}}


def _same(plan: Plan, following: Plan) -> bool:
    """Whether no client moved and no level did."""
    return (
        plan.policies == following.policies
        and plan.choices == following.choices
        and {pool: shed.level for pool, shed in plan.history.sheds.items()}
        == {pool: shed.level for pool, shed in following.history.sheds.items()}
    )
