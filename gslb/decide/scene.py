"""What sheds depend on: where clients are at home, which pools answer, what was shed before.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from gslb.decide.audience import audience_of
from gslb.decide.cells import Ground
from gslb.decide.returning import returned
from gslb.decide.settle import Settled
from gslb.decide.situation import Situation
from gslb.model.deployment import Deployment, PolicyId, PoolId, Return
from gslb.model.history import Shed
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
    """The scene of one decision; what was shed before is in the situation's history."""
    asked = audience_of(model, geography, world)
    grounds = [
        Ground(
            policy=model.policies[name],
            rtype=rtype,
            rankings=geography.rankings[name],
            catchments=geography.catchments.get(name, ()),
            asked=asked[name].get(rtype) or (0.0,) * len(geography.rankings[name]),
            reach=one.reach,
            usable=frozenset(one.by_pool) if one.answering else one.reach.pools,
            receiving=_receiving(one) if one.answering else frozenset(),
            resting=not one.answering,
        )
        for name, of_policy in settled.items()
        for rtype, one in of_policy.items()
        if one.reach.pools
    ]
    return Scene(model, world, geography.digest, grounds, situation.history.sheds, _gradual(situation, settled))


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
