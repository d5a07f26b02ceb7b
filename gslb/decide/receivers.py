"""What pools can still take of what others shed.  Pure.

A receiver is filled up to its own soft mark.  What it carries is what it measures, and what steps of the last dwell sent there
on top, since that is not in its load yet.  One without a capacity is not bound.  One with a capacity whose load nobody
measures carries what we send it; one whose load is stale is sent nothing more, since what we sent since is not in it.
Loads of different pools compare by what they can carry where that is in one unit, else share for share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gslb.decide.levels import BAND, Marks, marks_of
from gslb.model.deployment import Capacity, Deployment, Pool, PoolId
from gslb.model.world import Load

_HUGE = 1e3  # a load beyond a thousand capacities is no more than that


@dataclass(frozen=True, slots=True)
class Carrying:
    """What is known of the load of a pool that has a capacity: its marks, and what it measures (None: nothing)."""

    marks: Marks
    share: float | None
    stale: bool

    @property
    def measured(self) -> bool:
        """Whether there is a load, and a fresh one."""
        return self.share is not None and not self.stale


@dataclass(slots=True)
class Rooms:
    """The room that is left at each pool while sheds are worked out, one after the other.

    `coming` is what is on its way to a pool and `leaving` what is on its way from it, as shares of its capacity; `sent` is what
    a pool without measured load gets from all that shed.  A `closed` pool sheds itself.
    """

    model: Deployment
    carrying: Mapping[PoolId, Carrying]
    coming: dict[PoolId, float] = field(default_factory=dict)
    leaving: dict[PoolId, float] = field(default_factory=dict)
    sent: dict[PoolId, float] = field(default_factory=dict)
    closed: set[PoolId] = field(default_factory=set)

    def room(self, pool: PoolId) -> float:
        """The share of its capacity that the pool may still be given; infinite where its capacity is not known."""
        if pool in self.closed:
            return 0.0
        known = self.carrying.get(pool)
        if known is None:
            return math.inf
        if known.stale:
            return 0.0
        carried = self.sent.get(pool, 0.0) if known.share is None else known.share + self.coming.get(pool, 0.0)
        return max(0.0, known.marks.soft - carried)

    def book(self, pool: PoolId, share: float) -> None:
        """`share` of the pool's capacity is sent to it, or with a minus taken back."""
        way = self.coming if share > 0 else self.leaving
        way[pool] = way.get(pool, 0.0) + share
        self.sent[pool] = self.sent.get(pool, 0.0) + share

    def excess(self, pool: PoolId, *, hard: bool) -> float:
        """How far the pool will be above its soft mark, once it is noticeably above, or (`hard`) has reached its hard mark."""
        known = self.carrying.get(pool)
        if known is None or known.share is None or known.stale:
            return 0.0
        left = known.share + self.leaving.get(pool, 0.0)
        mark = known.marks.hard if hard else known.marks.soft + BAND
        return left - known.marks.soft if left >= mark else 0.0


def carrying_of(model: Deployment, loads: Mapping[PoolId, Load]) -> Mapping[PoolId, Carrying]:
    """What is known of the pools that have a capacity.  A load that is no number, or below 0, is none."""
    return {name: _carrying(pool.capacity, loads.get(name)) for name, pool in model.pools.items() if pool.capacity}


def ratio(giver: Pool, receiver: Pool) -> float:
    """How much of the receiver's capacity the giver's whole capacity is."""
    give, take = giver.capacity or Capacity(), receiver.capacity or Capacity()
    if give.conns_per_s and take.conns_per_s:
        return give.conns_per_s / take.conns_per_s
    if give.servers and take.servers:
        return give.servers / take.servers
    return 1.0


def proportions(pools: Sequence[Pool]) -> Sequence[float]:
    """How to divide among pools what none of them has room for: by capacity, or all to the first whose capacity is unknown."""
    unknown = next((place for place, pool in enumerate(pools) if pool.capacity is None), None)
    if unknown is not None:
        return [float(place == unknown) for place in range(len(pools))]
    return [ratio(pool, pools[0]) for pool in pools]


def _carrying(capacity: Capacity, load: Load | None) -> Carrying:
    marks = marks_of(capacity)
    if load is None or not load.share >= 0.0:  # NaN too
        return Carrying(marks, None, stale=False)
    return Carrying(marks, min(load.share, _HUGE), load.stale)
