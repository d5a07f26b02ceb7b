"""Why one client is given what it is given: the steps of `decide`, with their reasons kept.  Pure.

Rule 1: nothing is decided here.  `explain` calls what `decide` calls, for one policy, ranking and record type.
Rule 2: what pools shed stands in the plan (`Choice.shed`, `History.sheds`); here is who answers before anything is shed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gslb.decide.decide import predecessor
from gslb.decide.field import Reason
from gslb.decide.inheritance import inherited
from gslb.decide.order import first, order, ranked
from gslb.decide.panic import Share
from gslb.decide.parts import Sight, Views, continents_of, history_of, parts_of, policy_ttl, sight_of
from gslb.decide.settle import Settled
from gslb.decide.situation import situation_of
from gslb.decide.targets import Target
from gslb.model.deployment import Deployment, Policy, PolicyId, PoolId, SiteId
from gslb.model.history import Kept, Out
from gslb.model.location import Geography, Ranking
from gslb.model.plan import Member, Mode, Plan
from gslb.model.world import World


class Place(StrEnum):
    """Why a pool stands where it stands in the order."""

    RANKED = "ranked"
    WRITTEN = "as written"
    SPILL = "spill target"
    OTHER = "other pool of the policy"


@dataclass(frozen=True, slots=True)
class Tried:
    """One pool in a client's order: what the steps left of it, and whether it is the one that answers.

    `targets` are what is checked (its answers, or its backends) with override, verdict and ejection; `share` is what of their
    weight is healthy.  `out` and `kept`: it is out of the policy by automatic decision, or answered though its health speaks
    against it.
    """

    pool: PoolId
    datacenter: SiteId
    place: Place
    left: tuple[Member, ...]
    chosen: bool
    reasons: tuple[Reason, ...]
    targets: tuple[Target, ...]
    share: Share
    out: Out | None
    kept: Kept | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision for one policy, ranking and record type; `members` are for clients whose pool does not shed them.

    `sight`: whose word on health decided.
    """

    policy: Policy
    rtype: int
    ranking: Ranking
    tried: tuple[Tried, ...]
    mode: Mode
    members: tuple[Member, ...]
    count: int
    ttl: int
    sight: Sight


def explain(
    model: Deployment, geography: Geography, world: World, previous: Plan | None, asked: tuple[PolicyId, int, int]
) -> Explanation:
    """Explain the choice that `decide` makes for `asked`: a policy, a ranking's index, and a record type."""
    name, index, rtype = asked
    policy = model.policies[name]
    ranking = geography.rankings[name][index]
    previous = predecessor(model, previous)
    situation = situation_of(model, world, inherited(model, previous))
    continents = continents_of(policy, geography.rankings[name])
    parts = parts_of(policy, continents, Views(model, world, situation), previous)
    part, sight = parts[ranking.continent if continents else ""], sight_of(parts, ranking.continent, rtype)
    outs, keeps = history_of(parts, situation.now)
    own = part.name if part.name in outs else name
    out, kept = outs.get(own, {}), keeps.get(own, {})
    settled = part.settled[rtype]
    conditions = (part.situation if sight is Sight.OWN else situation).conditions
    reach = settled.reach
    chosen = first(policy.rules[ranking.rule], ranking, rtype, reach, settled.by_pool) if settled.by_pool else None
    tried = dict.fromkeys(order(policy.rules[ranking.rule], ranking, rtype, reach))
    return Explanation(
        policy=policy,
        rtype=rtype,
        ranking=ranking,
        tried=tuple(
            Tried(
                pool=pool,
                datacenter=model.pools[pool].datacenter,
                place=_place(policy, ranking, rtype, pool),
                left=settled.by_pool.get(pool, ()),
                chosen=pool == chosen,
                reasons=_reasons(settled, pool),
                targets=conditions[pool].targets,
                share=settled.standing.shares[pool],
                out=out.get(pool),
                kept=kept.get(pool),
            )
            for pool in tried
            if pool in reach.pools
        ),
        mode=settled.mode,
        members=settled.for_all if chosen is None else settled.by_pool[chosen],
        count=policy.answers,
        ttl=policy_ttl(parts),
        sight=sight,
    )


def _reasons(settled: Settled, pool: PoolId) -> tuple[Reason, ...]:
    return tuple(reason for reason in settled.reasons if reason.member.pool == pool)


def _place(policy: Policy, ranking: Ranking, rtype: int, pool: PoolId) -> Place:
    rule = policy.rules[ranking.rule]
    if rule.nearest and pool in ranked(ranking, rtype):
        return Place.RANKED
    if pool in rule.pools:
        return Place.WRITTEN
    return Place.SPILL if pool in policy.spill.to else Place.OTHER
