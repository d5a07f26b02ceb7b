"""Places and classes -> catchments: how many client networks each ranking holds, and how far they are.  Pure.

What counts as a client network: a /24 of IPv4 of which the databases know anything (a place, an AS number), or that a subnet
rule names.  Only where the databases know no IPv4 network at all it is a /56 of IPv6: IPv6 allocations say less of how many
users there are (a provider with 200 users may hold a /32).

Distances are means over the networks whose coordinates are known, rounded to kilometres.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gslb.geo.arcs import F64, kilometres_to, points
from gslb.geo.catchments import UNKNOWN_KM, Weighed
from gslb.geo.classes import Classes
from gslb.geo.places import U32, U64, Places, Runs
from gslb.geo.rank import I64, Profiles
from gslb.geo.table import EMBEDDED, V4_BITS, V6_BITS
from gslb.model.deployment import Deployment, PolicyId, PoolId, SiteId

_SIX_TO_FOUR = np.array(EMBEDDED[-1], np.uint64)


@dataclass(frozen=True, slots=True)
class Classed:
    """One family: runs of places, and the runs into which profiles and subnets cut it, with the class of each."""

    places: Runs
    starts: U64
    profile: I64
    signature: I64
    classes: U32


class Rows(NamedTuple):
    """Client networks: `size` of them are at `place` and in `location_class`."""

    place: I64
    location_class: I64
    size: F64


def weighed(
    deployment: Deployment, places: Places, known: Profiles, classes: Classes, families: tuple[Classed, Classed]
) -> Mapping[PolicyId, Weighed]:
    """The size and the distances of each policy's rankings; nothing where no place is known."""
    for family, bits in zip(families, (V4_BITS, V6_BITS), strict=True):
        if anything_known(family.places, bits):
            rows = _rows(family, bits, known)
            return _by_policy(deployment, places, classes, rows) if np.any(rows.size) else {}
    return {}


def anything_known(runs: Runs, bits: int) -> bool:
    """Whether any network of a family has a place: in IPv6 outside of 6to4, which is looked up as IPv4."""
    known = runs.places != 0
    if bits == V6_BITS:
        ends = np.append(runs.starts[1:], np.uint64(1 << bits))
        known &= (runs.starts < _SIX_TO_FOUR[0]) | (ends > _SIX_TO_FOUR[1])
    return bool(np.any(known))


def _rows(family: Classed, bits: int, known: Profiles) -> Rows:
    """Outside of subnets the class follows from the place, so networks are summed by place; inside, run by run."""
    starts, place, inside = _marked(family, bits)
    size = np.diff(np.append(starts, np.uint64(1 << bits))).astype(np.float64)
    of_place = np.bincount(place, weights=np.where(inside, 0.0, size))
    of_place[0] = 0.0
    seen = np.flatnonzero(of_place)
    of_profile = np.zeros(known.order.size, np.int64)
    plain = family.signature == 0
    of_profile[family.profile[plain]] = family.classes[plain]
    within = family.classes[np.searchsorted(family.starts, starts[inside], side="right") - 1]
    return Rows(
        place=np.concatenate([seen, place[inside]]),
        location_class=np.concatenate([of_profile[known.of_place[seen]], within.astype(np.int64)]),
        size=np.concatenate([of_place[seen], size[inside]]),
    )


def _marked(family: Classed, bits: int) -> tuple[U64, I64, NDArray[np.bool_]]:
    """The runs of places cut where subnets begin and end, and whether a subnet covers them.

    In IPv6, 6to4 is looked up as IPv4, so its networks are of no place.
    """
    changes = np.flatnonzero(np.append(True, family.signature[1:] != family.signature[:-1]))
    covered = Runs(family.starts[changes], (family.signature[changes] != 0).astype(np.uint32))
    runs = family.places
    edges = covered.starts if bits == V4_BITS else np.unique(np.concatenate([covered.starts, _SIX_TO_FOUR]))
    holding = np.searchsorted(runs.starts, edges, side="right") - 1
    new = runs.starts[holding] != edges
    starts = np.insert(runs.starts, holding[new] + 1, edges[new])
    place = np.insert(runs.places, holding[new] + 1, runs.places[holding[new]]).astype(np.int64)
    lengths = np.diff(np.append(np.searchsorted(starts, covered.starts), starts.size))
    if bits == V6_BITS:
        place[slice(*np.searchsorted(starts, _SIX_TO_FOUR).tolist())] = 0
    return starts, place, np.repeat(covered.places.astype(np.bool_), lengths)


def _by_policy(deployment: Deployment, places: Places, classes: Classes, rows: Rows) -> Mapping[PolicyId, Weighed]:
    """Rows are summed by class once for all policies, and classes by ranking for each."""
    reached = {name: _reached(deployment, name) for name in classes.policies}
    sites = {deployment.pools[pool].datacenter for pools in reached.values() for pool in pools}
    size = _summed(rows.location_class, rows.size, classes.count)
    located, travelled = _travelled(deployment, places, classes.count, rows, sorted(sites))
    found = {}
    for name, policy in classes.policies.items():
        of_class = np.frombuffer(policy.of_class, "<u2")
        sums = [size, located, *(travelled[deployment.pools[pool].datacenter] for pool in reached[name])]
        sizes, counted, *km = (_summed(of_class, one, len(policy.rankings)) for one in sums)
        with np.errstate(invalid="ignore"):  # 0 / 0 where no coordinates are known
            mean = np.rint(np.stack(km, axis=1) / counted[:, np.newaxis])
        rounded = np.where(np.isfinite(mean), mean, UNKNOWN_KM).astype(np.int64)
        found[name] = Weighed(reached[name], [int(each) for each in sizes.tolist()], rounded.tolist())
    return found


def _travelled(
    deployment: Deployment, places: Places, count: int, rows: Rows, sites: Sequence[SiteId]
) -> tuple[F64, Mapping[SiteId, F64]]:
    """By class: networks with coordinates, and the sum of their kilometres to each site (NaN: nobody knows where it is)."""
    latitude, longitude = places.rows["latitude"][rows.place], places.rows["longitude"][rows.place]
    here = np.isfinite(latitude)
    at = points(latitude[here], longitude[here])
    location_class, size = rows.location_class[here], rows.size[here]
    sums: dict[SiteId, F64] = {}
    for site in sites:
        where = deployment.datacenters[site].at
        km = np.full(size.size, np.nan) if where is None else kilometres_to(where, at)
        sums[site] = _summed(location_class, size * km, count)
    return _summed(location_class, size, count), sums


def _summed(number: I64, weight: F64, count: int) -> F64:
    """The weights of each number below `count`."""
    sums: F64 = np.bincount(number, weights=weight, minlength=count).astype(np.float64)
    return sums


def _reached(deployment: Deployment, name: PolicyId) -> tuple[PoolId, ...]:
    """The pools that the policy can answer with, spill targets included."""
    policy = deployment.policies[name]
    return tuple(dict.fromkeys((*policy.pools, *policy.spill.to)))
