"""Catchments in the table: round trip, damage, apportioning, and known numbers."""

from __future__ import annotations

import pickle
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.geo.build import build_table
from gslb.geo.catchments import (
    UNKNOWN_KM,
    WHOLE,
    UnreadableCatchments,
    Weighed,
    apportioned,
    decode_catchments,
    encode_catchments,
)
from gslb.geo.distance import kilometres
from gslb.geo.schema import Location
from gslb.geo.table import HEADER, HEADER_BYTES, Header, LocationTable, UnreadableTable
from gslb.model.deployment import Deployment, Network, PolicyId, PoolId, Spill
from gslb.model.location import Catchment
from tests.geo.places import places_of
from tests.geo.test_build import LOCATIONS
from tests.geo.worlds import PLACES, deployment, nearest_of, policy, pool, rule, site

WEB, API = PolicyId("web"), PolicyId("api")
FRA, IAD = PoolId("web-fra"), PoolId("web-iad")
WEIGHED = {
    WEB: Weighed((FRA, IAD), [3, 0, 1], [[10, 6000], [UNKNOWN_KM, UNKNOWN_KM], [UNKNOWN_KM, 7]]),
    API: Weighed((FRA,), [5], [[0]]),
}
COUNTS = {WEB: 3, API: 1}


@given(st.lists(st.integers(0, 1 << 56), min_size=1, max_size=50).filter(any))
def test_shares_add_up_and_are_off_by_less_than_one(sizes: list[int]) -> None:
    parts = apportioned(sizes)
    assert sum(parts) == WHOLE
    assert all(abs(part * sum(sizes) - size * WHOLE) < sum(sizes) for part, size in zip(parts, sizes, strict=True))
    assert all(part == 0 for part, size in zip(parts, sizes, strict=True) if size == 0)


def test_equal_remainders_go_to_the_first() -> None:
    assert apportioned([1, 1, 1]) == [333_334, 333_333, 333_333]


def test_what_was_written_is_read() -> None:
    found = decode_catchments(encode_catchments(WEIGHED), COUNTS)
    assert found == {
        WEB: (Catchment(0.75, {FRA: 10.0, IAD: 6000.0}), Catchment(0.0, {}), Catchment(0.25, {IAD: 7.0})),
        API: (Catchment(1.0, {FRA: 0.0}),),
    }
    assert FRA not in found[WEB][2].km
    assert found[WEB][2].km.get(PoolId("unheard-of")) is None
    assert pickle.loads(pickle.dumps(found)) == found


def test_every_damaged_byte_is_noticed() -> None:
    section = encode_catchments(WEIGHED)
    for at in range(len(section)):
        damaged = bytearray(section)
        damaged[at] ^= 0x10
        with pytest.raises(UnreadableCatchments):
            decode_catchments(bytes(damaged), COUNTS)
    for length in range(len(section)):
        with pytest.raises(UnreadableCatchments):
            decode_catchments(section[:length], COUNTS)


@pytest.mark.parametrize("counts", [{}, {WEB: 3}, {WEB: 4, API: 1}, {WEB: 2, API: 1}, {WEB: 1 << 40, API: 1}], ids=str)
def test_catchments_of_other_policies_are_refused(counts: dict[PolicyId, int]) -> None:
    with pytest.raises(UnreadableCatchments, match="malformed"):
        decode_catchments(encode_catchments(WEIGHED), counts)


def test_a_table_knows_shares_and_distances() -> None:
    """Three /24 near Frankfurt, one near Ashburn, one of no place; the burst site counts as well."""
    fra, iad = LOCATIONS[0], LOCATIONS[1]
    model = deployment(
        [replace(policy("web", rule("web-fra", "web-iad", nearest=True)), spill=Spill(to=(PoolId("web-gru"),)))],
        [pool("web-fra"), pool("web-iad"), pool("web-gru")],
    )
    networks: list[tuple[Network, Location]] = [
        (ip_network("10.0.0.0/23"), fra),
        (ip_network("10.0.2.0/24"), fra),
        (ip_network("10.1.0.0/24"), iad),
    ]
    table = LocationTable.from_buffer(build_table(model, places_of(networks)))
    rankings = table.rankings[WEB]
    by_first = {
        ranking.pools4[0]: catchment
        for ranking, catchment in zip(rankings, table.geography().catchments[WEB], strict=True)
    }
    assert {first: catchment.share for first, catchment in by_first.items()} == {FRA: 0.75, IAD: 0.25}
    at = {name: PLACES[name][:2] for name in ("fra", "iad", "gru")}
    assert dict(by_first[FRA].km) == {
        PoolId(f"web-{name}"): round(kilometres(at["fra"], at[name])) for name in ("fra", "iad", "gru")
    }
    assert by_first[IAD].km[PoolId("web-gru")] == round(kilometres(at["iad"], at["gru"]))


def test_a_site_nobody_placed_has_no_distance() -> None:
    model = deployment(
        [policy("web", rule("web-fra", "web-iad"))],
        [pool("web-fra"), pool("web-iad")],
        [site("fra", at=None), site("iad")],
    )
    table = LocationTable.from_buffer(build_table(model, places_of([(ip_network("10.0.0.0/8"), LOCATIONS[1])])))
    assert (table.classes, table.v4) == (1, None)
    assert table.geography().catchments == {WEB: (Catchment(1.0, {IAD: 0.0}),)}


def test_ipv6_counts_where_no_ipv4_is_known() -> None:
    fra, iad = LOCATIONS[0], LOCATIONS[1]
    six: list[tuple[Network, Location]] = [
        (ip_network("2001:db8::/54"), fra),
        (ip_network("2001:db8:1::/55"), iad),
        (ip_network("2002::/16"), iad),
    ]
    model = nearest_of("fra", "iad")
    shares = [each.share for each in _catchments(model, six)]
    assert sorted(shares) == [0.333333, 0.666667]
    both: list[tuple[Network, Location]] = [*six, (ip_network("10.0.0.0/24"), iad)]
    assert sorted(each.share for each in _catchments(model, both)) == [0.0, 1.0]
    assert LocationTable.from_buffer(build_table(model, places_of(six[2:]))).geography().catchments == {}


def test_a_named_network_counts_though_its_place_is_not_known() -> None:
    model = deployment(
        [policy("web", rule("web-iad", subnets=(ip_network("192.168.0.0/23"),)), rule("web-fra"))],
        [pool("web-fra"), pool("web-iad")],
    )
    found = _catchments(model, [(ip_network("10.0.0.0/23"), LOCATIONS[0])])
    assert [each.share for each in found] == [0.5, 0.5]
    assert [dict(each.km).keys() for each in found] == [{FRA, IAD}, set()]


def test_damaged_catchments_are_no_geography_but_answers_go_on() -> None:
    content = bytearray(build_table(nearest_of("fra", "iad"), places_of([(ip_network("10.0.0.0/8"), LOCATIONS[1])])))
    header = Header(*HEADER.unpack_from(content))
    assert header.catchments_at > HEADER_BYTES
    content[header.catchments_at + header.catchments_bytes - 1] ^= 1
    table = LocationTable.from_buffer(content)
    assert table.lookup(bytes([10, 0, 0, 1]))[1] == 8
    with pytest.raises(UnreadableTable, match="catchments are damaged"):
        table.geography()


def _catchments(model: Deployment, found: list[tuple[Network, Location]]) -> tuple[Catchment, ...]:
    table = LocationTable.from_buffer(build_table(model, places_of(found)))
    return table.geography().catchments[WEB]
