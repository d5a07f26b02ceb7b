"""Which slots of which cells one pool sheds, and to whom.  Pure.

Rule 1: entries are in the order in which slots were taken, and a cell's entries take its slots from 0 on.  More is taken at
the end and given back from the end, so raising a level only adds slots, and lowering it only gives back.
Rule 2: whole cells go first, in order of harm (`Cell.harm`); of the last one as many slots as are still to be moved.
Rule 3: a receiver that fails, or carries too much, is replaced where it stands, so that slots behind it keep theirs.
Rule 4: a cell whose home is out goes whole: to receivers with room, and what none of them has room for is divided among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableSequence
from dataclasses import dataclass, field
from functools import cached_property

from gslb.decide.cells import Cell, Key
from gslb.decide.receivers import Rooms, proportions, ratio
from gslb.model.deployment import PoolId
from gslb.model.history import WHOLE, Moved

_ROUNDING = 1e-6  # of a slot
_NOTICEABLE = 0.05  # of a receiver's capacity: the room that is worth moving clients for who are answered already


@dataclass(slots=True, eq=False)
class Entry:
    """`slots` of a cell that go to a receiver."""

    cell: Cell
    receiver: PoolId
    slots: int

    @property
    def weight(self) -> float:
        """What its clients ask."""
        return self.cell.weight * self.slots / WHOLE


@dataclass
class Apportioned:
    """The entries of one pool's shed while they change.

    `demand` is what all of its cells bring, as a share of its capacity.  `added` is what this step sends to each receiver (below 0:
    takes back from it), as a share of the receiver's capacity.
    """

    pool: PoolId
    cells: Mapping[Key, Cell]
    demand: float
    rooms: Rooms
    entries: list[Entry] = field(default_factory=list)
    added: dict[PoolId, float] = field(default_factory=dict)

    @cached_property
    def total(self) -> float:
        """What all its clients ask."""
        return sum(cell.weight for cell in self.cells.values())

    @property
    def weight(self) -> float:
        """What those ask who are moved."""
        return sum(entry.weight for entry in self.entries)

    @property
    def of_choice(self) -> bool:
        """Whether any client is moved whom the home could answer."""
        return any(not entry.cell.out for entry in self.entries)

    def share(self) -> float:
        """The share of the demand that is moved; where nobody asks anything, all if any cell is."""
        return min(1.0, round(self.weight / self.total, 9)) if self.total > 0 else float(bool(self.entries))

    def moved(self) -> tuple[Moved, ...]:
        """The entries as they are kept."""
        return tuple(Moved(*entry.cell.key, entry.receiver, entry.slots) for entry in self.entries)

    def part(self, weight: float, receiver: PoolId) -> float:
        """The share of the receiver's capacity that clients who ask `weight` bring."""
        pools = self.rooms.model.pools
        if self.total <= 0 or receiver not in pools:  # one that was configured once may still be left to replace
            return 0.0
        return weight / self.total * self.demand * ratio(pools[self.pool], pools[receiver])

    def replace_lost(self, *, elsewhere: bool) -> None:
        """Entries whose receiver answers no more go home, or with `elsewhere` to others with room first."""
        found: list[Entry] = []
        for entry in self.entries:
            if entry.receiver in entry.cell.ground.usable:
                found.append(entry)
                continue
            others: list[Entry] = []
            away = elsewhere or entry.cell.out
            left = self._place(entry.cell, entry.slots, others, entry.cell.receivers if away else ())
            if entry.cell.out:
                self._divide(entry.cell, left, others)
            self._take_from(entry, entry.slots)
            found += others
        self.entries = found

    def relieve(self, receiver: PoolId, excess: float, *, elsewhere: bool) -> None:
        """Take `excess` (of its capacity) from a receiver that carries too much, what was sent last first.

        With `elsewhere` to others that have room, else home.  What has no home to go to stays where nobody has room.
        """
        found: list[Entry] = []
        for entry in reversed(self.entries):
            others: list[Entry] = []
            of_slot = self.part(entry.cell.weight / WHOLE, receiver)
            theirs = entry.receiver == receiver and of_slot > 0 and not entry.cell.ground.resting
            slots = round(min(entry.slots, max(0.0, excess) / of_slot)) if theirs else 0
            if slots > 0:
                away = elsewhere or entry.cell.out
                left = self._place(entry.cell, slots, others, entry.cell.receivers) if away else slots
                gone = slots - left if entry.cell.out else slots
                self._take_from(entry, gone)
                excess -= of_slot * gone
            found += others[::-1]
            if entry.slots:
                found.append(entry)
        self.entries = found[::-1]

    def bring_nearer(self) -> None:
        """Clients whose home is out go to receivers earlier in their order as soon as these have noticeable room."""
        found: list[Entry] = []
        for entry in self.entries:
            found.append(entry)
            tried = entry.cell.refuges if entry.cell.out else ()
            nearer = tried[: tried.index(entry.receiver)] if entry.receiver in tried else tried
            nearer = tuple(pool for pool in nearer if self.rooms.room(pool) >= _NOTICEABLE)
            if nearer:
                others: list[Entry] = []
                self._take_from(entry, entry.slots - self._place(entry.cell, entry.slots, others, nearer))
                found += others
        self.entries = [entry for entry in found if entry.slots]

    def cover(self) -> None:
        """Move all slots of the cells whose home is out."""
        taken = self._taken()
        for cell in sorted((cell for cell in self.cells.values() if cell.out), key=lambda cell: cell.harm):
            left = WHOLE - taken.get(cell.key, 0)
            if left > 0:
                self._divide(cell, self._place(cell, left, self.entries, cell.receivers), self.entries)

    def take(self, weight: float) -> None:
        """Move cells that ask `weight` more, as far as receivers have room."""
        receiving = frozenset[PoolId]().union(*{cell.ground.routes.receiving for cell in self.cells.values()})
        if not any(self.rooms.room(pool) > 0.0 for pool in receiving):
            return
        taken = self._taken()
        begun = [self.cells[key] for key, slots in taken.items() if slots < WHOLE]
        fresh = (cell for cell in self.cells.values() if cell.key not in taken)
        for cell in (*begun, *sorted(fresh, key=lambda cell: cell.harm)):
            if cell.weight <= 0:
                continue
            slots = round(min(WHOLE - taken.get(cell.key, 0), max(0.0, weight) / cell.weight * WHOLE))
            if slots <= 0:
                return
            weight -= cell.weight * (slots - self._place(cell, slots, self.entries, cell.receivers)) / WHOLE

    def give_back(self, weight: float) -> None:
        """Cells that ask `weight` go home, those taken last first, without those that cannot."""
        staying: list[Entry] = []
        while self.entries:
            entry = self.entries.pop()
            if entry.cell.bound:
                staying.append(entry)
                continue
            slots = entry.slots
            if entry.cell.weight > 0:
                slots = round(min(slots, max(0.0, weight) / entry.cell.weight * WHOLE))
            self._take_from(entry, max(0, slots))
            weight -= entry.cell.weight * slots / WHOLE
            if entry.slots:
                staying.append(entry)
                break
        self.entries += staying[::-1]

    def _taken(self) -> dict[Key, int]:
        taken: dict[Key, int] = {}
        for entry in self.entries:
            taken[entry.cell.key] = taken.get(entry.cell.key, 0) + entry.slots
        return taken

    def _place(self, cell: Cell, slots: int, into: MutableSequence[Entry], receivers: Iterable[PoolId]) -> int:
        """Send slots of a cell to receivers in order, to each what it has room for.  How many are left."""
        for receiver in receivers:
            room = self.rooms.room(receiver)
            of_slot = self.part(cell.weight / WHOLE, receiver)
            fitting = int(min(slots, room / of_slot + _ROUNDING)) if of_slot > 0 else slots
            slots -= self._send(cell, receiver, fitting, into)
        return slots

    def _divide(self, cell: Cell, slots: int, into: MutableSequence[Entry]) -> None:
        """Divide what nobody has room for, in proportion to what they can carry."""
        refuges = cell.refuges
        if not refuges:
            return
        parts = proportions([self.rooms.model.pools[pool] for pool in refuges])
        whole, before, sent = sum(parts), 0.0, 0
        for refuge, part in zip(refuges, parts, strict=True):
            before += part
            sent += self._send(cell, refuge, round(slots * before / whole) - sent, into)

    def _send(self, cell: Cell, receiver: PoolId, slots: int, into: MutableSequence[Entry]) -> int:
        if slots <= 0:
            return 0
        if into and into[-1].cell is cell and into[-1].receiver == receiver:
            into[-1].slots += slots
        else:
            into.append(Entry(cell, receiver, slots))
        self._book(receiver, cell.weight * slots / WHOLE)
        return slots

    def _take_from(self, entry: Entry, slots: int) -> None:
        entry.slots -= slots
        self._book(entry.receiver, -entry.cell.weight * slots / WHOLE)

    def _book(self, receiver: PoolId, weight: float) -> None:
        share = self.part(weight, receiver)
        self.rooms.book(receiver, share)
        self.added[receiver] = self.added.get(receiver, 0.0) + share
