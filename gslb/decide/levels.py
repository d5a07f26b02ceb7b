"""How much of its demand a pool should shed, and how fast it may get there.  Pure.

The law.  Of a demand D (1.0 = capacity) above `soft` a pool keeps

    kept(D) = hard - (hard - soft) * soft / D

which is `soft` at D = soft and tends to `hard` however great D becomes.  So a pool that follows it rests between its marks,
nearer to `hard` the more is asked of it.  Demand is not measured; it is told from the load that is left: under the level s
a pool's own clients leave the load L = (1 - s) D.  Where clients are slow to follow, or ignore TTLs, this takes D for
greater than it is, but a rest is where L = kept(...), and that is between the marks whatever error D has.

The pace.  DNS answers live for one TTL, so what a step does is not seen before: after each step a pool dwells for the longest TTL
of its policies.  A step moves at most `step` (outward) or `recover` (back) for the time since the last one.  At `hard` the
limit of a step outward is lifted, and the dwell is not: without it each look at the old load would step again.  Differences
smaller than a band are noise.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gslb.decide.erlang import soft_mark
from gslb.model.choice import CHOICE_SLOTS
from gslb.model.deployment import Capacity, Policy

BAND = 0.02  # of the demand: what is not worth a step outward, with loads that are measured to a few percent; back, twice that
LONGEST = 2  # dwells: what a step may catch up with at most
_LEAST_KEPT = 0.02  # a load is told as a demand by division by what is kept, at least this
_SLOT = 1 / CHOICE_SLOTS


@dataclass(frozen=True, slots=True)
class Marks:
    """Loads, as shares of capacity: a pool sheds from `soft`, and never rests at `hard`."""

    soft: float
    hard: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a level may change: shares of the demand per second, and how long it rests between two steps."""

    step_per_s: float
    recover_per_s: float
    dwell_s: float


def marks_of(capacity: Capacity) -> Marks:
    """The marks of a pool; `soft: auto` by Erlang C, where `servers` are given."""
    soft = capacity.soft
    if soft is None:
        soft = soft_mark(capacity.servers or 1, capacity.hard)
    return Marks(soft, capacity.hard)


def pace_of(policies: Collection[Policy]) -> Pace:
    """The pace of a pool that these policies use: the slowest of theirs.  There is at least one."""
    return Pace(
        step_per_s=min(policy.spill.step_per_s for policy in policies),
        recover_per_s=min(policy.spill.recover_per_s for policy in policies),
        dwell_s=float(max(policy.ttl_max for policy in policies)),
    )


def own_demand(load: float, guests: float, level: float) -> float:
    """What a pool's own clients would bring if none were shed: the load without guests, and what the level keeps away."""
    return max(0.0, load - guests) / max(_LEAST_KEPT, 1.0 - level)


def kept(demand: float, marks: Marks) -> float:
    """The load that is kept of a demand."""
    if demand <= marks.soft:
        return demand
    return marks.hard - (marks.hard - marks.soft) * marks.soft / demand


def wanted(own: float, staying: float, marks: Marks) -> float:
    """The share of the `own` demand to shed beside guests that cannot go elsewhere; below 0 where there is room for more."""
    if own <= 0.0:
        return 0.0 if staying > marks.soft else -1.0
    demand = own + staying
    surplus = demand - kept(demand, marks) if demand > marks.soft else demand - marks.soft
    return max(-1.0, min(1.0, surplus / own))


def next_level(level: float, aim: float, elapsed_s: float, pace: Pace, *, lifted: bool) -> float:
    """The level after a step towards `aim`; `level` itself where it is not time, or not worth it.

    `elapsed_s` is the time since the last step; `lifted` where the load has reached `hard`.
    """
    if elapsed_s < pace.dwell_s:
        return level
    if aim > level + BAND:
        return aim if lifted else min(aim, level + _limit(pace.step_per_s, elapsed_s, pace.dwell_s))
    if aim < level - 2 * BAND or aim < -BAND:
        return max(0.0, aim, level - _limit(pace.recover_per_s, elapsed_s, pace.dwell_s))
    return level


def _limit(rate: float, elapsed_s: float, dwell_s: float) -> float:
    """What a step may move.  A rate that does not move one slot in two dwells may wait until it does."""
    return max(rate * min(elapsed_s, LONGEST * dwell_s), min(rate * elapsed_s, _SLOT))
