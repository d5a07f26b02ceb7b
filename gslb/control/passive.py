"""What the balancer's counts and handshakes say of pools: load, zombies, round trips, rates.  Pure.

Rule 1: what is kept is bounded by the deployment: what a pulse says of other pools and backends is dropped.
Rule 2: no pulse is an error: one that says nothing sensible leaves what was known.
`now` is a monotonic time in seconds everywhere here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gslb.control.rates import Rates, active_state
from gslb.control.roundtrips import Roundtrips, Spread
from gslb.control.zombies import LONGEST_S, Zombies
from gslb.model.deployment import Deployment, PoolId, SiteId
from gslb.model.world import Rtts
from xdp.active import total
from xdp.messages import Count, Estimate, Handshakes, Pulse

FRESH_S = 3.0  # after so long a pulse says nothing of the present

Active = Mapping[str, Mapping[str, Estimate]]
ClassOf = Callable[[str], tuple[int, int] | None]  # an address -> its family and location class


@dataclass(frozen=True, slots=True)
class PassiveFigures:
    """Numbers for metrics: round trips by (pool, address family), SYNs sent again by (pool, backend), 0..1."""

    spreads: Mapping[tuple[PoolId, int], Spread] = field(default_factory=dict)
    ratios: Mapping[tuple[PoolId, str], float] = field(default_factory=dict)


class Passive:
    """What is known from the balancer of one node."""

    def __init__(self) -> None:
        self._pools: dict[PoolId, frozenset[str]] = {}
        self._class_of: ClassOf = _nowhere
        self._classes = ""
        self._rates = Rates()
        self._zombies = Zombies()
        self._roundtrips = Roundtrips()
        self._taken_at: float | None = None
        self._active: tuple[Active, Active] = {}, {}  # by VIP, by backend

    def want(self, deployment: Deployment, site: SiteId, class_of: ClassOf, classes: str) -> None:
        """Know the balanced pools of this site from now on.

        `class_of` tells the location class of a client's network, `classes` is the digest of its table: of classes of another
        table nothing is known any more.
        """
        self._pools = {
            pool.name: frozenset(str(one.address) for one in pool.balance.backends)
            for pool in deployment.pools.values()
            if pool.balance is not None and pool.datacenter == site
        }
        self._class_of = class_of
        if classes != self._classes:
            self._roundtrips.forget_classes()
        self._classes = classes
        self._roundtrips.keep(self._pools)

    def take(self, pulse: Pulse, now: float) -> bool:
        """Learn from a pulse; whether other backends stand out than before."""
        before = self._zombies.outliers
        self._rates.take(pulse)
        if self._rates.seconds:
            self._zombies.take(self._mine(self._rates.backends), now)
            self._taken_at = now
            self._active = pulse.active_vips, pulse.active_backends
        for one in pulse.handshakes:
            self._handshakes(one, now)
        self._roundtrips.sweep(now)
        return self._zombies.outliers != before

    def loads(self, now: float) -> dict[PoolId, float]:
        """New connections per second of each pool, where the last pulse tells them."""
        if not self._fresh(now):
            return {}
        return {pool: self._rates.loads[pool] for pool in self._pools if pool in self._rates.loads}

    def outliers(self, now: float) -> dict[PoolId, dict[str, str]]:
        """Backends that stand out, and how; nobody does for long without a pulse."""
        if self._taken_at is None or not 0 <= now - self._taken_at < LONGEST_S:
            return {}
        return {PoolId(pool): dict(found) for pool, found in self._zombies.outliers.items() if pool in self._pools}

    def rtts(self, now: float) -> Rtts:
        """Round trips by location class."""
        return self._roundtrips.rtts(now)

    def figures(self) -> PassiveFigures:
        """Numbers for metrics."""
        ratios = {
            (PoolId(pool), backend): ratio
            for pool, found in self._zombies.ratios.items()
            for backend, ratio in found.items()
        }
        return PassiveFigures(dict(self._roundtrips.spreads), ratios)

    def state(self, now: float) -> dict[str, Any]:
        """What is known of each pool, as JSON values; rates are per second, and absent where no pulse is fresh."""
        return {pool: self._pool(pool, now) for pool in self._pools}

    def _pool(self, pool: PoolId, now: float) -> dict[str, Any]:
        fresh = self._fresh(now)
        vips = self._rates.vips.get(pool, {}) if fresh else {}
        backends = self._rates.backends.get(pool, {}) if fresh else {}
        active = [found.get(pool, {}) if fresh else {} for found in self._active]
        ratios, outliers = self._zombies.ratios.get(pool, {}), self._zombies.outliers.get(pool, {})
        rtts = {family: one.rtt(now) for (name, family), one in self._roundtrips.pools.items() if name == pool}
        return {
            "connections_per_s": self._rates.loads.get(pool) if fresh else None,
            "followed": self._rates.share if fresh else None,
            "rtt": {f"ipv{family}": asdict(rtt) for family, rtt in sorted(rtts.items())},
            **active_state(total(active[0].values()) if active[0] else None),
            "vips": {name: self._rate(count) | active_state(active[0].get(name)) for name, count in vips.items()},
            "backends": {
                name: self._rate(count)
                | active_state(active[1].get(name))
                | {"resent": ratios.get(name), "outlier": outliers.get(name, "")}
                for name, count in backends.items()
            },
        }

    def _rate(self, count: Count) -> dict[str, Any]:
        return {f"{name}_per_s": round(value, 1) for name, value in asdict(self._rates.rate(count)).items()}

    def _fresh(self, now: float) -> bool:
        return self._taken_at is not None and 0 <= now - self._taken_at < FRESH_S

    def _mine(self, counts: Mapping[str, Mapping[str, Count]]) -> dict[str, dict[str, Count]]:
        return {
            pool: {name: count for name, count in counts[pool].items() if name in backends}
            for pool, backends in self._pools.items()
            if pool in counts
        }

    def _handshakes(self, one: Handshakes, now: float) -> None:
        pool = PoolId(one.pool)
        if one.backend not in self._pools.get(pool, ()):
            return
        try:
            where = self._class_of(one.network)
        except ValueError:  # no address
            return
        if where is not None:
            self._roundtrips.take((pool, *where), one.backend, one.rtts_us, now)


def _nowhere(_: str) -> None:
    """Before any location table is known."""
