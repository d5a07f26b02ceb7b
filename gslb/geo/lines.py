"""The sections of a location table that C reads, in lines of 64 bytes: of IPv4 by /16, of IPv6 a tree.  Pure, without numpy.

One line is what memory gives at once, so a lookup is as fast as few lines are touched, and as a cache holds them.

IPv4: the entries without equal neighbours are runs.  The line of a /16 (`V4_LINE`) has a bit for each of its /24s where a
run begins, but never for the first; the number of its first /24's run; how many bits are set before each word of 64; and
zeros.  The run of a /24 is the line's, and as many on as bits are set up to its own: found without a branch, so that a
processor goes on meanwhile.

IPv6: above the starts are levels, each with every eighth key of the one below, up to one that fits into a line; the
highest stands first.  All levels, and the starts themselves, are filled up to whole lines with the end, 2^56.  The last
key of a line that is not above the key searched has the number of the line to go on with, in the next level.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

V4_LINE = struct.Struct("<4QI4B24x")
V4_LINE_BITS = 16  # of an address; one line each
V4_LINE_WORDS = V4_LINE.size // 4  # of 32 bits
LINE_KEYS = 8
_NETWORKS = 256  # /24s of a /16
_WORD = (1 << 64) - 1


def v4_lines(starts: Sequence[int]) -> bytes:
    """The lines of runs, by their first /24s: ascending, from 0 on.  For few runs."""
    changes = {start // _NETWORKS for start in starts}
    changes |= {start // _NETWORKS + 1 for start in starts if start % _NETWORKS}
    changes.add(1 << V4_LINE_BITS)
    parts = []
    for line, following in pairwise(sorted(changes)):
        run = bisect_right(starts, line * _NETWORKS) - 1
        inside = starts[run + 1 : bisect_left(starts, (line + 1) * _NETWORKS)]
        bits = sum(1 << start % _NETWORKS for start in inside)
        words = [bits >> shift & _WORD for shift in range(0, _NETWORKS, 64)]
        before = accumulate((word.bit_count() for word in words[:-1]), initial=0)
        parts.append(V4_LINE.pack(*words, run, *before) * (following - line))
    return b"".join(parts)


def v6_tree(starts: bytes | memoryview) -> tuple[bytes, bytes]:
    """The starts, the last of which is the end, as whole lines; and the levels above."""
    keys = array("Q")
    keys.frombytes(starts)
    end = keys[-1:]
    levels: list[bytes] = []
    while True:
        keys += end * (-len(keys) % LINE_KEYS)
        levels.insert(0, keys.tobytes())
        if len(keys) <= LINE_KEYS:
            return levels[-1], b"".join(levels[:-1])
        keys = keys[::LINE_KEYS]


def level_keys(keys: int) -> list[int]:
    """How many keys the levels above so many starts have, the highest first."""
    found: list[int] = []
    while keys > LINE_KEYS:
        keys = lines_of(keys)
        found.insert(0, keys)
    return found


def lines_of(keys: int) -> int:
    """How many lines so many keys fill."""
    return -(-keys // LINE_KEYS)
