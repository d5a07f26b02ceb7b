"""Metrics of pools and their targets: health, load, shed shares, overrides.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from gslb.api.metric import counter, gauge
from gslb.control.changes import pool_state
from gslb.control.desk import Figures
from gslb.decide.levels import marks_of
from gslb.model.deployment import Deployment, PoolId
from gslb.model.history import History, policy_of
from gslb.model.world import Health, World

_POOL = ("site", "pool")
_TARGET = ("pool", "target")


def pool_metrics(model: Deployment, world: World, history: History, figures: Figures) -> Iterator[Metric]:
    """Everything that is known of pools now."""
    yield from _health(model, world, figures)
    yield from _loads(model, world)
    yield from _decisions(model, world, history)


def _health(model: Deployment, world: World, figures: Figures) -> Iterator[Metric]:
    found = {pool: world.verdicts[pool] for pool in model.pools if world.verdicts.get(pool)}
    up = {pool: float(pool_state(verdicts.values()) != "down") for pool, verdicts in found.items()}
    yield gauge("gslb_pool_up", "1 while a target of the pool passes its checks.", _POOL, _rows(model, up))
    targets = [(pool, address, verdict) for pool, verdicts in found.items() for address, verdict in verdicts.items()]
    rows = [((pool, address), float(verdict.health is Health.UP)) for pool, address, verdict in targets]
    yield gauge("gslb_target_up", "1 while the target passes its checks.", _TARGET, rows)
    rows = [((pool, address), verdict.age_s) for pool, address, verdict in targets]
    yield gauge("gslb_target_age_seconds", "Time since the target was checked.", _TARGET, rows)
    rows = [((pool, address), float(bool(verdict.outlier))) for pool, address, verdict in targets]
    yield gauge("gslb_target_outlier", "1 while the target stands out among its peers.", _TARGET, rows)
    latencies = [
        ((pool, address, str(quantile)), seconds)
        for (pool, address), quantiles in figures.latencies.items()
        for quantile, seconds in quantiles.items()
    ]
    what = "How long checks of the target take."
    yield gauge("gslb_check_latency_seconds", what, (*_TARGET, "quantile"), latencies)
    checks = [
        ((monitor, "passed" if passed else "failed"), float(count))
        for (monitor, passed), count in figures.checks.items()
    ]
    yield counter("gslb_checks_total", "Checks that were done.", ("monitor", "result"), checks)


def _loads(model: Deployment, world: World) -> Iterator[Metric]:
    loads = {pool: load for pool, load in world.loads.items() if pool in model.pools}
    share = {pool: load.share for pool, load in loads.items()}
    yield gauge("gslb_pool_load_ratio", "Load of the pool as a share of its capacity.", _POOL, _rows(model, share))
    stale = {pool: float(load.stale) for pool, load in loads.items()}
    what = "1 while that load is an old one, since nothing newer came in time."
    yield gauge("gslb_pool_load_stale", what, _POOL, _rows(model, stale))
    ages = {pool: load.age_s for pool, load in loads.items()}
    yield gauge("gslb_pool_load_age_seconds", "Time since the load was measured.", _POOL, _rows(model, ages))
    capacities = {name: pool.capacity for name, pool in model.pools.items() if pool.capacity is not None}
    soft = {pool: marks_of(capacity).soft for pool, capacity in capacities.items()}
    yield gauge("gslb_pool_soft_ratio", "Load from which the pool sheds.", _POOL, _rows(model, soft))
    hard = {pool: capacity.hard for pool, capacity in capacities.items()}
    yield gauge("gslb_pool_hard_ratio", "Load that the pool is to stay below.", _POOL, _rows(model, hard))


def _decisions(model: Deployment, world: World, history: History) -> Iterator[Metric]:
    shed = {pool: history.sheds[pool].level if pool in history.sheds else 0.0 for pool in model.pools}
    what = "Share of the pool's demand that others answer."
    yield gauge("gslb_pool_shed_ratio", what, _POOL, _rows(model, shed))
    policies = {(policy_of(name), pool) for name, pools in history.out.items() for pool in pools}
    out = {pool: float(sum(one == pool for _, one in policies)) for pool in model.pools}
    what = "Policies whose answers the pool is taken out of, for all clients or for those of a continent."
    yield gauge("gslb_pool_out", what, _POOL, _rows(model, out))
    ejected = dict.fromkeys(model.pools, 0.0)
    for target, one in history.ejected.items():
        pool = PoolId(target.partition("/")[0])
        ejected[pool] = ejected.get(pool, 0.0) + (one.until > world.now)
    yield gauge("gslb_pool_ejected", "Targets of the pool that are out as outliers.", _POOL, _rows(model, ejected))
    overrides = [((one.target, one.state.value), 1.0) for one in world.overrides if one.holds_at(world.now)]
    yield gauge("gslb_override_active", "1 for each override in force.", ("target", "state"), overrides)


def _rows(model: Deployment, values: Mapping[PoolId, float]) -> Iterator[tuple[tuple[str, ...], float]]:
    """By site and pool; pools that are configured no more have no series."""
    for pool, value in values.items():
        if pool in model.pools:
            yield (model.pools[pool].datacenter, pool), value
