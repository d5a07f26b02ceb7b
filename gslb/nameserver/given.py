"""What one worker's responders answered from policies: by cell, by pool, and who asked most.  Pure; bounded.

A cell is a (policy, record type, ranking): the demand that the next decision goes by.  A reply counts in its cell, and once
for each pool that it holds an address of.  Static names count nothing.

Rule 1: counting a reply is adding one at a place of two lists, since it happens for each query.
Rule 2: counts by pool go on over every change; counts by cell begin anew with another location table.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from gslb.nameserver.sources import Sources

LAST_RESORT = ""  # the pool of addresses that belong to none
MARKS_MAX = 1 << 16  # sets of pools; the replies of further ones are not counted by pool
POOLS_MAX = 1 << 12  # (pool, type) whose counts are kept, also of pools that are no longer configured

Cell = tuple[str, int]  # policy, record type
OfPool = tuple[str, int]  # pool, record type


class Given:
    """The counts of one responder, and of those before it.

    `marks` is indexed by a reply's mark; 0 is the mark of replies without pools.
    """

    def __init__(self, geography: str = "", policies: Collection[str] = ()) -> None:
        """`geography` names the location table, `policies` are those of the plan."""
        self.geography = geography
        self.marks = [0]
        self.nowhere = [0]  # where replies that belong to no cell are counted
        self.cells: dict[Cell, list[int]] = {}
        self.sources: dict[str, Sources] = {}
        self._policies = frozenset(policies)
        self._numbers: dict[tuple[int, tuple[str, ...]], int] = {}
        self._before: dict[OfPool, int] = {}

    def go_on(self, before: Given) -> None:
        """Take over what the responder before this one counted.  Called before the first reply."""
        known = before.pools()
        self._before = dict(list(known.items())[-POOLS_MAX:])
        self.sources = {policy: found for policy, found in before.sources.items() if policy in self._policies}
        if before.geography == self.geography:
            self.cells = before.cells

    def mark(self, rtype: int, pools: Iterable[Sequence[str]]) -> int:
        """The mark of replies of type `rtype` with addresses of `pools`."""
        key = rtype, tuple(sorted({pool for shared in pools for pool in shared}))
        number = self._numbers.get(key)
        if number is None:
            if len(self.marks) >= MARKS_MAX:
                return 0
            number = self._numbers[key] = len(self.marks)
            self.marks.append(0)
        return number

    def meanings(self) -> list[tuple[int, tuple[str, ...]]]:
        """By mark, the record type and the pools."""
        return [(0, ()), *self._numbers]

    def cells_of(self, policy: str, rtype: int, rankings: int) -> list[int]:
        """The counts of one policy and type, by ranking."""
        found = self.cells.get((policy, rtype))
        if found is None or len(found) != rankings:
            found = self.cells[policy, rtype] = [0] * rankings
        return found

    def sources_of(self, policy: str) -> Sources:
        """The askers of one policy's choices with parts."""
        return self.sources.setdefault(policy, Sources())

    def pools(self) -> dict[OfPool, int]:
        """Answers given, by pool and type, since the worker started."""
        found = dict(self._before)
        for (rtype, pools), number in self._numbers.items():
            for pool in pools if self.marks[number] else ():
                found[pool, rtype] = found.get((pool, rtype), 0) + self.marks[number]
        return found

    def decay(self) -> None:
        """Let the counts of sources tell of the recent past."""
        for sources in self.sources.values():
            sources.decay()
