"""What the nodes of a deployment tell each other their opinions on: a monitor's question to an address.  Pure.

Rule 1: who asks the same by the same definition votes on the same topic; a node with another definition votes on another.
Rule 2: backends, and the answers of a balanced pool, are the pool's own topics: private addresses repeat from site to site, and
of what is behind an answer only the pool's site knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gslb.bus.wire import target_key
from gslb.control.checks import Owner
from gslb.model.deployment import Deployment, Monitor, Pool, SiteId

TTL_INTERVALS = 3
TTL_S = 15.0  # at least: opinions are told every 5 s


@dataclass(frozen=True, slots=True)
class Topic:
    """`owners` are the (pool, address) that it is about.

    `home` is the site of a balanced pool, of which this is a backend, or else (`front`) an answer.
    """

    quorum: float
    ttl_s: float
    owners: tuple[Owner, ...]
    home: SiteId | None = None
    front: bool = False


@dataclass(frozen=True, slots=True)
class Topics:
    """By key on the bus; `keys` the way back."""

    by_key: Mapping[int, Topic] = field(default_factory=dict)
    keys: Mapping[Owner, int] = field(default_factory=dict)


def topics_of(deployment: Deployment) -> Topics:
    """Everything that any node of the deployment checks."""
    by_key: dict[int, Topic] = {}
    keys: dict[Owner, int] = {}
    monitors = deployment.monitors or {}
    for pool in deployment.pools.values():
        monitor = monitors.get(pool.monitor) if pool.monitor is not None else None
        if monitor is None:
            continue
        for address in dict.fromkeys(str(answer.address) for answer in pool.answers):
            owner = pool.name, address
            if pool.balance is None:
                keys[owner] = key = target_key(monitor, address)
                known = by_key.get(key)
                owners = (*known.owners, owner) if known is not None else (owner,)
                by_key[key] = _topic(monitor, owners)
            else:
                keys[owner] = key = target_key(monitor, f"{pool.name}/{address}")
                by_key[key] = _topic(monitor, (owner,), pool.datacenter, front=True)
        for address in _backends(pool):
            owner = pool.name, address
            if owner not in keys:
                keys[owner] = key = target_key(monitor, f"{pool.name}/{address}")
                by_key[key] = _topic(monitor, (owner,), pool.datacenter)
    return Topics(by_key, keys)


def _backends(pool: Pool) -> tuple[str, ...]:
    backends = pool.balance.backends if pool.balance is not None else ()
    return tuple(dict.fromkeys(str(backend.address) for backend in backends))


def _topic(monitor: Monitor, owners: tuple[Owner, ...], home: SiteId | None = None, *, front: bool = False) -> Topic:
    return Topic(monitor.quorum, max(TTL_S, TTL_INTERVALS * monitor.interval_s), owners, home, front)
