"""What a record says, in both schemas, and what is made of nonsense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.geo.record import MalformedRecord
from gslb.geo.schema import KEYS, UNKNOWN, Location, location, subdivision_code
from gslb.model.continents import CONTINENT_OF, CONTINENTS

FLAT = {"country_code": "CA", "state1": "Québec", "latitude": 45.5, "longitude": -73.6, "city": "Montreal"}
CITY: dict[str, Any] = {
    "continent": {"code": "NA"},
    "country": {"iso_code": "US"},
    "subdivisions": [{"iso_code": "CA"}],
    "location": {"latitude": 37.0, "longitude": -122.0},
    "traits": {"autonomous_system_number": 64500},
}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (FLAT, Location(45.5, -73.6, "NA", "CA", "QC", 0)),
        (FLAT | {"autonomous_system_number": 7}, Location(45.5, -73.6, "NA", "CA", "QC", 7)),
        (FLAT | {"state1": "Nowhere"}, Location(45.5, -73.6, "NA", "CA", "", 0)),
        (FLAT | {"latitude": 0.0, "longitude": 0.0}, Location(None, None, "NA", "CA", "QC", 0)),
        (FLAT | {"latitude": 91.0}, Location(None, None, "NA", "CA", "QC", 0)),
        (FLAT | {"latitude": float("nan")}, Location(None, None, "NA", "CA", "QC", 0)),
        (FLAT | {"latitude": "45.5"}, Location(None, None, "NA", "CA", "QC", 0)),
        (FLAT | {"country_code": ""}, Location(45.5, -73.6, "", "", "", 0)),
        (FLAT | {"country_code": "ZZ"}, Location(45.5, -73.6, "", "ZZ", "", 0)),
        (FLAT | {"country_code": 7, "state1": 7}, Location(45.5, -73.6, "", "", "", 0)),
        (CITY, Location(37.0, -122.0, "NA", "US", "CA", 64500)),
        (CITY | {"continent": {"code": "EU"}}, Location(37.0, -122.0, "NA", "US", "CA", 64500)),
        ({"continent": {"code": "AS"}}, Location(None, None, "AS", "", "", 0)),
        ({"continent": {"code": "XX"}}, UNKNOWN),
        ({"registered_country": {"iso_code": "no"}}, Location(None, None, "EU", "NO", "", 0)),
        ({"country": [], "location": "here", "subdivisions": [3], "traits": None}, UNKNOWN),
        ({"autonomous_system_number": 64501}, Location(None, None, "", "", "", 64501)),
        ({"autonomous_system_number": 1 << 32}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_locations(record: dict[str, Any], expected: Location) -> None:
    assert location(record) == expected


@pytest.mark.parametrize("record", ["text", 3, [], None])
def test_a_record_is_a_map(record: object) -> None:
    with pytest.raises(MalformedRecord, match="expected a map"):
        location(record)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_map_is_a_location(record: dict[str, Any]) -> None:
    found = location(record)
    assert (found.latitude is None) == (found.longitude is None)
    assert found.continent in ("", *CONTINENTS)


@pytest.mark.parametrize(
    ("country", "name", "code"),
    [
        ("US", "California", "CA"),
        ("US", "District of Columbia", "DC"),
        ("US", "washington", "WA"),
        ("CA", "Newfoundland and Labrador", "NL"),
        ("CA", "Quebec", "QC"),
        ("CA", "Yukon Territory", "YT"),
        ("CA", "Yukon", "YT"),
        ("DE", "Hessen", "HE"),
        ("NO", "Oslo", "03"),
        ("US", "Ontario", ""),
        ("", "California", ""),
        ("ZZ", "California", ""),
    ],
)
def test_names_of_subdivisions(country: str, name: str, code: str) -> None:
    assert subdivision_code(country, name) == code


def test_every_country_has_one_continent() -> None:
    assert len(CONTINENT_OF) == 250  # ISO 3166-1, and XK
    assert CONTINENT_OF["TR"] == "AS"
    assert CONTINENT_OF["RU"] == "EU"
    assert CONTINENT_OF["AQ"] == "AN"


def test_what_one_knows_completes_the_other() -> None:
    asn, place = UNKNOWN._replace(asn=7), Location(1.0, 2.0, "AF", "", "", 0)
    assert asn.completed_by(place) == place.completed_by(asn) == place._replace(asn=7)
    assert place.completed_by(Location(3.0, 4.0, "EU", "NO", "", 9)) == place._replace(asn=9)
