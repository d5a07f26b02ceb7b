"""What spill does to one class of clients: which of its slots go from which pool to which, and who answers one client.  Pure.

Rule: the plan says who answers (`Choice`), its history says why (`Shed`).
"""

from __future__ import annotations

from dataclasses import dataclass

from gslb.model.deployment import PolicyId, PoolId
from gslb.model.history import WHOLE, Cause, Shed
from gslb.model.plan import Choice, Member, Mode, Plan


@dataclass(frozen=True, slots=True)
class Going:
    """The class's slots from `first` on, `slots` of WHOLE, go from `pool` to `receiver`."""

    pool: PoolId
    receiver: PoolId
    cause: Cause
    level: float
    first: int
    slots: int

    @property
    def whole(self) -> bool:
        """Whether all of the class goes."""
        return self.slots == WHOLE

    def holds(self, slot: int) -> bool:
        """Whether the client with this slot goes."""
        return self.first <= slot < self.first + self.slots


@dataclass(frozen=True, slots=True)
class Given:
    """What one class is given: the plan's choice, and what was moved away from its home."""

    choice: Choice
    goings: tuple[Going, ...]

    @property
    def by_slot(self) -> bool:
        """Whether clients of the class are told apart."""
        return bool(self.choice.shed) or len(self.choice.members) > self.choice.count

    def members(self, slot: int | None) -> tuple[Member, ...]:
        """Who may answer the client with this slot; without one, everybody who answers some client of the class."""
        choice = self.choice
        if slot is None:
            parts = (member for part in choice.shed for member in part.members)
            return tuple(dict.fromkeys((*parts, *choice.members)))
        end = 0
        for part in choice.shed:
            end += part.slots
            if slot < end:
                return part.members
        return choice.members

    def going(self, slot: int | None) -> Going | None:
        """What takes the client with this slot away from its home; without one, only what takes the whole class."""
        if slot is None:
            return next((one for one in self.goings if one.whole), None)
        return next((one for one in self.goings if one.holds(slot)), None)


def given(plan: Plan, policy: PolicyId, rtype: int, ranking: int) -> Given:
    """What the plan gives the clients of a ranking."""
    choice = plan.choices[plan.policies[policy].choices[rtype][ranking]]
    goings = []
    for pool, shed in plan.history.sheds.items():
        if shed.geography == plan.geography and choice.mode in (Mode.NORMAL, Mode.KEPT):  # else it waits
            goings += _goings(pool, shed, (policy, rtype, ranking))
    return Given(choice, tuple(goings))


def _goings(pool: PoolId, shed: Shed, cell: tuple[PolicyId, int, int]) -> list[Going]:
    """In the order of slots: those of a cell are taken from 0 on."""
    found: list[Going] = []
    first = 0
    for moved in shed.moved:
        if (moved.policy, moved.rtype, moved.ranking) == cell:
            found.append(Going(pool, moved.receiver, shed.cause, shed.level, first, moved.slots))
            first += moved.slots
    return found
