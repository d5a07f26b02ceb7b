"""What each ranking of a policy is answered, with what pools shed.  Pure.

Equal choices share one index.  A client that is not shed is answered by the first usable pool of its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gslb.decide.cells import Key
from gslb.decide.order import order, ranked
from gslb.decide.settle import Settled
from gslb.model.deployment import Policy, PoolId
from gslb.model.history import WHOLE, Moved, Shed
from gslb.model.location import Ranking
from gslb.model.plan import Choice, Member, Part


@dataclass(slots=True)
class Interned:
    """The choices of a plan while it is made, and what was moved of each cell."""

    moved: Mapping[Key, Sequence[Moved]]
    indexes: dict[Choice, int] = field(default_factory=dict)

    def index(self, choice: Choice) -> int:
        """The index of a choice."""
        return self.indexes.setdefault(choice, len(self.indexes))


def moved_of(sheds: Mapping[PoolId, Shed], geography: str) -> Mapping[Key, Sequence[Moved]]:
    """What is moved of each cell of this geography, in the order of its slots."""
    found: dict[Key, list[Moved]] = {}
    for shed in sheds.values():
        for one in shed.moved if shed.geography == geography else ():
            found.setdefault((one.policy, one.rtype, one.ranking), []).append(one)
    return found


def choices_of(
    policy: Policy, rankings: Sequence[Ranking], rtype: int, settled: Settled, interned: Interned
) -> tuple[int, ...]:
    """The index of each ranking's choice."""
    if not settled.by_pool:
        return (interned.index(Choice(settled.mode, settled.for_all, policy.answers)),) * len(rankings)
    index_of: dict[PoolId, int] = {}
    found = []
    for place, ranking in enumerate(rankings):
        moved = interned.moved.get((policy.name, rtype, place)) if interned.moved and settled.answering else None
        pool = first_pool(policy, ranking, rtype, settled)
        if moved:
            found.append(interned.index(_shedding(policy, settled, settled.by_pool[pool], moved)))
            continue
        if pool not in index_of:
            index_of[pool] = interned.index(Choice(settled.mode, settled.by_pool[pool], policy.answers))
        found.append(index_of[pool])
    return tuple(found)


def first_pool(policy: Policy, ranking: Ranking, rtype: int, settled: Settled) -> PoolId:
    """The pool that answers a client of this ranking who is not shed: the first in its order that is left.  One is."""
    for pool in ranked(ranking, rtype):  # what `order` begins with, and nearly always enough
        if pool in settled.by_pool:
            return pool
    return next(filter(settled.by_pool.__contains__, order(policy.rules[ranking.rule], ranking, rtype, settled.reach)))


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
