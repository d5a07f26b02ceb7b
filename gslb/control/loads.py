"""What is known of each pool's load: readings of pages, reports, and the balancer's counts become `World.loads`.  No IO, no clock.

Rule 1: a reading that is no number from 0 to `loadpage.MOST`, or that is older than one that was taken, changes nothing.
Rule 2: readings are damped: an exponentially weighted mean with time constant DAMPING_S, whose first value is taken as is,
and in which one reading counts for at most CLIPPED times the pool's capacity.
Rule 3: a load that nothing renews keeps its last value, and is marked stale (DESIGN: Spill).
`now` is a monotonic time in seconds everywhere here; where it goes back all the same, ages are 0 and nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gslb.config.problem import one_of
from gslb.config.read_pools import Source
from gslb.model.deployment import Capacity, Deployment, PoolId
from gslb.model.loadpage import Unreadable, load_value
from gslb.model.world import Load

DAMPING_S = 10.0
CLIPPED = 10.0  # times the capacity: fuller is not told apart, and is forgotten within a minute
AHEAD_S = 5.0  # of the node's clock: how wrong a reporter's may be
_MILLISECONDS = 100  # times the present: no clock is wrong by centuries
PAGE = "url"  # LoadSource.kind of a page
STALE_AFTER_S: Mapping[str, float] = {PAGE: 15.0, Source.PUSH: 60.0, Source.BALANCER: 15.0}  # three periods


class BadLoad(ValueError):
    """A reading was refused; the text says why, for the one who sent it."""


@dataclass(slots=True)
class _Wanted:
    """A pool whose load is to be known, and what is known of it."""

    source: str
    capacity: float | None
    last: float | None = None  # the last reading itself
    value: float = 0.0  # damped
    at: float = 0.0  # when the last reading was taken
    reported_at: float | None = None  # by the clock of the one who reports
    error: str = ""

    def age_s(self, now: float) -> float:
        return max(now - self.at, 0.0)

    def stale(self, now: float) -> bool:
        return self.age_s(now) > STALE_AFTER_S[self.source]

    def share(self) -> float | None:
        return None if self.capacity is None else self.value / self.capacity

    def take(self, reading: float, now: float) -> None:
        clipped = reading if self.capacity is None else min(reading, CLIPPED * self.capacity)
        weight = 1.0 if self.last is None else 1 - math.exp(-max(now - self.at, 0.0) / DAMPING_S)
        self.value += weight * (clipped - self.value)
        self.last = reading
        self.at = now
        self.error = ""


class Loads:
    """The loads of one deployment's pools: as many entries as there are pools that say where their load is read."""

    def __init__(self) -> None:
        self._pools: frozenset[PoolId] = frozenset()
        self._wanted: dict[PoolId, _Wanted] = {}

    def want(self, deployment: Deployment) -> None:
        """Know the loads of this deployment's pools; what is known of a pool stays while its source is of the same kind."""
        before = self._wanted
        self._pools = frozenset(deployment.pools)
        self._wanted = {}
        for pool in deployment.pools.values():
            if pool.load is not None:
                known = before.get(pool.name)
                if known is None or known.source != pool.load.kind:
                    known = _Wanted(pool.load.kind, None)
                known.capacity = capacity_of(pool.capacity)
                self._wanted[pool.name] = known

    def restore(self, loads: Mapping[PoolId, Load], now: float) -> None:
        """Begin with what an earlier run knew, where nothing newer is known; call it after `want`."""
        for pool, load in loads.items():
            known = self._wanted.get(pool)
            if known is None or known.last is not None or known.capacity is None:
                continue
            if math.isfinite(load.share) and load.share >= 0 and math.isfinite(load.age_s):
                known.take(load.share * known.capacity, now - max(load.age_s, 0.0))

    def scraped(self, pool: PoolId, value: object, now: float) -> None:
        """A page's value, read at `now`; one that is bad becomes the pool's error.  Pools without a page are passed over."""
        self._observed(pool, PAGE, value, now)

    def counted(self, pool: PoolId, value: object, now: float) -> None:
        """What the balancer counted: new connections per second (or those open, for a capacity in servers)."""
        self._observed(pool, Source.BALANCER, value, now)

    def failed(self, pool: PoolId, why: str) -> bool:
        """A reading failed.  True where the pool's error is another than before, so that it can be told once."""
        known = self._wanted.get(pool)
        if known is None or known.error == why:
            return False
        known.error = why
        return True

    def pushed(self, pool: PoolId, value: object, now: float, at: object = None, wall: float = math.inf) -> None:
        """A report that came at `now`; `at` is its time by the reporter's own clock, in seconds since the epoch, and `wall`
        the node's own such time.

        Raises BadLoad: no such pool, not a pool that takes reports, no load, a report from more than AHEAD_S in the future
        (it would shut out those that follow), or an older report than the last.  Once the last report is stale any older
        time will do, so that a clock which once was ahead does not shut its owner out.
        """
        known = self._reporting(pool)
        try:
            reading = load_value(value)
        except Unreadable as error:
            known.error = str(error)
            raise BadLoad(f"load of {pool}: {error}") from error
        if at is not None:
            if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at):
                raise BadLoad(f"load of {pool}: time {at!r} is none - expected seconds")
            if at > wall + AHEAD_S:
                known.error = _ahead(at, wall)
                raise BadLoad(f"load of {pool}: {known.error}")
            if known.reported_at is not None and at < known.reported_at and not known.stale(now):
                known.error = f"a report goes back in time by {known.reported_at - at:g} s"
                raise BadLoad(f"load of {pool}: {known.error} - the newer one is kept")
            known.reported_at = float(at)
        known.take(reading, now)

    def world(self, now: float) -> dict[PoolId, Load]:
        """The loads that are known as shares of capacity."""
        return {
            pool: Load(share, known.age_s(now), known.stale(now))
            for pool, known in self._wanted.items()
            if known.last is not None and (share := known.share()) is not None
        }

    def state(self, now: float) -> dict[PoolId, dict[str, object]]:
        """All that is known, for status: values in the unit of the source, times in seconds; `age_s` None before a reading."""
        return {
            pool: {
                "source": known.source,
                "value": known.value if known.last is not None else None,
                "last": known.last,
                "share": known.share() if known.last is not None else None,
                "age_s": known.age_s(now) if known.last is not None else None,
                "stale": known.last is None or known.stale(now),
                "error": known.error,
            }
            for pool, known in self._wanted.items()
        }

    def _observed(self, pool: PoolId, source: str, value: object, now: float) -> None:
        known = self._wanted.get(pool)
        if known is None or known.source != source or (known.last is not None and known.at == now):
            return  # the pool is gone from the configuration, or the reading was taken already
        try:
            known.take(load_value(value), now)
        except Unreadable as error:
            known.error = str(error)

    def _reporting(self, pool: PoolId) -> _Wanted:
        if pool not in self._pools:
            raise BadLoad(f"no pool {pool[:63]!r} - {one_of(sorted(self._pools), pool)}")
        known = self._wanted.get(pool)
        if known is None or known.source != Source.PUSH:
            source = "no source" if known is None else known.source
            raise BadLoad(f"pool {pool} takes no reports: its load is from {source} - expected load: {{from: push}}")
        return known


def _ahead(at: float, wall: float) -> str:
    likely = "is it in milliseconds?" if at > _MILLISECONDS * wall else "is the reporter's clock right?"
    return (
        f"time {at:.15g} is {at - wall:.10g} s ahead of this node's clock - expected seconds since the epoch; {likely}"
    )


def capacity_of(capacity: Capacity | None) -> float | None:
    """What a load is a share of: connections per second, or servers where only they are given."""
    if capacity is None:
        return None
    return capacity.conns_per_s or (float(capacity.servers) if capacity.servers else None)
