"""Places and policies -> what each policy's rules say of each place, vectorised.

Rule 1: distances are compared exactly: points of the unit sphere are rounded to a grid of about 20 cm, so that squared
chords are integers that a float holds exactly, and every node finds the same order (the half chord squared grows with
the great-circle distance).
Rule 2: "same" becomes "same integer" as early as possible: places -> profiles (orders of sites, matched geos, matched
AS numbers), of which there are far fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gslb.geo.places import Places
from gslb.geo.ranking import viewing
from gslb.model.deployment import Datacenter, Deployment, Policy, Rule, SiteId, View

I64 = NDArray[np.int64]

_GRID = float(1 << 25)  # steps in the earth's radius: 2^25 squared times 3 stays below 2^53
_CHUNK = 1 << 16  # places at a time


@dataclass(frozen=True, slots=True)
class Profiles:
    """Places that no rule tells apart share a profile; profile 0 is the unknown place's.

    `of_place[place]` is the profile; `order`, `geo` and `asn` say per profile which row of `closeness`, which geo (a
    row of `geo_matches`) and which named AS number (0: none of them) it has.  `continents` are those whose sites some policy goes
    by, and are among `codes`.
    """

    of_place: I64
    order: I64
    geo: I64
    asn: I64
    sites: tuple[SiteId, ...]
    closeness: I64  # [order, site] -> rank by distance, equal where equally far
    codes: tuple[str, ...]
    geo_matches: NDArray[np.bool_]  # [geo, code]
    asns: tuple[int, ...]  # asns[asn] is the number, asns[0] is 0
    continents: tuple[str, ...]


def profiles(places: Places, deployment: Deployment) -> Profiles:
    """Sort all places into profiles for this deployment's rules."""
    rules = [rule for policy in deployment.policies.values() for rule in policy.rules]
    sites = tuple(sorted({deployment.pools[pool].datacenter for rule in rules if rule.nearest for pool in rule.pools}))
    continents = viewing(deployment)
    codes = tuple(sorted({*continents, *(code for rule in rules for code in rule.geos)}))
    asns = (0, *sorted({asn for rule in rules for asn in rule.asns}))
    closeness, order = _orders(places, [deployment.datacenters[site] for site in sites])
    geo_matches, geo = _geos(places, codes)
    asn = np.searchsorted(np.array(asns), places.rows["asn"]).clip(max=len(asns) - 1)
    asn[np.array(asns)[asn] != places.rows["asn"]] = 0
    joint = (order * len(geo_matches) + geo) * len(asns) + asn
    distinct, of_place = np.unique(joint, return_inverse=True)
    return Profiles(
        of_place=of_place,
        order=distinct // len(asns) // len(geo_matches),
        geo=distinct // len(asns) % len(geo_matches),
        asn=distinct % len(asns),
        sites=sites,
        closeness=closeness,
        codes=codes,
        geo_matches=geo_matches,
        asns=asns,
        continents=continents,
    )


def first_rule(known: Profiles, policy: Policy) -> I64:
    """The index of the first rule of `policy` that matches each profile, subnets apart."""
    first = np.full(known.order.size, len(policy.rules), np.int64)
    for index in reversed(range(len(policy.rules))):
        first[_matches(known, policy.rules[index])] = index
    return first


def continent_of(known: Profiles, policy: Policy, rule: Rule) -> I64:
    """By whose sites the clients go whom `rule` of `policy` matches, for each profile: a place in `known.continents`, or -1: all."""
    found = np.full(known.order.size, -1, np.int64)
    if policy.view is not View.REGIONAL:
        return found
    by_place = _all(known) if rule.catches_all else _by_geo(known, rule.geos)
    for number, continent in enumerate(known.continents):
        found[by_place & _by_geo(known, (continent,))] = number
    return found


def _matches(known: Profiles, rule: Rule) -> NDArray[np.bool_]:
    if rule.catches_all:
        return _all(known)
    by_asn = np.isin(known.asn, [known.asns.index(asn) for asn in rule.asns])
    matches: NDArray[np.bool_] = _by_geo(known, rule.geos) | by_asn
    return matches


def _all(known: Profiles) -> NDArray[np.bool_]:
    return np.ones(known.order.size, np.bool_)


def _by_geo(known: Profiles, codes: Sequence[str]) -> NDArray[np.bool_]:
    matched: NDArray[np.bool_] = np.any(known.geo_matches[:, [known.codes.index(code) for code in codes]], axis=1)
    return matched[known.geo]


def _orders(places: Places, sites: Sequence[Datacenter]) -> tuple[I64, I64]:
    """The distinct vectors of distance ranks, and which of them each place has.  Row 0, all zeros, is the unknown place's."""
    rows = places.rows
    ranks = np.zeros((rows.size, len(sites)), np.uint16)
    known = np.isfinite(rows["latitude"])
    vague = np.flatnonzero(~known)
    continents = [places.geos[geo][0] for geo in rows["geo"][vague].tolist()]
    for column, site in enumerate(sites):  # coordinates not known: the continent's sites first
        ranks[vague, column] = np.array([place not in ("", site.continent) for place in continents], np.bool_)
    located = np.flatnonzero(known)
    points = _unit(rows["latitude"][located], rows["longitude"][located])
    for at in range(0, located.size, _CHUNK):
        ranks[located[at : at + _CHUNK]] = _ranks(points[at : at + _CHUNK], sites)
    return _interned(ranks)


def _ranks(points: NDArray[np.float64], sites: Sequence[Datacenter]) -> NDArray[np.uint16]:
    """Dense ranks by distance; sites without coordinates come last."""
    at = [site.at or (0.0, 0.0) for site in sites]
    centers = _unit(np.array([place[0] for place in at]), np.array([place[1] for place in at]))
    chords = (centers * centers).sum(axis=1) - 2.0 * (points @ centers.T)
    chords[:, [site.at is None for site in sites]] = np.inf
    order = np.argsort(chords, axis=1, kind="stable")
    farther = np.diff(np.take_along_axis(chords, order, axis=1), axis=1) > 0  # inf - inf is no step
    ranks = np.zeros(chords.shape, np.uint16)
    np.put_along_axis(ranks, order[:, 1:], np.cumsum(farther, axis=1, dtype=np.uint16), axis=1)
    return ranks


def _unit(latitudes: NDArray[np.float64], longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the sphere on the integer grid, as exact floats."""
    phi, lam = np.radians(latitudes), np.radians(longitudes)
    points = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=1)
    rounded: NDArray[np.float64] = np.rint(points * _GRID)
    return rounded


def _interned(ranks: NDArray[np.uint16]) -> tuple[I64, I64]:
    """The distinct rows, ascending, and the number of each row."""
    of_row = np.zeros(len(ranks), np.int64)
    values = 1  # of_row is below this
    for column in ranks.T:
        radix = int(column.max()) + 1
        if values * radix > 1 << 62:
            of_row = np.unique(of_row, return_inverse=True)[1]
            values = int(of_row.max()) + 1
        of_row = of_row * radix + column
        values *= radix
    of_row = np.unique(of_row, return_inverse=True)[1]
    first = np.zeros(int(of_row.max()) + 1, np.int64)
    first[of_row[::-1]] = np.arange(len(ranks) - 1, -1, -1)
    return ranks[first].astype(np.int64), of_row


def _geos(places: Places, codes: Sequence[str]) -> tuple[NDArray[np.bool_], I64]:
    """The distinct sets of matched codes, and which of them each place has."""
    matched = np.array([[matches_geo(code, *geo) for code in codes] for geo in places.geos], np.bool_)
    matched = matched.reshape(len(places.geos), len(codes))
    signatures: dict[bytes, int] = {}
    of_geo = np.array([signatures.setdefault(row.tobytes(), len(signatures)) for row in matched], np.int64)
    first = [int(np.argmax(of_geo == number)) for number in range(len(signatures))]
    return matched[first], of_geo[places.rows["geo"]]


def matches_geo(code: str, continent: str, country: str, subdivision: str) -> bool:
    """Whether an octoDNS code (EU, EU-NO, NA-US-CA) covers a place.

    A country decides without its continent: sources differ on the continent of a few countries.
    """
    parts = code.split("-")
    if len(parts) == 1:
        return parts[0] == continent
    return parts[1] == country and (len(parts) == 2 or parts[2] == subdivision)
