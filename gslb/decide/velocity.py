"""How much may leave at once by automatic decisions.  Pure.

At most `velocity` of a policy's capacity leaves within WINDOW_S, so that evidence that is wrong everywhere at once (a bad
check, a health checker in trouble) does not empty a service.  What may not leave is answered as before; the oldest
failure leaves first, and the next when the window has passed.

Rule 1: capacity is that of the pools that the policy's rules name: connections per second or servers where all of them
have it in one unit, else each pool counts the same.
Rule 2: what has left counts for WINDOW_S from when it left, for as long as it stays out; if it comes back gradually, for
WINDOW_S from when it began to.
Rule 3: double evidence is believed: such a pool leaves, and does not count.
Rule 4: a single dead site leaves while another pool has room, whatever its share.
Rule 5: whatever its share, a pool that has failed for a whole window leaves when no other has left within it: so
nothing dead is kept for ever.

A pool of which a part fails (above `panic`) loses that part only, and is not limited here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gslb.model.deployment import Pool, PoolId, SiteId

WINDOW_S = 60.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Leaver:
    """A pool that is to leave a policy: since when it fails, and its part of the policy's capacity.

    `answered`: the plan in force answers it, so that there is something to keep.  `doubly`: the evidence is double.
    `site_dead`: none of the policy's pools at its site is left.
    """

    since: float
    pool: PoolId
    site: SiteId
    part: float
    answered: bool
    doubly: bool
    site_dead: bool


@dataclass(frozen=True, slots=True)
class Spent:
    """What has left a policy within the window: the part of its capacity, and from which sites."""

    part: float
    sites: frozenset[SiteId]


def parts_of(pools: Iterable[Pool]) -> Mapping[PoolId, float]:
    """Each pool's part of the capacity of them all."""
    of = tuple(pools)
    amounts = [pool.capacity.conns_per_s if pool.capacity else None for pool in of]
    if not all(amounts):
        amounts = [pool.capacity.servers if pool.capacity else None for pool in of]
    weights = [float(amount or 0) for amount in amounts] if all(amounts) else [1.0] * len(of)
    total = sum(weights)
    return {pool.name: weight / total for pool, weight in zip(of, weights, strict=True)}


def kept_back(leavers: Iterable[Leaver], spent: Spent, velocity: float, now: float, *, room: bool) -> frozenset[PoolId]:
    """The pools that may not leave yet; `room`: a pool that stays has headroom."""
    part, sites = spent.part, spent.sites
    kept = set()
    for leaver in sorted(leavers, key=lambda one: (one.since, one.pool)):
        if leaver.doubly:
            continue
        alone = leaver.site_dead and room and sites <= {leaver.site}
        waited = not sites and now - leaver.since >= WINDOW_S
        if fits(part + leaver.part, velocity) or alone or waited or not leaver.answered:
            part += leaver.part
            sites |= {leaver.site}
        else:
            kept.add(leaver.pool)
    return frozenset(kept)


def fits(part: float, velocity: float) -> bool:
    """Whether this part of the capacity may leave within the window."""
    return part <= velocity + _ROUNDING
