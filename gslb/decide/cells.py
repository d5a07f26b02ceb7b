"""Cells: the smallest parts of a pool's demand that can be told apart.  Pure.

A cell is one (policy, record type, ranking).  Its home is the first pool of its order that has the type, whether that pool
is usable or not: so a cell belongs to one pool as long as configuration and geography do not change, and only its home
sheds it.  Nobody is moved twice.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gslb.decide.order import Reach, order, ranked
from gslb.model.deployment import Policy, PolicyId, PoolId
from gslb.model.location import Catchment, Ranking

Key = tuple[PolicyId, int, int]


@dataclass(frozen=True, eq=False)
class Ground:
    """One policy and record type: how its clients are ordered, what they ask, and which pools the steps left.

    `usable` pools are answered; `receiving` are those of them that may be given more.  `asked[ranking]` is in one unit for
    all policies; `catchments` is empty where distances are not known.  `resting`: all is down, nobody knows who could answer,
    and what was moved waits as it is for that to end.
    """

    policy: Policy
    rtype: int
    rankings: Sequence[Ranking]
    catchments: Sequence[Catchment]
    asked: Sequence[float]
    reach: Reach
    usable: frozenset[PoolId]
    receiving: frozenset[PoolId]
    resting: bool = False

    @cached_property
    def having(self) -> frozenset[PoolId]:
        """The pools that have the type."""
        return self.reach.pools

    def home(self, ranking: Ranking) -> PoolId:
        """The first pool in the order of these clients.  There is one, since some pool is usable."""
        for pool in ranked(ranking, self.rtype):
            if pool in self.having:
                return pool
        return next(
            filter(self.having.__contains__, order(self.policy.rules[ranking.rule], ranking, self.rtype, self.reach))
        )

    def receivers(self, ranking: Ranking) -> tuple[PoolId, ...]:
        """Where these clients may be shed to, in order: the other pools of their rule, then the spill targets.

        Where no pool of the rule has the type, other pools of the policy are their home, and receive them.
        """
        home = self.home(ranking)
        rule = self.policy.rules[ranking.rule]
        if home in rule.pools:
            tried = dict.fromkeys((*ranked(ranking, self.rtype), *rule.pools, *self.reach.spill))
        else:
            tried = dict.fromkeys(order(rule, ranking, self.rtype, self.reach))
        return tuple(pool for pool in tried if pool in self.receiving and pool != home)

    def refuges(self, ranking: Ranking) -> tuple[PoolId, ...]:
        """Where these clients go whose home is out, whatever it carries: their receivers, or else any pool that is usable."""
        tried = dict.fromkeys(order(self.policy.rules[ranking.rule], ranking, self.rtype, self.reach))
        left = tuple(pool for pool in tried if pool in self.usable)
        return self.receivers(ranking) or left[:1]


@dataclass(frozen=True, eq=False)
class Cell:
    """What the clients of one ranking ask of their home; `out`: that does not answer them, so all must go elsewhere."""

    ground: Ground
    ranking: int
    weight: float
    out: bool

    @property
    def bound(self) -> bool:
        """Whether what is moved of it cannot go home."""
        return self.out or self.ground.resting

    @property
    def key(self) -> Key:
        """What names it in a plan."""
        return self.ground.policy.name, self.ground.rtype, self.ranking

    @cached_property
    def receivers(self) -> tuple[PoolId, ...]:
        """Where it may be shed to, in order."""
        return self.ground.receivers(self.ground.rankings[self.ranking])

    @cached_property
    def refuges(self) -> tuple[PoolId, ...]:
        """Where it goes when nowhere is room."""
        return self.ground.refuges(self.ground.rankings[self.ranking])

    @cached_property
    def harm(self) -> tuple[bool, float, PolicyId, int, int]:
        """The order in which cells are shed: by the kilometres that their clients lose, then those where they are unknown."""
        lost = self._lost_km()
        return lost is None, lost or 0.0, self.ground.policy.name, self.ranking, self.ground.rtype

    def _lost_km(self) -> float | None:
        if not self.ground.catchments or not self.receivers:
            return None
        km = self.ground.catchments[self.ranking].km
        near, far = km.get(self.ground.home(self.ground.rankings[self.ranking])), km.get(self.receivers[0])
        return None if near is None or far is None else far - near


def cells_of(grounds: Iterable[Ground], homes: Container[PoolId]) -> Mapping[PoolId, Sequence[Cell]]:
    """The cells of some pools, by home."""
    found: dict[PoolId, list[Cell]] = {}
    for ground in grounds:
        for home, index in _homes(ground):
            if home in homes:
                out = home not in ground.usable
                found.setdefault(home, []).append(Cell(ground, index, ground.asked[index], out))
    return found


def out_of(grounds: Iterable[Ground]) -> frozenset[PoolId]:
    """The pools that are not in the answers of some policy that would try them."""
    return frozenset(pool for ground in grounds for pool in ground.having - ground.usable)


def _homes(ground: Ground) -> Iterator[tuple[PoolId, int]]:
    having, rtype = ground.having, ground.rtype
    for index, ranking in enumerate(ground.rankings):
        first = ranked(ranking, rtype)
        yield (first[0] if first and first[0] in having else ground.home(ranking)), index
