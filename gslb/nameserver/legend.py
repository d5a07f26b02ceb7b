"""What the counters of an image mean: the part of its file that stands behind its octets.  Pure.

Executors know numbers only; whoever adds them up reads here to which policy, type, ranking and pools each belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgpack

from gslb.geo.table import UnreadableTable

_MISSHAPEN = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Cells:
    """The counters of one policy and record type: `rankings` of them from `first` on."""

    policy: str
    rtype: int
    first: int
    rankings: int


@dataclass(frozen=True, slots=True)
class Legend:
    """`marks[number]` is the record type and the pools of that mark; 0 is of replies without pools."""

    geography: str  # digest of the location table
    cells: Sequence[Cells] = ()
    marks: Sequence[tuple[int, tuple[str, ...]]] = ()
    asked: Mapping[str, int] = field(default_factory=dict)  # policy -> counter of queries to its choices with parts
    left_out: Mapping[str, int] = field(default_factory=dict)  # what the image does not hold -> how many

    def to_bytes(self) -> bytes:
        """As it stands in the file."""
        cells = [[each.policy, each.rtype, each.first, each.rankings] for each in self.cells]
        marks = [[rtype, list(pools)] for rtype, pools in self.marks]
        packed: bytes = msgpack.packb([self.geography, cells, marks, dict(self.asked), dict(self.left_out)])
        return packed

    @classmethod
    def from_bytes(cls, octets: bytes | memoryview) -> Legend:
        """Raises UnreadableTable."""
        try:
            geography, cells, marks, asked, left_out = msgpack.unpackb(octets)
            return cls(
                str(geography),
                [Cells(str(policy), int(rtype), int(first), int(count)) for policy, rtype, first, count in cells],
                [(int(rtype), tuple(str(pool) for pool in pools)) for rtype, pools in marks],
                {str(policy): int(counter) for policy, counter in asked.items()},
                {str(what): int(count) for what, count in left_out.items()},
            )
        except _MISSHAPEN as error:
            raise UnreadableTable(f"the legend of the image is malformed: {error!r}") from error
