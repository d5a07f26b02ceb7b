"""The slots of a ring: who is current in each, and who was before.  Pure.

Rule 1: a change moves no flow of a backend that may keep its flows: where current changes, the one before it becomes `previous`,
and the program asks what it remembers of new flows; a slot that has a previous one keeps it, since only what began after
that is remembered.  Where nobody else is left, the current one is also previous: only what is remembered goes elsewhere then.
Rule 2: what was current in between waits in `older`, at most OLDER of them, the latest; whoever may keep no flows is forgotten.
Rule 3: a slot in which nobody used any but its current backend for long enough ages: the next older one becomes previous, at last none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gslb.layout import COARSE_SHIFT, MOST_BACKENDS, RING_SLOTS

OLDER = 4
Ids = NDArray[np.uint16]  # backend ids, 0: none
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, slots=True)
class Slots:
    """One ring.  `older`: a row for each slot, the next to be previous first; None where no slot has any."""

    current: Ids
    previous: Ids
    older: Ids | None = None

    def to_bytes(self) -> bytes:
        """As `struct ring` holds it."""
        return np.stack((self.current, self.previous), axis=1).tobytes()

    @property
    def moving(self) -> int:
        """How many slots have a backend whose flows stay."""
        return int(np.count_nonzero(self.previous))

    def same(self, other: Slots) -> bool:
        """Whether the program would do the same by both."""
        return bool(np.array_equal(self.current, other.current) and np.array_equal(self.previous, other.previous))


def empty() -> Slots:
    """A ring without any backend."""
    return Slots(np.zeros(RING_SLOTS, np.uint16), np.zeros(RING_SLOTS, np.uint16))


def from_bytes(ring: bytes) -> Slots:
    """What `struct ring` holds; what is older than previous is not known."""
    pairs = np.frombuffer(ring, np.uint16).reshape(RING_SLOTS, 2)
    return Slots(pairs[:, 0].copy(), pairs[:, 1].copy())


def keepers(ids: set[int]) -> Flags:
    """By backend id: whether it may keep flows."""
    flags = np.zeros(MOST_BACKENDS, np.bool_)
    flags[list(ids)] = True
    flags[0] = False
    return flags


def after(before: Slots, current: Ids, keep: Flags) -> tuple[Slots, NDArray[np.intp]]:
    """The ring in which `current` is current from now on, and the slots that changed and have a previous backend.

    `keep` tells by id which backends may keep flows.
    """
    forgets = ~keep
    forgets[0] = False
    touched = (before.current != current) | forgets[before.previous]
    if before.older is not None:
        moving = np.flatnonzero(before.previous)
        touched[moving[forgets[before.older[moving]].any(axis=1)]] = True
    rows = np.nonzero(touched)[0]
    previous = before.previous.copy()
    older = before.older
    if rows.size:
        waiting = np.zeros((rows.size, OLDER + 2), np.uint16)
        waiting[:, 0] = before.previous[rows]
        if older is not None:
            waiting[:, 1:-1] = older[rows]
        displaced = before.current[rows]
        waiting[:, -1] = np.where(displaced != current[rows], displaced, 0)
        waiting = _settled(waiting, keep)
        nobody = (waiting[:, 0] == 0) & (before.previous[rows] != 0)
        waiting[nobody, 0] = current[rows][nobody]  # of flows that are remembered some may still be elsewhere
        previous[rows] = waiting[:, 0]
        older = _with_rows(older, rows, waiting[:, 1:])
    return Slots(current, previous, older), rows[previous[rows] != 0]


def aged(slots: Slots, idle: Flags) -> tuple[Slots, NDArray[np.intp]]:
    """The ring once the slots that are `idle` have forgotten their previous backend, and the slots that have another one now.

    Where the previous one is the current one again, all is forgotten: flows of before stay where they are, and were never
    remembered as new ones.
    """
    rows = np.nonzero(idle & (slots.previous != 0))[0]
    previous = slots.previous.copy()
    previous[rows] = 0
    if slots.older is None or not rows.size:
        return Slots(slots.current, previous, slots.older), rows[:0]
    waiting = np.zeros((rows.size, OLDER + 1), np.uint16)
    waiting[:, :-1] = slots.older[rows]
    waiting[slots.previous[rows] == slots.current[rows]] = 0
    previous[rows] = waiting[:, 0]
    return Slots(slots.current, previous, _with_rows(slots.older, rows, waiting[:, 1:])), rows[waiting[:, 0] != 0]


def idle_since(uses: NDArray[np.uint16], now: int, units: int) -> Flags:
    """Which slots were last used `units` or more coarse units before `now` (both modulo 2^16)."""
    return (np.uint16(now & 0xFFFF) - uses[:RING_SLOTS]) >= np.uint16(units)


def coarse(seconds: float) -> int:
    """A time of the monotonic clock in the units of `struct ring_use`."""
    return int(seconds * 1e9) >> COARSE_SHIFT


def _settled(waiting: Ids, keep: Flags) -> Ids:
    """Rows of backends, oldest first, without those that keep no flows and without repeats."""
    waiting[~keep[waiting]] = 0
    waiting = _to_front(waiting)
    waiting[:, 1:][waiting[:, 1:] == waiting[:, :-1]] = 0
    waiting = _to_front(waiting)
    crowded = waiting[:, -1] != 0
    waiting[crowded, 1:-1] = waiting[crowded, 2:]  # the first one has flows that nobody remembers: it stays
    return waiting[:, :-1]


def _to_front(rows: Ids) -> Ids:
    """Each row with its zeros at its end."""
    order = np.argsort(rows == 0, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1)


def _with_rows(older: Ids | None, rows: NDArray[np.intp], values: Ids) -> Ids | None:
    """`older` with other rows; None where nothing is left in it."""
    if older is None:
        if not values.any():
            return None
        older = np.zeros((RING_SLOTS, OLDER), np.uint16)
    else:
        older = older.copy()
    older[rows] = values
    return older if older.any() else None
