"""What each ranking of a policy is answered, with what pools shed.  Pure.

Equal choices share one index.  A client that is not shed is answered by the first usable pool of its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gslb.decide.routes import firsts
from gslb.decide.settle import Settled
from gslb.model.deployment import Policy, PolicyId, PoolId
from gslb.model.history import WHOLE, Moved, Shed
from gslb.model.location import Ranking
from gslb.model.plan import Choice, Member, Part

MovedOf = Mapping[tuple[PolicyId, int], Mapping[int, Sequence[Moved]]]  # by policy and record type, by ranking


@dataclass(slots=True)
class Interned:
    """The choices of a plan while it is made, and what was moved."""

    moved: MovedOf
    indexes: dict[Choice, int] = field(default_factory=dict)

    def index(self, choice: Choice) -> int:
        """The index of a choice."""
        return self.indexes.setdefault(choice, len(self.indexes))


def moved_of(sheds: Mapping[PoolId, Shed], geography: str) -> MovedOf:
    """What is moved in this geography, in the order of its slots."""
    found: dict[tuple[PolicyId, int], dict[int, list[Moved]]] = {}
    for shed in sheds.values():
        for one in shed.moved if shed.geography == geography else ():
            found.setdefault((one.policy, one.rtype), {}).setdefault(one.ranking, []).append(one)
    return found


def choices_of(
    policy: Policy, rankings: Sequence[Ranking], rtype: int, settled: Mapping[str, Settled], interned: Interned
) -> tuple[int, ...]:
    """The index of each ranking's choice; `settled` is by continent, where the policy tells them apart."""
    if all(one is settled[""] for one in settled.values()):
        return _alike(policy, rankings, rtype, settled[""], interned)
    of_continent = {
        continent: _Given(
            policy,
            one,
            firsts(policy, rtype, rankings, one.reach, frozenset(one.by_pool)) if one.by_pool else (),
            interned.moved.get((policy.name, rtype), {}) if one.answering else {},
        )
        for continent, one in settled.items()
    }
    return tuple(of_continent[ranking.continent].index(place, interned) for place, ranking in enumerate(rankings))


@dataclass(slots=True)
class _Given:
    """What the clients of one continent are given, ranking by ranking: `pools` are the first usable ones."""

    policy: Policy
    settled: Settled
    pools: Sequence[PoolId]
    moved: Mapping[int, Sequence[Moved]]
    known: dict[PoolId, int] = field(default_factory=dict)

    def index(self, place: int, interned: Interned) -> int:
        settled = self.settled
        if not settled.by_pool:
            return interned.index(Choice(settled.mode, settled.for_all, self.policy.answers))
        pool = self.pools[place]
        if place in self.moved:
            return interned.index(_shedding(self.policy, settled, settled.by_pool[pool], self.moved[place]))
        return _index(pool, self.policy, settled, interned, self.known)


def _alike(
    policy: Policy, rankings: Sequence[Ranking], rtype: int, settled: Settled, interned: Interned
) -> tuple[int, ...]:
    if not settled.by_pool:
        return (interned.index(Choice(settled.mode, settled.for_all, policy.answers)),) * len(rankings)
    pools = firsts(policy, rtype, rankings, settled.reach, frozenset(settled.by_pool))
    moved = interned.moved.get((policy.name, rtype), {}) if settled.answering else {}
    index_of: dict[PoolId, int] = {}
    if moved:
        return tuple(
            interned.index(_shedding(policy, settled, settled.by_pool[pool], moved[place]))
            if place in moved
            else _index(pool, policy, settled, interned, index_of)
            for place, pool in enumerate(pools)
        )
    for pool in dict.fromkeys(pools):
        _index(pool, policy, settled, interned, index_of)
    return tuple(map(index_of.__getitem__, pools))


def _index(pool: PoolId, policy: Policy, settled: Settled, interned: Interned, known: dict[PoolId, int]) -> int:
    if pool not in known:
        known[pool] = interned.index(Choice(settled.mode, settled.by_pool[pool], policy.answers))
    return known[pool]


def _shedding(policy: Policy, settled: Settled, home: tuple[Member, ...], moved: Iterable[Moved]) -> Choice:
    """A choice that sheds.  Where all slots are shed, those of the last receiver are answered by the choice itself."""
    parts: list[Part] = []
    for one in moved:
        members = settled.by_pool[one.receiver]
        if parts and parts[-1].members == members:
            parts[-1] = Part(parts[-1].slots + one.slots, members)
        else:
            parts.append(Part(one.slots, members))
    if sum(part.slots for part in parts) >= WHOLE:
        home = parts.pop().members
    return Choice(settled.mode, home, policy.answers, tuple(parts))
