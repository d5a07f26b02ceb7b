"""Tables of the balancer: RING_SLOTS slots by `gslb.model.choice`, natively where the helper was built.  IO: loads a library.

Rule 1: both ways give the same table, slot by slot; the native one is only quicker.
Rule 2: a table depends on names and weights alone, so that every balancer of a site has the same; `digest` tells whether.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gslb.layout import RING_SLOTS
from gslb.model.choice import maglev, permutation

LIBRARY = Path(__file__).parent / "objects" / "libgslb.so"
Slots = NDArray[np.uint16]
_NATIVE_MOST = 65535  # places are 16 bits wide, and one value stands for free


def table(members: Sequence[tuple[str, int]], slots: int = RING_SLOTS) -> Slots:
    """An index into `members` (name, weight > 0) for each slot.  Raises ValueError without members."""
    library = opened(LIBRARY)
    if library is None or not 0 < len(members) <= _NATIVE_MOST:
        return np.array(maglev(members, slots), dtype=np.uint16)
    return native(library, members, slots)


def native(library: ctypes.CDLL, members: Sequence[tuple[str, int]], slots: int) -> Slots:
    """`table` by the helper."""
    order = sorted(range(len(members)), key=lambda index: members[index][0])
    steps = np.array([permutation(members[index][0], slots) for index in order], dtype=np.uint32)
    weights = np.array([members[index][1] for index in order], dtype=np.float64)
    starts, skips, shares = steps[:, 0].copy(), steps[:, 1].copy(), weights / weights.max()
    positions, turns, places = np.empty_like(starts), np.empty_like(shares), np.empty(slots, dtype=np.uint16)
    given = (starts, skips, shares, len(order), slots, positions, turns, places)
    library.gslb_maglev(*(each.ctypes.data if isinstance(each, np.ndarray) else each for each in given))
    return np.array(order, dtype=np.uint16)[places]


def digest(names: Sequence[str], filled: Slots) -> str:
    """32 hex digits of who has which slot: equal on balancers that hold the same table, however they number backends.

    `filled` holds indexes into `names`; one beyond them is a slot of nobody.
    """
    order = sorted(range(len(names)), key=lambda index: names[index])
    ranks = np.full(1 << 16, 0xFFFF, dtype="<u2")
    ranks[order] = np.arange(len(order))
    state = blake2b(digest_size=16, person=b"gslb maglev")
    for index in order:
        state.update(names[index].encode() + b"\0")
    state.update(ranks[filled].tobytes())
    return state.hexdigest()


@cache
def opened(path: Path) -> ctypes.CDLL | None:
    """The helper in a file, or None where it was not built."""
    try:
        loaded = ctypes.CDLL(str(path))
    except OSError:
        return None
    loaded.gslb_maglev.restype = None
    pointers = [ctypes.c_void_p] * 3
    loaded.gslb_maglev.argtypes = [*pointers, ctypes.c_uint32, ctypes.c_uint32, *pointers]
    return loaded
