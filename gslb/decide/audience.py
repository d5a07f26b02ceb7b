"""How much each ranking's clients ask: measured, or by the sizes of their networks.  Pure.

Rule 1: once anything was measured, all policies are weighed by that: one of which nothing was measured asks nothing.  A guess
beside a measure would make cells great that nobody is behind, and a level would move them without any effect on the load.
Rule 2: what was measured by other rankings holds in sum, divided by the shares of catchments; without catchments as if all
rankings were alike.
Rule 3: where nothing was measured, all policies ask alike, divided in the same way, and as much of each record type that they
can answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gslb.decide.routes import pools_of
from gslb.model.deployment import DYNAMIC_TYPES, Deployment, Policy, PolicyId
from gslb.model.location import Cohort, Geography
from gslb.model.world import World

Audience = Mapping[PolicyId, Mapping[int, Sequence[float]]]  # of a policy and record type, by ranking


def audience_of(model: Deployment, geography: Geography, world: World) -> Audience:
    """What the rankings of each policy ask for; answers per second where any was measured."""
    told = {
        name: {rtype: found[rtype] for rtype in answerable(model, policy) if rtype in found}
        for name, policy in model.policies.items()
        for found in (world.demand.get(name, {}),)
    }
    if any(sum(map(sum, by_type.values())) > 0 for by_type in told.values()):
        return {
            name: {rtype: _of_rankings(rates, name, geography) for rtype, rates in by_type.items()}
            for name, by_type in told.items()
        }
    return {
        name: {rtype: _by_size(1 / len(types), name, geography) for rtype in types}
        for name, policy in model.policies.items()
        for types in (answerable(model, policy),)
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
        if any(model.pools[pool].answers_of(rtype) for pool in (*pools_of(policy), *policy.spill.to))
    )


def _of_rankings(rates: Sequence[float], policy: PolicyId, geography: Geography) -> Sequence[float]:
    return rates if len(rates) == len(geography.rankings[policy]) else _by_size(sum(rates), policy, geography)


def _by_size(total: float, policy: PolicyId, geography: Geography) -> Sequence[float]:
    catchments, rankings = geography.catchments.get(policy), len(geography.rankings[policy])
    shares = [catchment.share for catchment in catchments] if catchments else [1 / rankings] * rankings
    return [share * total for share in shares]
