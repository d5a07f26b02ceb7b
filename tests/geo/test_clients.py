"""Client networks in two tables, counted and measured against linear scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from gslb.geo.build import build_table
from gslb.geo.clients import Clients, Grouped, Mapped, by_count, by_size, grouped
from gslb.geo.distance import kilometres
from gslb.geo.places import Places
from gslb.geo.reach import Distance, Reach
from gslb.geo.schema import Location
from gslb.geo.table import LocationTable
from gslb.model.deployment import Deployment, Network, PolicyId, PoolId
from gslb.model.location import Cohort
from tests.geo.oracle import Ranked, Twin
from tests.geo.places import places_of
from tests.geo.test_build import LOCATIONS, deployments, networks
from tests.geo.worlds import PLACES, deployment, nearest_of, policy, pool, rule

WEB = PolicyId("web")
FRA, IAD = PoolId("web-fra"), PoolId("web-iad")
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking would take minutes
Found = list[tuple[Network, Location]]


def mapped(model: Deployment, places: Places) -> Mapped:
    return Mapped(model, LocationTable.from_buffer(build_table(model, places)))


def outcomes(side: Mapped, policy: PolicyId) -> list[Ranked]:
    return [(each.rule, each.pools4, each.pools6, each.continent) for each in side.table.rankings[policy]]


def named_in_six() -> Deployment:
    """A rule of a policy names networks of IPv6."""
    named = rule("web-fra", subnets=(ip_network("2001:db8::/40"),))
    return deployment([policy("web", named, rule("web-fra", "web-iad"))], [pool("web-fra"), pool("web-iad")])


@settings(max_examples=max(8, settings().max_examples // 12), phases=UNSHRUNK)  # two tables of 2^24 entries each
@given(
    before=deployments(),
    after=deployments(),
    found=st.lists(st.tuples(networks(), st.sampled_from(LOCATIONS)), min_size=1, max_size=6),
)
@example(nearest_of("fra", "iad"), nearest_of("iad", "sin"), [(ip_network("10.0.0.0/8"), LOCATIONS[0])])
@example(nearest_of("fra", "iad"), nearest_of("iad", "sin"), [(ip_network("2002::/16"), LOCATIONS[0])])
@example(named_in_six(), nearest_of("fra", "iad"), [(ip_network("2002:a00::/29"), LOCATIONS[0])])
def test_cohorts_are_those_of_a_linear_scan(before: Deployment, after: Deployment, found: Found) -> None:
    after = replace(after, geo=before.geo)  # places are quantised once
    places = places_of(found)
    sides = mapped(before, places), mapped(after, places)
    clients = by_size(places, *sides)
    expected = _scanned(Twin(before, found), Twin(after, found))
    for number, name in enumerate(name for name in before.policies if name in after.policies):
        group = grouped(clients, *sides, name)
        assert {cohort.before for cohort in group.cohorts} == set(range(len(sides[0].table.rankings[name])))
        ranked = [outcomes(side, name) for side in sides]
        counted = {
            (ranked[0][cohort.before], ranked[1][cohort.after]): cohort.networks
            for cohort in group.cohorts
            if cohort.networks
        }
        assert counted == pytest.approx(dict(expected[number]), rel=1e-12)  # a count of 2^56 is a float


def _scanned(before: Twin, after: Twin) -> list[Counter[tuple[Ranked, Ranked]]]:
    """By policy, how many networks have which two outcomes: those that either twin counts."""
    for version, bits in ((4, 24), (6, 56)):
        parts = [list(twin._parts(version, bits)) for twin in (before, after)]
        if any(place.coordinates or place.country or place.continent or place.asn for _, place, _, _ in parts[0]):
            return _joint(before, after, version, bits)
    return [Counter() for _ in before.deployment.policies]


def _joint(before: Twin, after: Twin, version: int, bits: int) -> list[Counter[tuple[Ranked, Ranked]]]:
    shift = (32 if version == 4 else 128) - bits
    spans = [
        [(int(first) >> shift, size, outcome) for first, _, outcome, size in twin._parts(version, bits)]
        for twin in (before, after)
    ]
    edges = sorted({edge for span in spans for first, size, _ in span for edge in (first, first + size)})
    counts: list[Counter[tuple[Ranked, Ranked]]] = [Counter() for _ in before.deployment.policies]
    kind = type(ip_network("0.0.0.0/0" if version == 4 else "::/0").network_address)
    for start, end in pairwise(edges):
        if any(first <= start < first + size for span in spans for first, size, _ in span):
            address = kind(start << shift)
            for number, pair in enumerate(zip(before.outcome(address), after.outcome(address), strict=True)):
                counts[number][pair] += end - start
    return counts


def test_all_networks_weigh_where_no_place_is_known_and_none_is_counted() -> None:
    before = deployment(
        [policy("web", rule("web-fra", subnets=(ip_network("10.0.0.0/9"),)), rule("web-iad"))],
        [pool("web-fra"), pool("web-iad")],
    )
    after = deployment(
        [policy("web", rule("web-fra", subnets=(ip_network("10.0.0.0/10"),)), rule("web-iad"))],
        [pool("web-fra"), pool("web-iad")],
    )
    sides = mapped(before, places_of([])), mapped(after, places_of([]))
    group = grouped(by_size(None, *sides), *sides, WEB)
    near, far = (before.policies[WEB].rules.index(each) for each in before.policies[WEB].rules)
    fra, iad = (
        next(place for place, ranking in enumerate(sides[0].table.rankings[WEB]) if ranking.rule == index)
        for index in (near, far)
    )
    inside = {(cohort.before, cohort.after): (cohort.networks, cohort.size) for cohort in group.cohorts}
    assert inside[fra, fra] == inside[fra, iad] == (0, float(1 << 14))
    assert inside[iad, iad] == (0, float((1 << 24) - (1 << 15)))


def test_a_histogram_counts_instead_of_sizes() -> None:
    found: Found = [(ip_network("10.0.0.0/8"), LOCATIONS[0]), (ip_network("2001:db8::/32"), LOCATIONS[1])]
    side = mapped(nearest_of("fra", "iad"), places_of(found))
    rows = [("10.1.2.0/24", 5.0), ("2001:db8::/48", 3.0), ("2002:a01:200::/40", 2.0), ("192.0.2.1/32", 1.0)]
    clients = by_count(places_of(found), side, side, [(ip_network(network), count) for network, count in rows])
    group = grouped(clients, side, side, WEB)
    by_first = {side.table.rankings[WEB][cohort.before].pools4[0]: cohort for cohort in group.cohorts}
    assert {first: (cohort.networks, cohort.size) for first, cohort in by_first.items()} == {
        FRA: (3, 8.0),  # 6to4 is where its IPv4 is; where nothing is known, the first as written
        IAD: (1, 3.0),
    }
    assert [int(each) for each in clients.place] == [1, 2, 1, 0]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 50)), min_size=1, max_size=12),
    st.sampled_from(["web-fra", "web-sin"]),
)
def test_distance_is_the_weighted_mean_and_percentile(rows: list[tuple[int, int]], other: str) -> None:
    """Half of each cohort is given one pool, half another."""
    model = nearest_of("fra", "sin")
    places = places_of([(ip_network(f"10.{at}.0.0/16"), location) for at, location in enumerate(LOCATIONS[:5])])
    clients = _clients([place + 1 for place, _ in rows], [size for _, size in rows])
    group = Grouped((Cohort(0, 0, len(rows), float(sum(size for _, size in rows))),), np.zeros(len(rows), np.int64))
    asked = {FRA: 1.0}
    asked[PoolId(other)] = asked.get(PoolId(other), 0.0) + 1.0
    found = Reach(places, clients, model).distance(group, [asked])
    every = sorted(
        (kilometres(PLACES[list(PLACES)[place]][:2], PLACES[name.removeprefix("web-")][:2]), size)
        for place, size in rows
        for name in ("web-fra", other)
    )
    total = sum(size for _, size in every)
    below = list(accumulate(size for _, size in every))
    p90 = next(km for (km, _), reached in zip(every, below, strict=True) if reached >= 0.9 * total)
    assert found is not None
    assert found.mean_km == pytest.approx(sum(km * size for km, size in every) / total, abs=1e-6)
    assert found.p90_km == pytest.approx(p90, abs=0.51)
    assert found.known == pytest.approx(1.0)


def test_what_has_no_place_has_no_distance() -> None:
    model = replace(nearest_of("fra", "iad"))
    places = places_of([(ip_network("10.0.0.0/8"), LOCATIONS[0]), (ip_network("11.0.0.0/8"), LOCATIONS[5])])
    clients = _clients([0, 1, 2], [1, 1, 2])
    group = Grouped((Cohort(0, 0, 3, 4.0),), np.zeros(3, np.int64))
    reach = Reach(places, clients, model)
    assert reach.distance(group, [{FRA: 3.0}]) == Distance(0.0, 0.0, 0.25)
    assert reach.distance(group, [{}]) is None
    assert reach.distance(group, [{PoolId("unheard-of"): 1.0}]) is None


def _clients(place: Sequence[int], size: Sequence[int]) -> Clients:
    none = np.zeros(len(place), np.int64)
    return Clients(np.array(place, np.int64), none, none, none + 1, np.array(size, np.float64), (none[:1], none[:1]))
