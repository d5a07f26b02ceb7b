"""What sheds depend on: where clients are at home, which pools answer, what was shed before.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gslb.decide.audience import Audience, audience_of
from gslb.decide.cells import Ground, ground_of
from gslb.decide.returning import returned
from gslb.decide.routes import routes_of
from gslb.decide.settle import Settled
from gslb.decide.situation import Situation
from gslb.model.deployment import Deployment, Policy, PolicyId, PoolId, Return
from gslb.model.history import Shed, continent_of, policy_of
from gslb.model.location import Geography
from gslb.model.world import World


@dataclass(frozen=True, slots=True)
class Scene:
    """`grounds` are the policies and record types that any pool can answer, `geography` the digest of the location table.

    `previous` is what was shed before; `gradual` are pools that come back by `recover` after they shed all.
    """

    model: Deployment
    world: World
    geography: str
    grounds: Sequence[Ground]
    previous: Mapping[PoolId, Shed]
    gradual: Collection[PoolId]


def scene_of(
    model: Deployment,
    geography: Geography,
    world: World,
    situation: Situation,
    settled: Mapping[PolicyId, Mapping[int, Settled]],
) -> Scene:
    """The scene of one decision; `settled` is by part (gslb.decide.parts), what was shed before is in the situation's history."""
    asked = audience_of(model, geography, world)
    grounds = [
        _ground((model.policies[policy_of(name)], continent_of(name), rtype), geography, asked, one)
        for name, of_part in settled.items()
        for rtype, one in of_part.items()
        if one.reach.pools
    ]
    return Scene(model, world, geography.digest, grounds, situation.history.sheds, _gradual(situation, settled))


def _ground(part: tuple[Policy, str, int], geography: Geography, audience: Audience, settled: Settled) -> Ground:
    policy, continent, rtype = part
    rankings, catchments = geography.rankings[policy.name], geography.catchments.get(policy.name, ())
    receiving = _receiving(settled) if settled.answering else frozenset()
    usable = frozenset(settled.by_pool) if settled.answering else settled.reach.pools
    routes = routes_of(policy, rtype, rankings, catchments, settled.reach, receiving)
    asked = tuple(audience[policy.name].get(rtype) or (0.0,) * len(rankings))
    return ground_of(routes, continent, asked, usable, resting=not settled.answering)


def _receiving(settled: Settled) -> frozenset[PoolId]:
    """The usable pools without those that are only kept in though their health speaks against them."""
    usable = frozenset(settled.by_pool)
    return usable - settled.standing.kept - settled.standing.spread


def _gradual(situation: Situation, settled: Mapping[PolicyId, Mapping[int, Settled]]) -> frozenset[PoolId]:
    """The pools that come back gradually: to all policies, or to some while others still have them out."""
    back = returned(one.standing for of_policy in settled.values() for one in of_policy.values())
    partly = {
        pool
        for outs in situation.history.out.values()
        for pool in outs
        if not situation.conditions[pool].asked_up and situation.conditions[pool].pool.return_ is Return.GRADUAL
    }
    return back | partly
