"""How much each ranking's clients ask: measured, or by the sizes of their networks.  Pure.

Rule 1: a policy whose demand was measured is weighed by it; another by the shares of its catchments; one without catchments
as if all its rankings were alike.
Rule 2: a policy that was not measured asks, all together, as much as the least of those that were; if none was, all
policies ask alike.  Of what it asks, every record type that it can answer has an equal part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gslb.model.deployment import DYNAMIC_TYPES, Deployment, Policy, PolicyId
from gslb.model.location import Cohort, Geography
from gslb.model.world import World

Audience = Mapping[PolicyId, Mapping[int, Sequence[float]]]  # of a policy and record type, by ranking


def audience_of(model: Deployment, geography: Geography, world: World) -> Audience:
    """What the rankings of each policy ask for; answers per second where any was measured."""
    measured = {
        name: by_type
        for name, policy in model.policies.items()
        if (by_type := _measured(model, policy, geography, world))
    }
    least = min((sum(map(sum, by_type.values())) for by_type in measured.values()), default=1.0)
    return {
        name: measured.get(name) or _by_size(model, policy, geography, least) for name, policy in model.policies.items()
    }


def split(asked: Sequence[float], cohorts: Sequence[Cohort]) -> list[float]:
    """What each cohort asks: its part of what its ranking asks.  A ranking whose cohorts have no size divides equally."""
    sizes = [0.0] * len(asked)
    members = [0] * len(asked)
    for cohort in cohorts:
        sizes[cohort.before] += cohort.size
        members[cohort.before] += 1
    return [
        asked[cohort.before]
        * (cohort.size / sizes[cohort.before] if sizes[cohort.before] else 1 / members[cohort.before])
        for cohort in cohorts
    ]


def answerable(model: Deployment, policy: Policy) -> tuple[int, ...]:
    """The record types of which any pool of the policy has an address: of the others, every answer is empty."""
    return tuple(
        rtype
        for rtype in DYNAMIC_TYPES
        if any(model.pools[pool].answers_of(rtype) for pool in (*policy.pools, *policy.spill.to))
    )


def _measured(model: Deployment, policy: Policy, geography: Geography, world: World) -> Mapping[int, Sequence[float]]:
    """The measured demand, if it is one of these rankings."""
    found = world.demand.get(policy.name, {})
    by_type = {rtype: found[rtype] for rtype in answerable(model, policy) if rtype in found}
    rankings = len(geography.rankings[policy.name])
    if not all(len(rates) == rankings for rates in by_type.values()) or not any(map(sum, by_type.values())):
        return {}
    return by_type


def _by_size(model: Deployment, policy: Policy, geography: Geography, total: float) -> Mapping[int, Sequence[float]]:
    types = answerable(model, policy)
    catchments = geography.catchments.get(policy.name)
    rankings = len(geography.rankings[policy.name])
    shares = [catchment.share for catchment in catchments] if catchments else [1 / rankings] * rankings
    return {rtype: [share * total / len(types) for share in shares] for rtype in types}
