"""What an executor in C counted -> the counts that workers show.  Pure.

A block is an array of 64-bit numbers: struct dns_counts, then the cells and marks of an image (`gslb.nameserver.legend`).  It
only grows, and begins at zero with its image; one in which a number is less than before has begun anew.

Rule 1: each number is added once: what was there before is known, and only the rest counts.
Rule 2: counts by cell are of one location table: those of another one are dropped.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

from gslb.dnslayout import DnsCounts
from gslb.nameserver.counters import Counter
from gslb.nameserver.given import Given
from gslb.nameserver.legend import Legend
from gslb.nameserver.sources import Sources

_WORD = 8
_PART = 512  # octets that are compared at once


def _numbers(member: str) -> range:
    """Which numbers of a block a member of struct dns_counts is."""
    place = getattr(DnsCounts, member)
    return range(place.offset // _WORD, (place.offset + place.size) // _WORD)


_COUNTER, _UP, _QTYPE = map(_numbers, ("counter", "up", "qtype"))

Place = tuple[list[int], int]  # a list of counts, and which of them


class Counted:
    """Adds the counts of one block to `counts` (by `Counter`), to `given`, to `ups` (by enum dns_up) and `qtypes` (by enum dns_qtype).

    Make it after `given` has taken over from the responder before it.
    """

    def __init__(
        self,
        legend: Legend,
        counts: list[int],
        given: Given,
        arrival: Counter,
        ups: list[int] | None = None,
        qtypes: list[int] | None = None,
    ) -> None:
        """What arrived counts as `arrival`; `ups` and `qtypes` go on from the lists that are given."""
        self.ups = [0] * len(_UP) if ups is None else ups
        self.qtypes = [0] * len(_QTYPE) if qtypes is None else qtypes
        self._before = b""
        self._places: list[Place | Sources | None] = [
            (counts, number) if number < len(Counter) else None for number in range(len(_COUNTER))
        ]
        self._places[Counter.FAST] = counts, arrival
        self._places += [(self.ups, number) for number in range(len(_UP))]
        self._places += [(self.qtypes, number) for number in range(len(_QTYPE))]
        self._place_cells(legend, given)
        self._places += [(given.marks, given.mark(rtype, [pools]) if pools else 0) for rtype, pools in legend.marks]

    def add(self, block: Sequence[int]) -> None:
        """Add what is new in a whole block."""
        now = block.tobytes() if isinstance(block, memoryview | array) else array("Q", block).tobytes()
        differences = list(_differences(self._before or bytes(len(now)), now))
        if any(difference < 0 for _, difference in differences):
            differences = list(_differences(bytes(len(now)), now))
        for number, difference in differences:
            place = self._places[number] if number < len(self._places) else None
            if isinstance(place, Sources):
                place.total += difference
            elif place is not None:
                place[0][place[1]] += difference
        self._before = now

    def add_some(self, numbers: Mapping[int, int]) -> None:
        """Add what is new in a block of which `numbers` are not zero."""
        self.add(self._whole(numbers))

    def known(self, numbers: Mapping[int, int]) -> None:
        """These were added before, by another process."""
        self._before = self._whole(numbers).tobytes()

    def _whole(self, numbers: Mapping[int, int]) -> array[int]:
        block = array("Q", bytes(_WORD * len(self._places)))
        for place, count in numbers.items():
            if place < len(block):
                block[place] = count
        return block

    def _place_cells(self, legend: Legend, given: Given) -> None:
        """Cells and askers stand in any order, and leave no gap."""
        counters = sum(cells.rankings for cells in legend.cells) + len(legend.asked)
        places: list[Place | Sources | None] = [None] * counters
        for cells in legend.cells:
            if legend.geography == given.geography:
                found = given.cells_of(cells.policy, cells.rtype, cells.rankings)
                places[cells.first : cells.first + cells.rankings] = [(found, rank) for rank in range(cells.rankings)]
        for policy, counter in legend.asked.items():
            places[counter] = given.sources_of(policy)
        self._places += places


def _differences(before: bytes, now: bytes) -> Iterator[tuple[int, int]]:
    """Which numbers of two blocks differ, and by how much.  Most parts of a large block are equal, and are found so as octets."""
    for at in range(0, len(now), _PART):
        left, right = before[at : at + _PART], now[at : at + _PART]
        if left != right:
            pairs = zip(array("Q", left), array("Q", right), strict=True)
            yield from ((at // _WORD + place, new - old) for place, (old, new) in enumerate(pairs) if new != old)
