"""The load that each pool will have once clients follow another plan.  Pure.

Clients take their load with them.  What one answer of a pool costs is its measured load divided by the answers that it gives
under the plan in force; whoever moves brings that much to the receiver:

- where both pools have capacities of one unit, as many connections (or servers) as at home;
- otherwise as much as the receiver's own clients cost it, where its load is measured;
- otherwise the same share of capacity as at home.

A pool's load is not known where it has no capacity, or where clients come (or were there) whose load nobody measures.
A load that no answer of ours explains stays where it is.  This is an estimate: it takes clients for alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gslb.decide.spread import Destination, Rest
from gslb.model.deployment import Capacity, Deployment, Pool, PoolId
from gslb.model.world import Load

SHARE = "share of capacity"  # the unit of a capacity without a number
CONNECTIONS = "connections/s"
SERVERS = "servers"


@dataclass(frozen=True, slots=True)
class Path:
    """Clients that go from one destination to another: how much they ask."""

    left: Destination
    reached: Destination
    asked: float


@dataclass(frozen=True, slots=True)
class Carried:
    """The load of one pool: in its own unit, and as a share of its capacity.  None: not known."""

    unit: str
    amount: float | None
    share: float | None


@dataclass(slots=True)
class Costs:
    """What the answers of each pool cost, in the unit of its capacity.

    `asked[pool]` is what its clients ask under the plan in force.  A pool whose load is not measured has no cost.
    """

    model: Deployment
    loads: Mapping[PoolId, Load]
    asked: Mapping[PoolId, float]
    per_answer: Mapping[PoolId, float] = field(init=False)

    def __post_init__(self) -> None:
        self.per_answer = {
            name: load.share * size_of(self.model.pools[name])[1] / asked
            for name, load in self.loads.items()
            if name in self.model.pools and (asked := self.asked.get(name, 0.0)) > 0
        }

    def carried(self, after: Deployment, paths: Iterable[Path]) -> dict[PoolId, Carried]:
        """The load of each pool of `after` when clients follow `paths`."""
        amounts = {name: self._unexplained(pool) for name, pool in after.pools.items()}
        for path in paths:
            if isinstance(path.reached, Rest) or path.reached not in amounts:
                continue
            so_far = amounts[path.reached]
            cost = self._cost(path.left, after.pools[path.reached])
            amounts[path.reached] = None if so_far is None or cost is None else so_far + cost * path.asked
        return {name: _carried(pool, amounts[name]) for name, pool in after.pools.items()}

    def _unexplained(self, pool: Pool) -> float | None:
        """What a pool carries that no answer of ours explains; not known where nobody measures a pool that answers."""
        load = self.loads.get(pool.name)
        if load is None or self.asked.get(pool.name, 0.0) > 0:
            return 0.0
        return load.share * size_of(pool)[1]

    def _cost(self, left: Destination, receiver: Pool) -> float | None:
        """What one answer to a client from `left` costs the receiver."""
        own = self.per_answer.get(receiver.name)
        if left == receiver.name or isinstance(left, Rest) or left not in self.per_answer:
            return own
        unit, size = size_of(self.model.pools[left])
        own_unit, own_size = size_of(receiver)
        if unit == own_unit and unit != SHARE:
            return self.per_answer[left]
        return own if own is not None else self.per_answer[left] / size * own_size


def size_of(pool: Pool) -> tuple[str, float]:
    """The unit of a pool's capacity and its number; 1 where it is known as a share only."""
    capacity = pool.capacity or Capacity()
    if capacity.conns_per_s:
        return CONNECTIONS, capacity.conns_per_s
    if capacity.servers:
        return SERVERS, float(capacity.servers)
    return SHARE, 1.0


def _carried(pool: Pool, amount: float | None) -> Carried:
    unit, size = size_of(pool)
    if pool.capacity is None or amount is None:
        return Carried(unit, None, None)
    return Carried(unit, amount if unit != SHARE else None, amount / size)
