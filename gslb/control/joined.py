"""Loads, demand and round trips of the whole deployment, from what each node knows of them.  Pure; times are monotonic.

Rule 1: a load that balancers count is the sum over the living nodes of the pool's own site; any other is the freshest that a
node knows.  Where nobody tells it any more the last one stays, and becomes stale.
Rule 2: demand is the sum over all nodes that use the same location table.
Rule 3: round trips to a pool are those that its own site measures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gslb.bus.messages import SharedLoad
from gslb.bus.peers import Asked, Carried, mean_of
from gslb.config.read_pools import Source
from gslb.control.demand import HEAVY_MAX
from gslb.control.loads import STALE_AFTER_S
from gslb.model.deployment import Deployment, NodeId, PoolId, SiteId
from gslb.model.world import Demand, Load, Rtt, Rtts

Others = Mapping[PoolId, Sequence[Carried]]


@dataclass(frozen=True, slots=True)
class Home:
    """This node's deployment and site, and the other nodes that are alive."""

    deployment: Deployment
    site: SiteId
    living: Collection[NodeId]


@dataclass(frozen=True, slots=True)
class _Known:
    share: float
    at: float


class JoinedLoads:
    """The loads of a deployment's pools, and the last of those that nobody tells any more."""

    def __init__(self) -> None:
        self._known: dict[PoolId, _Known] = {}

    def join(self, at_home: Home, own: Mapping[PoolId, Load], others: Others, now: float) -> dict[PoolId, Load]:
        """The loads at `now`; `own` are those that this node knows, `others` what other nodes tell."""
        pools = at_home.deployment.pools
        self._known = {pool: one for pool, one in self._known.items() if pool in pools}
        found: dict[PoolId, Load] = {}
        for name, pool in pools.items():
            if pool.load is None:
                continue
            stale_s = STALE_AFTER_S[pool.load.kind]
            if pool.load.kind == Source.BALANCER:
                new = _summed(pool.datacenter, at_home, own.get(name), others.get(name, ()))
            else:
                new = _freshest(own.get(name), others.get(name, ()), self._known.get(name), now)
            known = self._known.get(name)
            if new is not None:
                known = self._known[name] = _Known(new.share, now - new.age_s)
            if known is not None:
                age_s = max(0.0, now - known.at)
                found[name] = Load(known.share, age_s, age_s > stale_s)
        return found


def _summed(pool_site: SiteId, at_home: Home, mine: Load | None, told: Iterable[Carried]) -> SharedLoad | None:
    """What the living nodes of the pool's site carry together: as old as the oldest part."""
    parts = [one.load for one in told if one.load.part and one.site == pool_site and one.node in at_home.living]
    if mine is not None and pool_site == at_home.site and not mine.stale:
        parts.append(SharedLoad(mine.share, mine.age_s, part=True))
    if not parts:
        return None
    return SharedLoad(sum(one.share for one in parts), max(one.age_s for one in parts), part=False)


def _freshest(mine: Load | None, told: Iterable[Carried], known: _Known | None, now: float) -> SharedLoad | None:
    wholes = [one.load for one in told if not one.load.part]
    if mine is not None:
        wholes.append(SharedLoad(mine.share, mine.age_s, part=False))
    if known is not None:
        wholes.append(SharedLoad(known.share, now - known.at, part=False))
    return min(wholes, key=lambda one: (one.age_s, one.share), default=None)


def told_loads(deployment: Deployment, own: Mapping[PoolId, Load]) -> dict[PoolId, SharedLoad]:
    """What this node tells of loads."""
    return {
        name: SharedLoad(load.share, load.age_s, part=source.kind == Source.BALANCER)
        for name, load in own.items()
        if not load.stale and name in deployment.pools and (source := deployment.pools[name].load) is not None
    }


def joined_demand(own: Demand, others: Iterable[Asked]) -> Demand:
    """The sum; of vectors of another length than the first nothing is taken."""
    found: dict[object, dict[int, tuple[float, ...]]] = {}
    for demand in (own, *(one.demand for one in others)):
        for policy, by_type in demand.items():
            rows = found.setdefault(policy, {})
            for rtype, row in by_type.items():
                known = rows.get(rtype)
                if known is None:
                    rows[rtype] = tuple(row)
                elif len(known) == len(row):
                    rows[rtype] = tuple(map(sum, zip(known, row, strict=True)))
    return found  # type: ignore[return-value]


def joined_heavy(own: Iterable[str], others: Iterable[Asked]) -> tuple[str, ...]:
    """All that any node finds heavy, bounded."""
    found = {*own, *(address for one in others for address in one.heavy)}
    return tuple(sorted(found)[:HEAVY_MAX])


def joined_rtts(deployment: Deployment, site: SiteId, own: Rtts, others: Mapping[SiteId, Rtts]) -> Rtts:
    """Round trips to each pool by its own site; of several nodes the mean, by their counts."""
    found: dict[PoolId, Mapping[tuple[int, int], Rtt]] = {}
    for name, pool in deployment.pools.items():
        mine = own.get(name, {}) if pool.datacenter == site else {}
        told = others.get(pool.datacenter, {}).get(name, {})
        joined = {
            where: mean_of(mine[where], told[where])
            if where in mine and where in told
            else mine.get(where) or told[where]
            for where in dict.fromkeys((*mine, *told))
        }
        if joined:
            found[name] = joined
    return found
