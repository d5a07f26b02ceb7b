"""The candidates of one policy and record type on their way through the steps, and why each was settled.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from gslb.decide.candidates import Candidate
from gslb.decide.standing import Standing
from gslb.model.deployment import TYPE_A, Address, AllDown, Policy
from gslb.model.plan import Member, Mode


@dataclass(frozen=True, slots=True)
class Reason:
    """What one step said of one address."""

    step: str
    member: Member
    usable: bool
    why: str


@dataclass(frozen=True, slots=True)
class Field:
    """A candidate is `open` until a step settles it as `usable` or `removed`."""

    policy: Policy
    rtype: int
    standing: Standing
    open: tuple[Candidate, ...]
    usable: tuple[Candidate, ...] = ()
    removed: tuple[Candidate, ...] = ()
    mode: Mode = Mode.NORMAL

    def settle(self, *, usable: Iterable[Candidate] = (), removed: Iterable[Candidate] = ()) -> Field:
        """The field with these candidates settled; the others stay as they are."""
        raised, lowered = tuple(usable), tuple(removed)
        moved = {*raised, *lowered}
        return replace(
            self,
            open=tuple(c for c in self.open if c not in moved),
            usable=self.usable + raised,
            removed=tuple(c for c in self.removed if c not in moved) + lowered,
        )

    @property
    def last_resort(self) -> tuple[Address, ...]:
        """The policy's addresses of last resort of this record type; none where it has another all-down mode."""
        if self.policy.on_all_down is not AllDown.LAST_RESORT:
            return ()
        version = 4 if self.rtype == TYPE_A else 6
        return tuple(address for address in self.policy.last_resort if address.version == version)


Said = tuple[Field, tuple[Reason, ...]]


def take_out(field: Field, step: str, gone: Iterable[Candidate], why: Callable[[Candidate], str]) -> Said:
    """Settle `gone` as removed, each with its reason."""
    removed = tuple(gone)
    if not removed:
        return field, ()
    return field.settle(removed=removed), tuple(Reason(step, c.member, usable=False, why=why(c)) for c in removed)


def put_in(field: Field, step: str, kept: Iterable[Candidate], why: Callable[[Candidate], str]) -> Said:
    """Settle `kept` as usable, each with its reason."""
    usable = tuple(kept)
    if not usable:
        return field, ()
    return field.settle(usable=usable), tuple(Reason(step, c.member, usable=True, why=why(c)) for c in usable)
