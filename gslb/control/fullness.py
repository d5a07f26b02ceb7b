"""Pools at their hard mark that can send nothing more elsewhere: told once each time.  The time is an argument.

A pool at `hard` sheds what it should at its next step, one dwell after the last, as far as others have room.  So one that has been
there for longer than that, and sheds less than its load asks for, has nowhere to send it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from gslb.decide.levels import BAND, marks_of, own_demand, pace_of, wanted
from gslb.model.deployment import Deployment, Pool, PoolId
from gslb.model.history import History, Shed
from gslb.model.world import Load

_GRACE_S = 5.0  # for the step that is due to be made

log = logging.getLogger("gslb.node")


@dataclass(slots=True)
class _Full:
    since: float
    told: bool = False


class Fullness:
    """Which pools are at their hard mark, since when, and of which it was told."""

    def __init__(self) -> None:
        self._full: dict[PoolId, _Full] = {}

    def look(self, model: Deployment, loads: Mapping[PoolId, Load], history: History, now: float) -> None:
        """Log what is new at `now`."""
        for pool in model.pools.values():
            load = loads.get(pool.name)
            if load is None or load.stale or pool.capacity is None or load.share < pool.capacity.hard:
                self._ended(pool.name)
                continue
            full = self._full.setdefault(pool.name, _Full(now))
            self._look(model, pool, full, load, history.sheds.get(pool.name), now)
        for gone in [name for name in self._full if name not in model.pools]:
            del self._full[gone]

    def _look(self, model: Deployment, pool: Pool, full: _Full, load: Load, shed: Shed | None, now: float) -> None:
        assert pool.capacity is not None  # it is full
        users = [policy for policy in model.policies.values() if pool.name in (*policy.pools, *policy.spill.to)]
        if full.told or not users:
            return
        level = shed.level if shed is not None else 0.0
        should = wanted(own_demand(load.share, 0.0, level), 0.0, marks_of(pool.capacity))
        stepped = max(full.since, shed.stepped_at) if shed is not None else full.since
        if should > level + BAND and now - stepped > pace_of(users).dwell_s + _GRACE_S:
            full.told = True
            message = f"pool {pool.name} is over its hard mark, and no other has room for what it should shed"
            fields = {"load": f"{load.share:.0%}", "hard": f"{pool.capacity.hard:.0%}"}
            log.warning(message, extra={**fields, "sheds": f"{level:.1%}", "should": f"{should:.1%}"})

    def _ended(self, name: PoolId) -> None:
        full = self._full.pop(name, None)
        if full is not None and full.told:
            log.info(f"pool {name} is not over its hard mark any more")  # noqa: G004  # a line for people
