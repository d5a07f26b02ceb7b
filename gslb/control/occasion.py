"""Whether a look at loads and counts is an occasion to decide.  Pure; times are monotonic.

A decision at the size of the budget takes a good part of a tenth of a second, so a node at rest does not decide at every look.

Rule 1: while anything is in motion (a pool sheds, is out or kept, a target is ejected, a load is above its soft mark), always.
Rule 2: at rest, when a load came above or below a mark, became known or stale; and every REST_S all the same.
Demand and heavy resolvers only say how sheds are made up, so at rest nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping

from gslb.decide.levels import marks_of
from gslb.model.deployment import Deployment, PoolId
from gslb.model.history import History
from gslb.model.world import Load

REST_S = 10.0

Sign = tuple[PoolId, bool, bool, bool]  # above soft, above hard, stale
Signs = frozenset[Sign]


def signs_of(deployment: Deployment, loads: Mapping[PoolId, Load]) -> Signs:
    """What of the loads a decision at rest depends on."""
    found = set()
    for name, load in loads.items():
        pool = deployment.pools.get(name)
        if pool is not None and pool.capacity is not None:
            marks = marks_of(pool.capacity)
            found.add((name, load.share > marks.soft, load.share > marks.hard, load.stale))
    return frozenset(found)


class Occasions:
    """Remembers the last decision."""

    def __init__(self) -> None:
        self._last: tuple[float, Signs] | None = None

    def decided(self, now: float, signs: Signs) -> None:
        """There was a decision."""
        self._last = now, signs

    def arises(self, now: float, signs: Signs, history: History) -> bool:
        """Whether to decide now; `history` is that of the plan in force."""
        if self._last is None:
            return True
        at, before = self._last
        moving = history.sheds or history.out or history.kept or history.ejected
        full = any(above_soft for _, above_soft, _, _ in signs)
        return bool(moving) or full or signs != before or now - at >= REST_S
