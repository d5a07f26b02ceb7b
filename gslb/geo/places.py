"""Databases -> places: which network is where, as sorted arrays that rankings are computed from.

A place is a distinct (coordinates, continent, country, subdivision, AS number).  Changing datacenters or policies
re-ranks the places and does not read a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gslb.geo.mmdb import Database, open_database
from gslb.geo.progress import Progress, silent
from gslb.geo.record import MalformedRecord
from gslb.geo.schema import UNKNOWN, Location, location
from gslb.geo.source import DatabaseUnusable, copied, joint_digest

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]

PLACE = np.dtype([("latitude", "<f8"), ("longitude", "<f8"), ("geo", "<u4"), ("asn", "<u4")])
_REPORT_EVERY = 1 << 14  # records


@dataclass(frozen=True, slots=True)
class Runs:
    """Which place the addresses have: from `starts[i]` (24-bit or 56-bit keys, the first 0) on it is `places[i]`."""

    starts: U64
    places: U32


@dataclass(frozen=True, slots=True)
class Places:
    """Everything known of geography.

    `rows` has dtype PLACE, row 0 is the unknown place, coordinates are NaN where not known; `geo` is an index into
    `geos`, triples of continent, country, subdivision.  `digest` names the databases by content.
    """

    digest: str
    rows: NDArray[np.void]
    geos: tuple[tuple[str, str, str], ...]
    v4: Runs
    v6: Runs


@dataclass(slots=True)
class _Interned:
    """Distinct locations and their numbers; number 0 is the unknown one."""

    ids: dict[Location, int] = field(default_factory=lambda: {UNKNOWN: 0})

    def id_of(self, place: Location) -> int:
        return self.ids.setdefault(place, len(self.ids))

    def merged(self, first: Runs, second: Runs) -> Runs:
        """Both together: what `first` does not know of an address (place, AS number) is taken from `second`."""
        starts = merged_keys(first.starts, second.starts)
        ours, theirs = _at(first, starts), _at(second, starts)
        pairs, which = np.unique(ours.astype(np.uint64) << np.uint64(32) | theirs, return_inverse=True)
        known = list(self.ids)
        joint = [self.id_of(known[pair >> 32].completed_by(known[pair & 0xFFFFFFFF])) for pair in pairs.tolist()]
        return coalesced(starts, np.array(joint, np.uint32)[which])


def flatten(paths: Sequence[Path], progress: Progress = silent) -> Places:
    """Read databases into places (about 10 s for a full city database).

    Where several know an address, the first that names a place decides the place, and the first that names an AS number
    decides that.  Raises DatabaseUnusable.
    """
    interned = _Interned()
    families: dict[int, list[Runs]] = {4: [], 6: []}
    digests: list[bytes] = []
    for path in paths:
        with copied(path) as copy:
            progress(f"checking {path.name}", 0.0)
            digests.append(copy.digest())
            database = open_database(copy)
            for version, runs in families.items():
                flat = _flat(database, version, interned, progress)
                if flat is not None:
                    runs.append(flat)
    v4, v6 = (_joined(runs, interned) for runs in families.values())
    rows, geos = _rows(interned)
    return Places(joint_digest(digests), rows, geos, v4, v6)


def coalesced(starts: U64, values: U32) -> Runs:
    """Runs whose neighbours differ."""
    changes = np.ones(starts.size, np.bool_)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return Runs(starts[changes], values[changes])


def quantised(runs: Runs, bits: int, scope: int) -> Runs:
    """The runs where the first key of each block of `scope` bits decides for all of the block."""
    if scope == bits:
        return runs
    step = np.uint64((1 << (bits - scope)) - 1)
    starts = (runs.starts + step) & ~step
    last = np.append(starts[1:] != starts[:-1], True)  # of several runs in a block, the next block sees the last
    last &= starts < 1 << bits
    return coalesced(starts[last], runs.places[last])


def nowhere() -> Runs:
    """A family of which nothing is known."""
    return Runs(np.zeros(1, np.uint64), np.zeros(1, np.uint32))


def _flat(database: Database, version: int, interned: _Interned, progress: Progress) -> Runs | None:
    name = database.copy.origin.name
    progress(f"walking {name}", 0.0)
    leaves = database.leaves(version)
    if leaves is None:
        return None
    pointers = np.unique(leaves.pointers)
    numbers = np.zeros(pointers.size, np.uint32)
    try:
        for index, pointer in enumerate(pointers.tolist()):
            if pointer:
                numbers[index] = interned.id_of(location(database.record(pointer)))
            if index % _REPORT_EVERY == 0:
                progress(f"reading {name}", index / pointers.size)
    except MalformedRecord as error:
        raise DatabaseUnusable(database.copy.origin, str(error)) from error
    progress(f"reading {name}", 1.0)
    return coalesced(leaves.starts, numbers[np.searchsorted(pointers, leaves.pointers)])


def _joined(runs: list[Runs], interned: _Interned) -> Runs:
    joint = runs[0] if runs else nowhere()
    for more in runs[1:]:
        joint = interned.merged(joint, more)
    return joint


def merged_keys(*parts: U64) -> U64:
    """The distinct keys of ascending arrays, ascending."""
    keys = np.sort(np.concatenate(parts), kind="stable")  # ascending runs: a merge, where np.unique would hash
    distinct: U64 = keys[np.append(True, keys[1:] != keys[:-1])]
    return distinct


def _at(runs: Runs, keys: U64) -> U32:
    return runs.places[np.searchsorted(runs.starts, keys, side="right") - 1]


def _rows(interned: _Interned) -> tuple[NDArray[np.void], tuple[tuple[str, str, str], ...]]:
    geos: dict[tuple[str, str, str], int] = {("", "", ""): 0}
    rows = np.zeros(len(interned.ids), PLACE)
    for index, place in enumerate(interned.ids):
        geo = geos.setdefault((place.continent, place.country, place.subdivision), len(geos))
        rows[index] = (
            np.nan if place.latitude is None else place.latitude,
            np.nan if place.longitude is None else place.longitude,
            geo,
            place.asn,
        )
    return rows, tuple(geos)
