"""The changes of a node as they happen: a bounded ring with ids that readers follow at their own pace.

Rule 1: a reader is an id and nothing else, so a slow one costs nothing: it learns how much it missed.
Rule 2: ids of another run are of no use: each run has its own epoch.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

KEPT = 1_000  # events; a reader that falls further behind has a gap
_ID = re.compile(r"(\d{1,16})-(\d{1,16})")


@dataclass(frozen=True, slots=True)
class Event:
    """One change, at `at` seconds since the epoch.  `body` is JSON values."""

    number: int
    at: float
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class News:
    """What came after a reader's last event; `missed`: so many are no longer kept, or (None) it is not known how many."""

    events: tuple[Event, ...]
    missed: int | None = 0


class Hub:
    """The ring.  For one event loop."""

    def __init__(self, epoch: int, kept: int = KEPT) -> None:
        """`epoch` tells this run from others: its start in milliseconds."""
        self._epoch = epoch
        self._ring: deque[Event] = deque(maxlen=kept)
        self._last = 0
        self._news = asyncio.Event()

    @property
    def last(self) -> int:
        """The number of the last event; 0 before the first."""
        return self._last

    def publish(self, at: float, body: Mapping[str, object]) -> None:
        """Add an event and wake all readers."""
        self._last += 1
        self._ring.append(Event(self._last, at, body))
        self._news.set()
        self._news = asyncio.Event()

    def latest(self, most: int) -> tuple[Event, ...]:
        """The last events, the newest first."""
        return tuple(event for event, _ in zip(reversed(self._ring), range(most), strict=False))

    def id_of(self, number: int) -> str:
        """The id of an event, as a reader gives it back."""
        return f"{self._epoch}-{number}"

    def since(self, given: str) -> News:
        """What came after the event with the id `given`; after one of another run all that is kept."""
        found = _ID.fullmatch(given)
        if found is None or int(found[1]) != self._epoch or int(found[2]) > self._last:
            return News(tuple(self._ring), missed=None)
        return self.after(int(found[2]))

    def after(self, number: int) -> News:
        """What came after event `number` of this run."""
        events = tuple(event for event in self._ring if event.number > number)
        oldest = events[0].number if events else self._last + 1
        return News(events, missed=oldest - number - 1)

    async def wait(self, number: int, timeout_s: float) -> bool:
        """Wait for an event after `number`; False when none came in time."""
        if number < self._last:
            return True
        try:
            await asyncio.wait_for(self._news.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
