"""Client networks in two geographies: where they are, and which class each table gives them.  Pure.

What counts as a client network is what `gslb.geo.weigh` counts; a table over the same places has the same sizes in its
catchments.  Counts of queries by network may stand in for sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gslb.geo.arcs import F64
from gslb.geo.classes import segments
from gslb.geo.places import U32, U64, Places, Runs, coalesced, merged_keys, quantised
from gslb.geo.rank import I64
from gslb.geo.table import EMBEDDED, V4_BITS, V6_BITS, LocationTable, normalise
from gslb.geo.weigh import anything_known
from gslb.model.deployment import Deployment, Network, PolicyId
from gslb.model.location import Cohort

_SIX_TO_FOUR = np.array(EMBEDDED[-1], np.uint64)


@dataclass(frozen=True, slots=True)
class Mapped:
    """A deployment and its location table."""

    deployment: Deployment
    table: LocationTable


@dataclass(frozen=True, slots=True)
class Clients:
    """Groups of networks: all of one row of places (0: not known), and of one class in each table.

    `networks` says how many they are; `size` is their weight.  `met` are all pairs of classes that any address has in the
    two tables, counted or not.
    """

    place: I64
    before: I64
    after: I64
    networks: I64
    size: F64
    met: tuple[I64, I64]


@dataclass(frozen=True, slots=True)
class Grouped:
    """The cohorts of one policy, and the number of the cohort that each row of clients belongs to."""

    cohorts: tuple[Cohort, ...]
    number: I64


def by_size(places: Places | None, before: Mapped, after: Mapped) -> Clients:
    """All client networks, weighed by their number.

    Where no place is known (`places` is None or empty) every network of IPv4 has weight, and none is counted.
    """
    v4 = Runs(np.zeros(1, np.uint64), np.zeros(1, np.uint32))
    met = _class_pairs(before.table, after.table)
    if places is not None:
        geo = before.deployment.geo
        v4 = quantised(places.v4, V4_BITS, geo.scope4)
        v6 = quantised(places.v6, V6_BITS, geo.scope6)
        for version, bits, runs in ((4, V4_BITS, v4), (6, V6_BITS, v6)):
            found = _counted(runs, (before, after), version, met) if anything_known(runs, bits) else None
            if found is not None:
                return found
    starts, (place, one, other) = _joined((v4.starts, v4.places), *_class_columns((before, after), 4))
    size = _lengths(starts, V4_BITS)
    return Clients(place, one, other, np.zeros(size.size, np.int64), size, met)


def by_count(places: Places | None, before: Mapped, after: Mapped, counts: Sequence[tuple[Network, float]]) -> Clients:
    """The networks of a histogram, weighed by their counts; the base address of each stands for all of it."""
    packed = [network.network_address.packed for network, _ in counts]
    return Clients(
        place=_places_at(places, packed),
        before=np.array([before.table.lookup(address)[0] for address in packed], np.int64),
        after=np.array([after.table.lookup(address)[0] for address in packed], np.int64),
        networks=np.ones(len(packed), np.int64),
        size=np.array([count for _, count in counts], np.float64),
        met=_class_pairs(before.table, after.table),
    )


def grouped(clients: Clients, before: Mapped, after: Mapped, policy: PolicyId) -> Grouped:
    """The cohorts of `policy`, which both deployments have.

    Every ranking of `before` has one at least: those that no client has, with size 0.
    """
    one, other = (np.frombuffer(side.table.ranking_of[policy], "<u2").astype(np.int64) for side in (before, after))
    width = len(after.table.rankings[policy])
    pairs, number = np.unique(one[clients.before] * width + other[clients.after], return_inverse=True)
    networks, size = (_sums(number, each, pairs.size) for each in (clients.networks, clients.size))
    cohorts = [
        Cohort(pair // width, pair % width, round(count), weight)
        for pair, count, weight in zip(pairs.tolist(), networks.tolist(), size.tolist(), strict=True)
    ]
    without = np.setdiff1d(one[clients.met[0]] * width + other[clients.met[1]], pairs)
    cohorts += [Cohort(pair // width, pair % width, 0, 0.0) for pair in without.tolist()]
    return Grouped(tuple(cohorts), number)


def _counted(runs: Runs, sides: tuple[Mapped, Mapped], version: int, met: tuple[I64, I64]) -> Clients | None:
    """The networks that count, summed where place and classes are the same; None where there are none."""
    bits = V4_BITS if version == 4 else V6_BITS
    columns = (runs.starts, runs.places), *_class_columns(sides, version), *_named(sides, version, bits)
    starts, (place, before, after, *named) = _joined(*columns)
    counts = (place != 0) | np.any(named, axis=0)
    if version == 6:  # 6to4 is looked up as IPv4
        counts &= (starts < _SIX_TO_FOUR[0]) | (starts >= _SIX_TO_FOUR[1])
    if not np.any(counts):
        return None
    classes = sides[1].table.classes
    pairs = met[0] * classes + met[1]  # ascending, and every pair is among them
    pair = np.searchsorted(pairs, before[counts] * classes + after[counts])
    distinct, row = np.unique(place[counts] * pairs.size + pair, return_inverse=True)
    size = _sums(row, _lengths(starts, bits)[counts], distinct.size)
    which = distinct % pairs.size
    return Clients(distinct // pairs.size, met[0][which], met[1][which], size.astype(np.int64), size, met)


def _class_columns(sides: tuple[Mapped, Mapped], version: int) -> Sequence[tuple[U64, U32]]:
    return [(runs.starts, runs.places) for runs in (_class_runs(side.table, version) for side in sides)]


def _named(sides: tuple[Mapped, Mapped], version: int, bits: int) -> Sequence[tuple[U64, U32]]:
    """Which keys a subnet rule of each deployment names, cut at the borders of 6to4."""
    covered = [segments(side.deployment, version, bits, {}) for side in sides]
    found = [(each.starts, (each.signatures != 0).astype(np.uint32)) for each in covered]
    if version == 6:
        found.append((np.append(np.uint64(0), _SIX_TO_FOUR), np.zeros(3, np.uint32)))
    return found


def _sums(number: I64, weight: F64 | I64, count: int) -> F64:
    """The weights of each number below `count`."""
    found: F64 = np.bincount(number, weights=weight, minlength=count).astype(np.float64)
    return found


def _joined(*runs: tuple[U64, U32]) -> tuple[U64, tuple[I64, ...]]:
    """All runs cut where any of them begins, with the value of each."""
    starts = merged_keys(*(each for each, _ in runs))
    columns = []
    for own, values in runs:
        lengths = np.diff(np.append(np.searchsorted(starts, own), starts.size))
        columns.append(np.repeat(values, lengths).astype(np.int64))
    return starts, tuple(columns)


def _class_runs(table: LocationTable, version: int) -> Runs:
    """Which class the keys of a family have."""
    if table.v4 is None:
        return Runs(np.zeros(1, np.uint64), np.zeros(1, np.uint32))
    if version == 6:
        return Runs(np.frombuffer(table.v6_starts, "<u8")[:-1], np.frombuffer(table.v6_classes, "<u4"))
    entries = np.frombuffer(table.v4, "<u4") >> np.uint32(8)
    starts = np.flatnonzero(np.append(True, entries[1:] != entries[:-1]))
    return coalesced(starts.astype(np.uint64), entries[starts])


def _class_pairs(before: LocationTable, after: LocationTable) -> tuple[I64, I64]:
    """Every pair of classes that any network of either family has in the two tables."""
    if before.digest == after.digest:
        return np.arange(before.classes), np.arange(before.classes)
    found = [np.zeros(1, np.int64)]
    for version in (4, 6):
        runs = [_class_runs(table, version) for table in (before, after)]
        _, (one, other) = _joined(*((each.starts, each.places) for each in runs))
        found.append(one * after.classes + other)
    pairs = np.sort(np.concatenate(found))
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])]
    return pairs // after.classes, pairs % after.classes


def _places_at(places: Places | None, packed: Sequence[bytes]) -> I64:
    """The row of places at each address; 0 where nothing is known."""
    found = np.zeros(len(packed), np.int64)
    if places is None:
        return found
    inner = [normalise(address)[0] for address in packed]
    for length, octets, runs in ((4, 3, places.v4), (16, 7, places.v6)):
        which = [index for index, address in enumerate(inner) if len(address) == length]
        keys = np.array([int.from_bytes(inner[index][:octets], "big") for index in which], np.uint64)
        found[which] = runs.places[np.searchsorted(runs.starts, keys, side="right") - 1]
    return found


def _lengths(starts: U64, bits: int) -> NDArray[np.float64]:
    return np.diff(np.append(starts, np.uint64(1 << bits))).astype(np.float64)
