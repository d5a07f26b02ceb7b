"""Which pool is first for each ranking, and where its clients may be shed to, kept from one decision to the next.  Pure.

All of it follows from the configuration, the rankings and which pools are usable, and most decisions change none of these.
Rule: what was found is kept by the identity of policy, rankings and catchments.  They are immutable and stay the same objects
until the next reload, while to hash or compare them would cost as much as to find it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Generic, TypeVar

from gslb.decide.order import Reach, first, order, ranked
from gslb.model.deployment import Policy, PoolId
from gslb.model.location import Catchment, Ranking

KEPT = 512  # results: a policy and record type has one for each set of pools that was usable lately

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Same(Generic[T]):
    """A value that equals itself only.  It is held, so that no other has its identity meanwhile."""

    identity: int
    value: T = field(compare=False)


def same(value: T) -> Same[T]:
    """The value by its identity."""
    return Same(id(value), value)


@dataclass(frozen=True, eq=False)
class Routes:
    """Where clients of a policy and record type may be shed to while these pools are `receiving`; worked out by ranking, when
    first asked for.
    """

    policy: Policy
    rtype: int
    rankings: Sequence[Ranking]
    catchments: Sequence[Catchment]
    reach: Reach
    receiving: frozenset[PoolId]
    _receivers: dict[int, tuple[PoolId, ...]] = field(default_factory=dict)
    _lost_km: dict[int, float | None] = field(default_factory=dict)

    @cached_property
    def homes(self) -> tuple[PoolId, ...]:
        """For each ranking, the first pool in its order that has the type."""
        return firsts(self.policy, self.rtype, self.rankings, self.reach, self.reach.pools)

    @cached_property
    def at_home(self) -> Mapping[PoolId, Sequence[int]]:
        """The rankings whose home each pool is."""
        found: dict[PoolId, list[int]] = {}
        for ranking, home in enumerate(self.homes):
            found.setdefault(home, []).append(ranking)
        return found

    def receivers(self, ranking: int) -> tuple[PoolId, ...]:
        """Where these clients may be shed to, in order: the other pools of their rule, then the spill targets.

        Where no pool of the rule has the type, other pools of the policy are their home, and receive them.
        """
        found = self._receivers.get(ranking)
        if found is None:
            found = self._receivers[ranking] = self._find_receivers(self.rankings[ranking], self.homes[ranking])
        return found

    def lost_km(self, ranking: int) -> float | None:
        """How much farther the first receiver is from these clients than their home; None where that is not known."""
        if ranking not in self._lost_km:
            self._lost_km[ranking] = self._find_lost_km(ranking)
        return self._lost_km[ranking]

    def _find_receivers(self, ranking: Ranking, home: PoolId) -> tuple[PoolId, ...]:
        rule = self.policy.rules[ranking.rule]
        if home in rule.pools:
            tried = dict.fromkeys((*ranked(ranking, self.rtype), *rule.pools, *self.reach.spill))
        else:
            tried = dict.fromkeys(order(rule, ranking, self.rtype, self.reach))
        return tuple(pool for pool in tried if pool in self.receiving and pool != home)

    def _find_lost_km(self, ranking: int) -> float | None:
        receivers = self.receivers(ranking)
        if not self.catchments or not receivers:
            return None
        km = self.catchments[ranking].km
        near, far = km.get(self.homes[ranking]), km.get(receivers[0])
        return None if near is None or far is None else far - near


def pools_of(policy: Policy) -> tuple[PoolId, ...]:
    """`Policy.pools`, without going through all rules each time."""
    return _pools_of(same(policy))


def firsts(
    policy: Policy, rtype: int, rankings: Sequence[Ranking], reach: Reach, among: frozenset[PoolId]
) -> tuple[PoolId, ...]:
    """For each ranking, the first pool in its order that is `among` those given; at least one of them can be reached."""
    return _firsts(same(policy), rtype, same(rankings), reach, among)


def routes_of(
    policy: Policy,
    rtype: int,
    rankings: Sequence[Ranking],
    catchments: Sequence[Catchment],
    reach: Reach,
    receiving: frozenset[PoolId],
) -> Routes:
    """The routes of a policy and record type."""
    return _routes(same(policy), rtype, same(rankings), same(catchments), reach, receiving)


@lru_cache(maxsize=KEPT)
def _pools_of(policy: Same[Policy]) -> tuple[PoolId, ...]:
    return policy.value.pools


@lru_cache(maxsize=KEPT)
def _firsts(
    policy: Same[Policy], rtype: int, rankings: Same[Sequence[Ranking]], reach: Reach, among: frozenset[PoolId]
) -> tuple[PoolId, ...]:
    rules = policy.value.rules
    return tuple(first(rules[ranking.rule], ranking, rtype, reach, among) for ranking in rankings.value)


@lru_cache(maxsize=KEPT)
def _routes(
    policy: Same[Policy],
    rtype: int,
    rankings: Same[Sequence[Ranking]],
    catchments: Same[Sequence[Catchment]],
    reach: Reach,
    receiving: frozenset[PoolId],
) -> Routes:
    return Routes(policy.value, rtype, rankings.value, catchments.value, reach, receiving)
