"""Who asks most: the resolvers without client subnet that choices with parts answer.  Pure; bounded.

Space-Saving counts (Metwally, Agrawal, El Abbadi: "Efficient computation of frequent and top-k elements in data streams",
ICDT 2005): of N queries, whoever asked more than N / KEPT is among the kept, and no count is more than its error too high.
"""

from __future__ import annotations

from collections.abc import Mapping

KEPT = 64  # sources; so a share of 1/64 cannot be missed


class Sources:
    """The askers of one policy.  Counts are halved with each `decay`, so they tell of the recent past."""

    __slots__ = ("_counts", "_errors", "_least", "_victims", "total")

    def __init__(self) -> None:
        self.total = 0  # queries, also those with a client subnet
        self._counts: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        self._least = 0
        self._victims: list[str] = []  # had `_least` when that was found out

    def add(self, source: str) -> None:
        """Count a query; `source` is empty where it had a client subnet."""
        self.total += 1
        if not source:
            return
        counts = self._counts
        if source in counts:
            counts[source] += 1
        elif len(counts) < KEPT:
            counts[source], self._errors[source] = 1, 0
        else:
            victim = self._victim()
            least = counts.pop(victim)
            del self._errors[victim]
            counts[source], self._errors[source] = least + 1, least

    def decay(self) -> None:
        """Halve what was counted."""
        self.total >>= 1
        halves = {source: count >> 1 for source, count in self._counts.items()}
        self._counts = {source: count for source, count in halves.items() if count}
        self._errors = {source: (self._errors[source] + 1) >> 1 for source in self._counts}
        self._victims.clear()

    def certain(self) -> Mapping[str, int]:
        """How often each of the kept has asked at the least."""
        sure = {source: count - self._errors[source] for source, count in self._counts.items()}
        return {source: count for source, count in sure.items() if count > 0}

    def _victim(self) -> str:
        """One that asked least; a flood of new sources finds one in constant time on average."""
        counts = self._counts
        while True:
            while self._victims:
                victim = self._victims.pop()
                if counts.get(victim) == self._least:
                    return victim
            self._least = min(counts.values())
            self._victims = [source for source, count in counts.items() if count == self._least]
