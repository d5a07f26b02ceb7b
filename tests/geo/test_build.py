"""The built table against its slow twin: class, scope, minimality, for networks of every shape (invariant 7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gslb.geo.build import build_table, v4_entries
from gslb.geo.classes import TooManyClasses
from gslb.geo.places import Places, Runs, coalesced
from gslb.geo.schema import Location
from gslb.geo.table import EMBEDDED, V6_BITS, LocationTable
from gslb.model.deployment import Address, Deployment, Geo, Network, PolicyId, PoolId, SiteId, View
from tests.geo.oracle import Outcome, Size, Twin, embedded
from tests.geo.places import places_of
from tests.geo.worlds import PLACES, V4_ONLY, deployment, nearest_of, policy, pool, rule, site

LOCATIONS = [Location(at, lon, continent, country, sub, 0) for at, lon, continent, country, sub in PLACES.values()]
LOCATIONS += [
    Location(None, None, "EU", "NO", "", 0),  # a country database
    Location(None, None, "", "", "", 64500),  # an ASN database
    Location(59.9, 10.7, "EU", "NO", "03", 64501),
]
BASES = [  # where networks crowd, so that they nest, touch and leave holes
    *("10.0.0.0", "10.0.1.0", "10.128.0.0", "0.0.0.0", "255.255.255.255", "192.0.2.0"),
    *("::", "::1", "2001:db8::", "2001:db8:0:100::", "2001:db8:8000::", "2002:a00::", "2002:a00:100::", "2003::"),
    *("64:ff9b::", "64:ff9b::a00:0", "64:ff9b:1::", "::ffff:10.0.0.0", "ffff::", "2001::", "1fff::"),
]
ADDRESSES = [ip_address(base) for base in BASES]


def networks(max_v4: int = 32, max_v6: int = 128) -> st.SearchStrategy[Network]:
    """Networks around BASES."""
    return st.tuples(st.sampled_from(ADDRESSES), st.integers(0, 128)).map(
        lambda pair: ip_network((pair[0], min(pair[1], max_v4 if pair[0].version == 4 else max_v6)), strict=False)
    )


def beside(address: Address, step: int) -> Address:
    """The address `step` further, within its family."""
    kind = IPv4Address if address.version == 4 else IPv6Address
    return kind((int(address) + step) % (1 << address.max_prefixlen))


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    """Two policies with subnet, geo and ASN rules, pools of either family, and a scope."""
    families = st.sampled_from([("192.0.2.1",), ("2001:db8::1",), ("192.0.2.1", "2001:db8::1")])
    pools = [pool(f"{service}-{name}", draw(families)) for service in ("a", "b") for name in PLACES]
    scope4, scope6 = draw(st.sampled_from([(24, 56), (20, 48), (8, 16)]))
    policies = []
    for service in ("a", "b"):
        names = draw(st.permutations([f"{service}-{name}" for name in PLACES]))
        conditions = st.one_of(
            networks(scope4, scope6).map(lambda subnet: {"subnets": (subnet,)}),
            st.sampled_from([("EU",), ("EU-NO", "NA-US-VA"), ("AS", "OC")]).map(lambda geos: {"geos": geos}),
            st.just({"asns": (64500, 64501)}),
        )
        rules = [
            rule(*names[: draw(st.integers(1, 3))], nearest=draw(st.booleans()), **condition)
            for condition in draw(st.lists(conditions, max_size=3))
        ]
        made = policy(service, *rules, rule(*names, nearest=draw(st.booleans())))
        policies.append(replace(made, view=draw(st.sampled_from(View))))
    sites = [site(name) for name in PLACES if name != "syd" or draw(st.booleans())]
    sites += [] if len(sites) == len(PLACES) else [site("syd", continent=None)]  # a continent without a site
    geo = Geo(nearest_limit=draw(st.integers(1, 3)), scope4=scope4, scope6=scope6)
    return deployment(policies, pools, sites, geo)


def outcome(table: LocationTable, location_class: int) -> Outcome:
    """What each policy does with a class."""
    ranked = [table.rankings[name][table.ranking_of[name][location_class]] for name in table.rankings]
    return tuple((each.rule, each.pools4, each.pools6, each.continent) for each in ranked)


def check(table: LocationTable, twin: Twin, addresses: Iterable[Address]) -> None:
    """Class and scope as the twin has them; one class in all of address/scope."""
    for address in addresses:
        location_class, scope = table.lookup(address.packed)
        assert (outcome(table, location_class), scope) == twin.lookup(address), address
        block = ip_network((address, scope), strict=False)
        for other in (block.network_address, block.broadcast_address):
            shared = table.lookup(other.packed)
            assert shared[0] == location_class, f"{other} shares {block} with {address}"
            assert table.classes == 1 or shared[1] == scope


def check_minimal(table: LocationTable) -> None:
    """No two sibling blocks have one class, and every IPv6 range differs from its neighbours."""
    if table.v4 is None:
        assert table.v6_count == 0
        return
    entries = np.frombuffer(table.v4, "<u4")
    depth, keys = entries & 0xFF, np.arange(entries.size, dtype=np.uint32)
    heads = np.flatnonzero((depth > 0) & (keys & ((np.uint32(1) << (24 - depth)) - 1) == 0))
    siblings = keys[heads] ^ (np.uint32(1) << (24 - depth[heads]))
    assert not np.any(entries[siblings] == entries[heads]), "equal siblings must be merged"
    edges = {edge for region in EMBEDDED for edge in region}
    for place in range(1, table.v6_count):
        if table.v6_starts[place] not in edges:
            assert table.v6_classes[place] != table.v6_classes[place - 1]


def check_catchments(table: LocationTable, twin: Twin) -> None:
    """Shares to the last millionth, distances to the kilometre; where no place is known there are none."""
    sizes, total = twin.catchments()
    catchments = table.geography().catchments
    if not total:
        assert catchments == {}
        return
    for number, (name, each) in enumerate(twin.deployment.policies.items()):
        shares = [catchment.share for catchment in catchments[name]]
        assert sum(round(share * 1_000_000) for share in shares) == 1_000_000
        for ranking, catchment in zip(table.rankings[name], catchments[name], strict=True):
            size = sizes.get((number, (ranking.rule, ranking.pools4, ranking.pools6, ranking.continent)), Size())
            assert catchment.share == pytest.approx(size.networks / total, abs=1.000001e-6)
            expected = {
                pool: km
                for pool in each.pools
                if (at := twin.deployment.datacenters[twin.deployment.pools[pool].datacenter].at)
                and (km := size.mean_km(at)) is not None
            }
            assert catchment.km.keys() == expected.keys()
            assert all(abs(catchment.km[pool] - km) <= 0.5001 for pool, km in expected.items())


@settings(max_examples=max(12, settings().max_examples // 10))  # a table of 2^24 entries each
@given(
    model=deployments(),
    found=st.lists(st.tuples(networks(), st.sampled_from(LOCATIONS)), max_size=8),
    more=st.lists(st.tuples(st.sampled_from(ADDRESSES), st.integers(-(2**72), 2**72)), max_size=5),
)
@example(nearest_of("fra", "iad"), [(ip_network("0.0.0.0/0"), LOCATIONS[1])], [])
@example(nearest_of("fra", "iad"), [(ip_network("2002::/16"), LOCATIONS[1])], [])  # never looked at
@example(nearest_of("fra", "iad"), [(ip_network("::/0"), LOCATIONS[1]), (ip_network("10.0.0.0/32"), LOCATIONS[1])], [])
def test_table_equals_linear_scan(
    model: Deployment, found: list[tuple[Network, Location]], more: list[tuple[Address, int]]
) -> None:
    twin = Twin(model, found)
    table = LocationTable.from_buffer(build_table(model, places_of(found)))
    table.verify()
    edges = [network.network_address for network, _ in found] + [network.broadcast_address for network, _ in found]
    addresses = {beside(edge, step) for edge in (*edges, *ADDRESSES) for step in (-1, 0, 1)}
    check(table, twin, addresses | {beside(*pair) for pair in more})
    check_minimal(table)
    check_catchments(table, twin)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=64), st.lists(st.integers(1, 30), min_size=64, max_size=64))
def test_v4_depth_is_the_shortest_uniform_prefix(values: list[int], lengths: list[int]) -> None:
    bits = 8
    starts = np.cumsum([0, *lengths])[: len(values)]
    starts = starts[starts < 1 << bits]
    runs = coalesced(starts.astype(np.uint64), np.array(values[: starts.size], np.uint32))
    entries = v4_entries(runs, bits).tolist()
    classes = [entry >> 8 for entry in entries]
    assert classes == [values[int(np.searchsorted(starts, key, "right")) - 1] for key in range(1 << bits)]
    for key, entry in enumerate(entries):
        blocks = [range(key >> size << size, (key >> size << size) + (1 << size)) for size in range(bits, -1, -1)]
        shortest = next(length for length, block in enumerate(blocks) if len({classes[each] for each in block}) == 1)
        assert entry & 0xFF == shortest


def test_v4_entries_of_one_run() -> None:
    assert v4_entries(Runs(np.zeros(1, np.uint64), np.array([5], np.uint32)), 4).tolist() == [5 << 8] * 16


def lookups(model: Deployment, found: list[tuple[str, Location]], *addresses: str) -> list[tuple[Outcome, int]]:
    """Outcome and scope of each address."""
    table = LocationTable.from_buffer(
        build_table(model, places_of([(ip_network(network), location) for network, location in found]))
    )
    answers = [table.lookup(ip_address(address).packed) for address in addresses]
    return [(outcome(table, location_class), scope) for location_class, scope in answers]


def test_each_type_has_its_own_order() -> None:
    """AAAA goes to the nearest pool that has one, though the nearest pools have none."""
    pools = [pool("web-fra"), pool("web-iad"), pool("web-sin", V4_ONLY), pool("web-syd", V4_ONLY)]
    model = deployment(
        [policy("web", rule(*(each.name for each in pools), nearest=True))], pools, geo=Geo(nearest_limit=2)
    )
    [(found, _)] = lookups(model, [("203.0.113.0/24", LOCATIONS[3])], "203.0.113.9")
    assert found == ((0, (PoolId("web-syd"), PoolId("web-sin")), (PoolId("web-iad"), PoolId("web-fra")), ""),)


def test_equal_distances_keep_the_written_order() -> None:
    sites = [site("fra"), replace(site("fra"), name=SiteId("fra2")), site("iad")]
    pools = [pool("web-fra2"), pool("web-iad"), pool("web-fra")]
    model = deployment([policy("web", rule(*(each.name for each in pools), nearest=True))], pools, sites)
    [(found, _)] = lookups(model, [("203.0.113.0/24", LOCATIONS[0])], "203.0.113.9")
    assert found[0][1] == ("web-fra2", "web-fra", "web-iad")


def test_a_site_without_coordinates_comes_last() -> None:
    pools = [pool("web-sin"), pool("web-fra"), pool("web-iad")]
    sites = [site("sin", at=None), site("fra"), site("iad")]
    model = deployment([policy("web", rule(*(each.name for each in pools), nearest=True))], pools, sites)
    [(found, _)] = lookups(model, [("203.0.113.0/24", LOCATIONS[2])], "203.0.113.9")
    assert found[0][1] == ("web-fra", "web-iad", "web-sin")


def test_rules_are_tried_as_written_and_not_by_how_special_they_are() -> None:
    pools = [pool("web-fra"), pool("web-iad"), pool("web-sin")]
    model = deployment(
        [
            policy(
                "web",
                rule("web-fra", geos=("EU",)),
                rule("web-iad", geos=("EU-NO",)),
                rule("web-sin", subnets=(ip_network("203.0.113.0/24"),)),
                rule("web-iad"),
            )
        ],
        pools,
    )
    norway = LOCATIONS[-1]
    answers = lookups(model, [("203.0.112.0/23", norway), ("8.0.0.0/8", LOCATIONS[1])], "203.0.113.1", "8.8.8.8")
    assert [found[0][0] for found, _ in answers] == [0, 3]


def test_a_regional_policy_tells_continents_apart_and_no_other_does() -> None:
    """Only places tell a continent: not a subnet, not an AS number, and not a continent without a site."""
    norway, anywhere, everywhere = LOCATIONS[-1], LOCATIONS[-2], [LOCATIONS[2], LOCATIONS[3], LOCATIONS[0]]
    rules = (
        rule("web-iad", subnets=(ip_network("8.0.0.0/9"),)),
        rule("web-iad", asns=(64500,), geos=("EU-NO",)),
        rule("web-fra", "web-sin"),
    )
    pools = [pool("web-fra"), pool("web-iad"), pool("web-sin")]
    sites = [site("fra"), site("iad"), site("sin")]
    found = [(f"{number}.0.0.0/8", location) for number, location in enumerate((norway, anywhere, *everywhere), 8)]
    addresses = ("8.0.0.1", "8.128.0.1", "9.0.0.1", "10.0.0.1", "11.0.0.1", "12.0.0.1", "192.0.2.1")
    web = replace(policy("web", *rules), view=View.REGIONAL)
    seen = [outcome[0][3] for outcome, _ in lookups(deployment([web], pools, sites), found, *addresses)]
    assert seen == ["", "EU", "", "AS", "", "EU", ""]  # of Oceania there is no site

    both = deployment([policy("api", *rules), web], pools, sites)
    alone = lookups(deployment([policy("api", *rules)], pools, sites), found, *addresses)
    assert [outcome[0] for outcome, _ in lookups(both, found, *addresses)] == [outcome[0] for outcome, _ in alone]
    places = places_of([(ip_network(network), location) for network, location in found])
    tables = [LocationTable.from_buffer(build_table(each, places)) for each in (both, deployment([web], pools, sites))]
    assert [len(table.rankings[PolicyId("web")]) for table in tables] == [6, 6]
    assert len(tables[0].rankings[PolicyId("api")]) == 3


def test_a_subnet_rule_splits_the_network_around_it() -> None:
    model = deployment(
        [policy("web", rule("web-fra", subnets=(ip_network("10.20.0.0/16"),)), rule("web-iad"))],
        [pool("web-fra"), pool("web-iad")],
    )
    answers = lookups(model, [], "10.20.1.1", "10.21.0.0", "10.0.0.1", "11.0.0.1", "192.0.2.1", "2001:db8::1")
    assert [scope for _, scope in answers] == [16, 16, 12, 8, 1, 15]
    assert [found[0][0] for found, _ in answers] == [0, 1, 1, 1, 1, 1]


def test_equal_inputs_give_equal_bytes_whatever_the_order_of_places() -> None:
    found = [(ip_network("10.0.0.0/8"), LOCATIONS[1]), (ip_network("2001:db8::/32"), LOCATIONS[2])]
    model = nearest_of("fra", "iad", "sin")
    assert build_table(model, places_of(found)) == build_table(model, places_of(found[::-1]))


def test_too_many_classes_names_the_policy() -> None:
    found = [(ip_network(f"10.{number}.0.0/16"), location) for number, location in enumerate(LOCATIONS[:5])]
    pools = [pool(f"{service}-{name}") for service in ("web", "api") for name in PLACES]
    model = deployment(
        [
            policy("api", rule("api-fra")),
            policy("web", rule(*(f"web-{name}" for name in PLACES), nearest=True)),
        ],
        pools,
    )
    with pytest.raises(TooManyClasses, match=r"tell 6 kinds of networks apart, at most 4 are possible; policy web"):
        build_table(model, places_of(found), most_classes=4)


def test_no_places_and_no_rules_is_one_class() -> None:
    table = LocationTable.from_buffer(build_table(nearest_of("fra", "iad"), places_of([])))
    assert (table.classes, table.v4, table.v6_count) == (1, None, 0)
    assert table.lookup(ip_address("203.0.113.1").packed) == (0, 0)
    assert table.lookup(ip_address("2001:db8::1").packed) == (0, 0)


def test_embedded_addresses_are_where_their_ipv4_is() -> None:
    model = nearest_of("fra", "iad")
    found = [("203.0.113.0/24", LOCATIONS[1]), ("2002::/16", LOCATIONS[2]), ("::/3", LOCATIONS[2])]
    plain, *others = lookups(
        model, found, "203.0.113.7", "2002:cb00:7107::1", "::ffff:203.0.113.7", "64:ff9b::203.0.113.7"
    )
    assert plain[1] == 24
    assert others == [(plain[0], 40), (plain[0], 120), (plain[0], 120)]
    assert embedded(ip_address("2002:cb00:7107::1")) == (ip_address("203.0.113.7"), 16)


def test_every_key_lies_in_one_range() -> None:
    found: list[tuple[Network, Location]] = [(ip_network("2001:db8::/32"), LOCATIONS[1])]
    table = LocationTable.from_buffer(build_table(nearest_of("fra", "iad"), places_of(found)))
    starts = list(table.v6_starts)
    assert starts == sorted(set(starts))
    assert (starts[0], starts[-1]) == (0, 1 << V6_BITS)
    for place, start in enumerate(starts[:-1]):
        assert table.lookup6_key(start)[0] == table.lookup6_key(starts[place + 1] - 1)[0] == table.v6_classes[place]


def test_places_are_what_was_written() -> None:
    places: Places = places_of([(ip_network("10.0.0.0/9"), LOCATIONS[0]), (ip_network("10.128.0.0/9"), LOCATIONS[0])])
    assert places.v4.starts.tolist() == [0, 10 << 16, 11 << 16]
