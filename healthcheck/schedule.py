"""Who is due when.  Pure: the time is an argument.

Rule 1: the moments of a check follow from its name: spread over the interval at the start, each step then up to JITTER
longer or shorter, so that checks of many targets neither start nor drift into bursts.
Rule 2: a check is handed out once and comes back by `done`: it never runs twice at a time.
Rule 3: of the moments that have passed by then at most one is made up for, where that is not late by more than half an
interval; the others are skipped and counted.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from hashlib import blake2b

JITTER = 0.1  # of the interval
SOON_S = 0.5  # within which a check is due at first where nothing is known yet
_MASK = (1 << 64) - 1
_STRIDE = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: successive multiples lie evenly (Weyl sequence)


@dataclass(slots=True)
class _Entry:
    interval_s: float
    state: int  # of the sequence of jitters
    due: float
    running: bool = False
    settled: bool = True  # False: the first check was early, the next takes its place in the interval


class Schedule:
    """The moments of all checks, by a monotonic clock."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, str]] = []
        self.skipped = 0  # moments

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, name: str, interval_s: float, now: float, *, soon: bool) -> None:
        """Check `name` every `interval_s` from now on; `soon`: at first within SOON_S."""
        state = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
        within_s = min(SOON_S, interval_s) if soon else interval_s
        entry = _Entry(interval_s, state, now + state / _MASK * within_s, settled=not soon)
        self._entries[name] = entry
        heapq.heappush(self._heap, (entry.due, name))

    def remove(self, name: str) -> None:
        """Check `name` no more."""
        if self._entries.pop(name, None) is not None and len(self._heap) > 2 * len(self._entries) + 64:
            self._heap = [(entry.due, name) for name, entry in self._entries.items() if not entry.running]
            heapq.heapify(self._heap)

    def due(self, now: float, most: int) -> list[str]:
        """At most `most` checks that are due, the longest due first; each is then running until `done`."""
        found: list[str] = []
        while len(found) < most and self._heap and self._heap[0][0] <= now:
            due, name = heapq.heappop(self._heap)
            entry = self._live(due, name)
            if entry is not None:
                entry.running = True
                found.append(name)
        return found

    def done(self, name: str, now: float) -> None:
        """The check has ended; its next moment is set."""
        entry = self._entries.get(name)
        if entry is None or not entry.running:
            return
        entry.running = False
        entry.due += self._step(entry)
        if entry.due <= now:
            missed = round((now - entry.due) / entry.interval_s)  # one that is late by less than half is made at once
            entry.due += missed * entry.interval_s
            self.skipped += missed
        heapq.heappush(self._heap, (entry.due, name))

    def wake_at(self) -> float | None:
        """When the next check is due; None where none will be before one is `done` or added."""
        while self._heap and self._live(*self._heap[0]) is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def late(self, now: float) -> int:
        """How many checks were due before `now` and do not run."""
        return sum(not entry.running and entry.due < now for entry in self._entries.values())

    def _live(self, due: float, name: str) -> _Entry | None:
        """The entry that a place in the heap stands for; None where it was removed or added anew since."""
        entry = self._entries.get(name)
        return entry if entry is not None and entry.due == due and not entry.running else None

    def _step(self, entry: _Entry) -> float:
        entry.state = (entry.state + _STRIDE) & _MASK
        share = entry.state / _MASK
        if not entry.settled:
            entry.settled = True
            return entry.interval_s * share
        return entry.interval_s * (1 + JITTER * (2 * share - 1))
