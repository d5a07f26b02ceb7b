"""One database record -> a location: the MaxMind schema and the flat one.  Pure.

MaxMind (GeoLite2, GeoIP2: City, Country, ASN, Enterprise): nested maps with ISO codes.  Flat (DB-IP and other free
builds): `country_code`, `state1` (a name), `latitude`, `longitude`, `city`.  Both may hold `autonomous_system_number`.
A field of another type than expected counts as absent: databases are other people's data.
"""

from __future__ import annotations

import math
import unicodedata
from functools import lru_cache
from typing import NamedTuple

import pycountry

from gslb.geo.record import MalformedRecord
from gslb.model.continents import CONTINENT_OF, CONTINENTS

MAX_ASN = (1 << 32) - 1
# Every key, at any depth of a record, that is read here.
KEYS = (
    *("country_code", "state1", "latitude", "longitude", "autonomous_system_number"),
    *("continent", "country", "registered_country", "subdivisions", "location", "traits", "code", "iso_code"),
)
_OTHER_NAMES = {("CA", "yukonterritory"): "YT"}  # what databases say and ISO 3166-2 does not


class Location(NamedTuple):
    """Where a network is, as far as known: degrees, octoDNS continent, ISO 3166 codes, AS number (0: not known)."""

    latitude: float | None
    longitude: float | None
    continent: str
    country: str
    subdivision: str
    asn: int

    @property
    def has_place(self) -> bool:
        """Whether anything but the AS number is known."""
        return self.latitude is not None or bool(self.continent or self.country)

    @property
    def coordinates(self) -> tuple[float, float] | None:
        """Latitude and longitude in degrees, where known."""
        return None if self.latitude is None or self.longitude is None else (self.latitude, self.longitude)

    def completed_by(self, other: Location) -> Location:
        """This location, with the other's place where this one has none, and the other's AS number likewise."""
        return (self if self.has_place else other)._replace(asn=self.asn or other.asn)


UNKNOWN = Location(None, None, "", "", "", 0)


def location(record: object) -> Location:
    """What a record says.  Raises MalformedRecord."""
    if not isinstance(record, dict):
        raise MalformedRecord(f"a record is a {type(record).__name__}, expected a map")
    if "country_code" in record or "latitude" in record:
        return _flat(record)
    return _maxmind(record)


def _flat(record: dict[str, object]) -> Location:
    country = _code(record.get("country_code"), 2)
    state = record.get("state1")
    return _located(
        coordinates=(record.get("latitude"), record.get("longitude")),
        country=country,
        continent="",
        subdivision=subdivision_code(country, state) if isinstance(state, str) and state else "",
        asn=record.get("autonomous_system_number"),
    )


def _maxmind(record: dict[str, object]) -> Location:
    place = _map(record.get("location"))
    subdivisions = record.get("subdivisions")
    first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else None
    country = _map(record.get("country")) or _map(record.get("registered_country"))
    return _located(
        coordinates=(place.get("latitude"), place.get("longitude")),
        country=_code(country.get("iso_code"), 2),
        continent=_code(_map(record.get("continent")).get("code"), 2),
        subdivision=_code(_map(first).get("iso_code"), 3),
        asn=record.get("autonomous_system_number", _map(record.get("traits")).get("autonomous_system_number")),
    )


def _located(
    *, coordinates: tuple[object, object], country: str, continent: str, subdivision: str, asn: object
) -> Location:
    latitude, longitude = _degrees(coordinates[0], 90.0), _degrees(coordinates[1], 180.0)
    if latitude is None or longitude is None or latitude == longitude == 0.0:
        latitude = longitude = None  # 0, 0 is open sea: free databases write it for "not known"
    continent = CONTINENT_OF.get(country, continent)
    return Location(
        latitude,
        longitude,
        continent if continent in CONTINENTS else "",
        country,
        subdivision if country else "",
        asn if isinstance(asn, int) and 0 < asn <= MAX_ASN else 0,
    )


@lru_cache(maxsize=1 << 14)
def subdivision_code(country: str, name: str) -> str:
    """The ISO 3166-2 code (without the country) of a subdivision's name; empty where it is not known."""
    folded = _folded(name)
    return _subdivisions(country).get(folded, _OTHER_NAMES.get((country, folded), ""))


@lru_cache(maxsize=512)
def _subdivisions(country: str) -> dict[str, str]:
    return {
        _folded(subdivision.name): subdivision.code.partition("-")[2]
        for subdivision in pycountry.subdivisions
        if subdivision.country_code == country
    }


def _folded(name: str) -> str:
    """A name without accents, case, spaces and punctuation."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in plain.casefold() if letter.isalnum())


def _map(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _code(value: object, longest: int) -> str:
    if isinstance(value, str) and 0 < len(value) <= longest and value.isascii() and value.isalnum():
        return value.upper()
    return ""


def _degrees(value: object, limit: float) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= limit:
        return float(value)
    return None
