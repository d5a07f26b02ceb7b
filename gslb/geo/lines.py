"""The sections of a location table that C reads: of IPv4 by /16, of IPv6 a tree above packed leaves.  Pure, without numpy.

A lookup is as fast as few lines of 64 bytes are touched, and as a cache holds them: so all is as small as it can be read
without a branch, and one lookup ends in one line.

IPv4: the entries without equal neighbours are runs, each the number of its entry among all distinct ones (`V4Sections`).
A /16 has a bit for each of its /24s where a run begins, but never for the first; many /16s have the same bits.  Its number
of 64 bits says how many bits are set before the second, third and fourth word of its bits (8 bits each, the lowest first),
the number of its bits (16 bits), and that of its first /24's run (24 bits).  The run of a /24 is that, and as many on as bits
are set up to its own.

IPv6: a leaf (`V6_LEAF`) has up to LEAF_RANGES ranges: the key that the first begins at, with `shift` in the high 8 bits; the
key that the next leaf begins at; how far from the first each of them begins, in units of 2^shift; and their classes.  Places
behind the last range repeat it.  Above the leaves are levels, the lowest with the first key of each leaf, each higher one
with every eighth key of the one below, up to one that fits into a line; the highest stands first.  All levels are filled up
to whole lines with the end, 2^56.  The last key of a line that is not above the key searched has the number of the line to
go on with, in the next level, and at last of the leaf.

Numbers are of 16 bits.  Of more distinct entries or classes than 65,535 the others have the number BEYOND, and their
addresses the entry NO_ENTRY, whose class no policy ranks: the reference, which has no such bound, answers these.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

V4_LINE_BITS = 16  # of an address; one number of 64 bits each
V4_BITMAP = struct.Struct("<4Q")
V4_BITMAP_AT, V4_RUN_AT = 24, 40  # bits of a /16's number
V6_LEAF = struct.Struct("<2Q24H")
LEAF_RANGES = 12
LEAF_SHIFT_AT = 56  # bit
LINE_KEYS = 8
BEYOND = 0xFFFF
NO_ENTRY = 0xFFFF_FF00
_NETWORKS = 256  # /24s of a /16
_WORD = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class V4Sections:
    """What C reads of IPv4."""

    index: bytes  # 2^16 numbers of 64 bits
    bitmaps: bytes  # the distinct ones, ascending as bytes
    runs: bytes  # numbers of 16 bits
    entries: bytes  # the distinct ones, of 32 bits, ascending; where there are too many, NO_ENTRY is the last


def v4_sections(found: Sequence[tuple[int, int]]) -> V4Sections:
    """Of runs: their first /24s, ascending, from 0 on, and entries.  For few runs."""
    starts = [start for start, _ in found]
    changes = {start // _NETWORKS for start in starts}
    changes |= {start // _NETWORKS + 1 for start in starts if start % _NETWORKS}
    changes = {change for change in changes if change < 1 << V4_LINE_BITS}
    first = sorted(changes)
    bits = []
    for line in first:
        inside = starts[bisect_right(starts, line * _NETWORKS) : bisect_left(starts, (line + 1) * _NETWORKS)]
        bits.append(sum(1 << start % _NETWORKS for start in inside))
    packed = [V4_BITMAP.pack(*_words(value)) for value in bits]
    distinct = sorted(set(packed))
    parts = []
    for place, line in enumerate(first):
        ones = accumulate(word.bit_count() for word in _words(bits[place])[:-1])
        number = sum(count << 8 * word for word, count in enumerate(ones))
        number |= bisect_left(distinct, packed[place]) << V4_BITMAP_AT
        number |= (bisect_right(starts, line * _NETWORKS) - 1) << V4_RUN_AT
        following = first[place + 1] if place + 1 < len(first) else 1 << V4_LINE_BITS
        parts.append(struct.pack("<Q", number) * (following - line))
    entries = bounded(sorted({entry for _, entry in found}))
    runs = array("H", [entry_number(entries, entry) for _, entry in found])
    return V4Sections(b"".join(parts), b"".join(distinct), runs.tobytes(), array("I", entries).tobytes())


def bounded(entries: list[int]) -> list[int]:
    """Distinct entries, ascending, as many as numbers of 16 bits can name."""
    return entries if len(entries) <= BEYOND else [*entries[:BEYOND], NO_ENTRY]


def entry_number(entries: Sequence[int], entry: int) -> int:
    """The number of an entry."""
    return min(bisect_left(entries, entry), BEYOND)


def v6_leaves(starts: Sequence[int], classes: Iterable[int]) -> tuple[bytes, bytes]:
    """The levels, the highest first, and the leaves, of ranges; the last of `starts` is the end."""
    known = array("H", [min(number, BEYOND) for number in classes])
    firsts = array("Q")
    leaves = []
    at, count = 0, len(known)
    while at < count:
        first = starts[at]
        steps = [0]
        joint = shift = 0
        for start in starts[at + 1 : min(at + LEAF_RANGES, count)]:
            step = start - first
            joint |= step
            fits = (joint & -joint).bit_length() - 1
            if step >> fits > BEYOND:
                break
            steps.append(step)
            shift = fits
        ranges = len(steps)
        missing = LEAF_RANGES - ranges
        steps += steps[-1:] * missing
        numbers = known[at : at + ranges]
        numbers.extend(numbers[-1:] * missing)
        at += ranges
        scaled = [step >> shift for step in steps]
        leaves.append(V6_LEAF.pack(first | shift << LEAF_SHIFT_AT, starts[at], *scaled, *numbers))
        firsts.append(first)
    return _levels(firsts, starts[count]), b"".join(leaves)


def _levels(keys: array[int], end: int) -> bytes:
    levels: list[bytes] = []
    while True:
        keys.extend([end] * (-len(keys) % LINE_KEYS))
        levels.insert(0, keys.tobytes())
        if len(keys) <= LINE_KEYS:
            return b"".join(levels)
        keys = keys[::LINE_KEYS]


def level_keys(leaves: int) -> list[int]:
    """How many keys the levels above so many leaves have, the highest first."""
    found = [leaves]
    while found[0] > LINE_KEYS:
        found.insert(0, lines_of(found[0]))
    return found


def lines_of(keys: int) -> int:
    """How many lines so many keys fill."""
    return -(-keys // LINE_KEYS)


def _words(bits: int) -> list[int]:
    return [bits >> shift & _WORD for shift in range(0, _NETWORKS, 64)]
