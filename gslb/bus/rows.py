"""Opinions as rows of numbers: what messages carry of them, and what is kept of each node.  Pure.

Rule: a row is 21 octets, little endian, so that the opinions on 700 targets fit into one part; reasons stand beside the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from gslb.bus.messages import Opinion, Rows
from gslb.model.world import Health

ROW = np.dtype(
    [
        ("key", "<u8"),
        ("age", "<u4"),  # milliseconds, up to 49 days
        ("for", "<u4"),  # milliseconds, up to 49 days
        ("ttl", "<u2"),  # seconds
        ("settles", "<u2"),  # 10 milliseconds; NEVER: None
        ("flags", "u1"),
    ]
)
NEVER = 0xFFFF
DOWN, DOUBLE, CUT = 1, 2, 4  # CUT: there was no room for its reasons
_LONGEST_MS, _LONGEST_S, _LATEST = 0xFFFFFFFF, 0xFFFF, 0xFFFE
UNSAID = ("", "")
TEXT_MOST = 200  # characters of a reason


def unpack(told: Rows) -> Iterator[tuple[int, Opinion]]:
    """Key and opinion, row by row."""
    for place, (key, age, held, ttl, settles, flags) in enumerate(told.rows.tolist()):
        yield key, opinion((age / 1000, held / 1000), ttl, settles, flags, told.texts.get(place, UNSAID))


def opinion(times: tuple[float, float], ttl_s: float, settles: int, flags: int, texts: tuple[str, str]) -> Opinion:
    """The opinion that a row stands for.  `times`: its age, and for how long it has been held; `texts`: why, outlier."""
    why, outlier = texts
    health = Health.DOWN if flags & DOWN else Health.UP
    settles_s = None if settles == NEVER else settles / 100
    return Opinion(health, times[0], times[1], float(ttl_s), settles_s, flags & DOUBLE != 0, outlier, why)


def pack(found: Mapping[int, Opinion], *, texts: bool = True) -> Rows:
    """The rows of opinions; without their reasons unless `texts`."""
    rows = np.array([(key, *_numbers(one, texts=texts)) for key, one in found.items()], ROW)
    said = {}
    if texts:
        for place, one in enumerate(found.values()):
            if one.why or one.outlier:
                said[place] = one.why[:TEXT_MOST], one.outlier[:TEXT_MOST]
    return Rows(rows, said)


def _numbers(one: Opinion, *, texts: bool) -> tuple[int, int, int, int, int]:
    settles = NEVER if one.settles_s is None else min(round(one.settles_s * 100), _LATEST)
    cut = CUT if not texts and (one.why or one.outlier) else 0
    return (
        min(round(one.age_s * 1000), _LONGEST_MS),
        min(round(one.for_s * 1000), _LONGEST_MS),
        min(round(one.ttl_s), _LONGEST_S),
        settles,
        (DOWN if one.health is Health.DOWN else 0) | (DOUBLE if one.double else 0) | cut,
    )
