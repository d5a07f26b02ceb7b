"""The order in which one client's pools are tried.  Pure.

1. The rule's pools that have the record type: by the client's ranking, then (for `nearest`, which ranks only the first
   few) the others as written.
2. The policy's spill targets: burst sites, used when all the pools of the rule are gone.
3. The policy's other pools, so that an answer is empty for one client only where it is empty for all (RFC 7871 section
   7.2.1 with scope 0 on negative answers).  Where no pool of the rule has the type at all, they come before the spill
   targets: this is no overload, and a burst site takes only what others shed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from gslb.model.deployment import TYPE_A, Deployment, PoolId, Rule, View
from gslb.model.location import Geography, Ranking


@dataclass(frozen=True, slots=True)
class Reach:
    """The pools of a policy that have a record type: those of its rules, and its spill targets."""

    ruled: tuple[PoolId, ...]
    spill: tuple[PoolId, ...]

    @property
    def pools(self) -> frozenset[PoolId]:
        """All of them."""
        return frozenset(self.ruled + self.spill)


def reach_of(ruled: Iterable[PoolId], spill: Iterable[PoolId], having: Container[PoolId]) -> Reach:
    """What a policy of these pools can reach; `having` are the pools that have the record type."""
    return Reach(
        ruled=tuple(pool for pool in ruled if pool in having),
        spill=tuple(pool for pool in spill if pool in having),
    )


def ranked(ranking: Ranking, rtype: int) -> tuple[PoolId, ...]:
    """The ranking's pools of a record type."""
    return ranking.pools4 if rtype == TYPE_A else ranking.pools6


def order(rule: Rule, ranking: Ranking, rtype: int, reach: Reach) -> Iterator[PoolId]:
    """Every pool to try for a client of this ranking, in order.  Some come twice, and some may lack the type."""
    yield from ranked(ranking, rtype)
    yield from rule.pools
    if any(pool in reach.ruled for pool in rule.pools):
        yield from reach.spill
        yield from reach.ruled
    else:
        yield from reach.ruled
        yield from reach.spill


def first(rule: Rule, ranking: Ranking, rtype: int, reach: Reach, among: Container[PoolId]) -> PoolId:
    """The first pool in the order that is `among` those given.  There is one."""
    for pool in ranked(ranking, rtype):  # what `order` begins with, and nearly always enough
        if pool in among:
            return pool
    return next(filter(among.__contains__, order(rule, ranking, rtype, reach)))


def fits(model: Deployment, geography: Geography) -> bool:
    """Whether the rankings can be those of `model`: what `decide` takes for granted."""
    rankings = geography.rankings
    if rankings.keys() != model.policies.keys() or not all(rankings.values()):
        return False
    return all(
        ranking.rule < len(policy.rules)
        and (not ranking.continent or policy.view is View.REGIONAL)
        and {*ranking.pools4, *ranking.pools6} <= set(policy.rules[ranking.rule].pools)
        for name, policy in model.policies.items()
        for ranking in rankings[name]
    )
