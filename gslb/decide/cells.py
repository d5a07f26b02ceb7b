"""Cells: the smallest parts of a pool's demand that can be told apart.  Pure.

A cell is one (policy, record type, ranking).  Its home is the first pool of its order that has the type, whether that pool
is usable or not: so a cell belongs to one pool as long as configuration and geography do not change, and only its home
sheds it.  Nobody is moved twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from gslb.decide.order import order
from gslb.decide.routes import KEPT, Routes, Same, same
from gslb.model.deployment import PolicyId, PoolId, View
from gslb.model.history import part_of

_MOST = 4 * KEPT  # a policy may have a part for each continent

Key = tuple[PolicyId, int, int]


@dataclass(frozen=True, eq=False)
class Ground:
    """One part of a policy (gslb.decide.parts) and record type: how its clients are ordered, what they ask, and which pools the
    steps left.

    Of a policy of `view: regional` it holds the rankings of one `continent` only.  `usable` pools are answered; those that may be given more are the `receiving` of the routes.  `asked[ranking]` is in one unit
    for all policies.  `resting`: all is down, nobody knows who could answer, and what was moved waits as it is for that to end.
    """

    routes: Routes
    continent: str
    asked: tuple[float, ...]
    usable: frozenset[PoolId]
    resting: bool
    _cells: dict[PoolId, tuple[Cell, ...]] = field(default_factory=dict)

    @cached_property
    def name(self) -> tuple[PolicyId, int]:
        """The part, by its name in the history, and the record type."""
        return part_of(self.routes.policy.name, self.continent), self.routes.rtype

    @cached_property
    def out(self) -> frozenset[PoolId]:
        """The pools that have the type and are not answered."""
        return self.routes.reach.pools - self.usable

    def cells(self, home: PoolId) -> tuple[Cell, ...]:
        """The cells of one home."""
        found = self._cells.get(home)
        if found is None:
            out = home in self.out
            policy, rtype = self.routes.policy.name, self.routes.rtype
            found = tuple(
                Cell(self, place, self.asked[place], out, (policy, rtype, place)) for place in self._at_home(home)
            )
            self._cells[home] = found
        return found

    def _at_home(self, home: PoolId) -> Sequence[int]:
        """The rankings of its clients whose home is this pool."""
        places = self.routes.at_home.get(home, ())
        if self.routes.policy.view is not View.REGIONAL:
            return places
        return [place for place in places if self.routes.rankings[place].continent == self.continent]

    def refuges(self, index: int) -> tuple[PoolId, ...]:
        """Where these clients go whose home is out, whatever it carries: their receivers, or else any pool that is usable."""
        routes = self.routes
        receivers = routes.receivers(index)
        if receivers:
            return receivers
        ranking = routes.rankings[index]
        tried = order(routes.policy.rules[ranking.rule], ranking, routes.rtype, routes.reach)
        return next(((pool,) for pool in tried if pool in self.usable), ())


@dataclass(frozen=True, eq=False, slots=True)
class Cell:
    """What the clients of one ranking ask of their home; `out`: that does not answer them, so all must go elsewhere.

    `key` names it in a plan.
    """

    ground: Ground
    ranking: int
    weight: float
    out: bool
    key: Key

    @property
    def bound(self) -> bool:
        """Whether what is moved of it cannot go home."""
        return self.out or self.ground.resting

    @property
    def receivers(self) -> tuple[PoolId, ...]:
        """Where it may be shed to, in order."""
        return self.ground.routes.receivers(self.ranking)

    @property
    def refuges(self) -> tuple[PoolId, ...]:
        """Where it goes when nowhere is room."""
        return self.ground.refuges(self.ranking)

    @property
    def harm(self) -> tuple[bool, float, PolicyId, int, int]:
        """The order in which cells are shed: by the kilometres that their clients lose, then those where they are unknown."""
        lost, (policy, rtype, ranking) = self.ground.routes.lost_km(self.ranking), self.key
        return lost is None, lost or 0.0, policy, ranking, rtype


def ground_of(
    routes: Routes, continent: str, asked: tuple[float, ...], usable: frozenset[PoolId], *, resting: bool
) -> Ground:
    """The ground, which is the same one as long as nothing of it changes."""
    return _ground(same(routes), continent, asked, usable, resting)


@lru_cache(maxsize=_MOST)
def _ground(
    routes: Same[Routes],
    continent: str,
    asked: tuple[float, ...],
    usable: frozenset[PoolId],
    resting: bool,  # noqa: FBT001  lru_cache
) -> Ground:
    return Ground(routes.value, continent, asked, usable, resting)


def cells_of(grounds: Collection[Ground], homes: Collection[PoolId]) -> Mapping[PoolId, Sequence[Cell]]:
    """The cells of some pools, by home, in the order of policies, record types and rankings."""
    found: dict[PoolId, list[Cell]] = {}
    for ground in grounds:
        for home in ground.routes.at_home:
            if home in homes and (own := ground.cells(home)):
                found.setdefault(home, []).extend(own)
    if any(ground.continent for ground in grounds):
        for cells in found.values():
            cells.sort(key=lambda cell: cell.key)
    return found


def out_of(grounds: Iterable[Ground]) -> frozenset[PoolId]:
    """The pools that are not in the answers of some policy that would try them."""
    return frozenset().union(*(ground.out for ground in grounds))
