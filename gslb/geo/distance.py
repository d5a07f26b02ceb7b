"""Great-circle distance, for people: ranking compares exact chords (`gslb.geo.rank`).  Pure."""

from __future__ import annotations

import math

EARTH_RADIUS_KM = 6371.0088  # mean radius (IUGG)


def kilometres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The distance of two (latitude, longitude) pairs in degrees, along the surface of the sphere."""
    phi1, phi2 = math.radians(one[0]), math.radians(other[0])
    half_lat, half_lon = (phi2 - phi1) / 2, math.radians(other[1] - one[1]) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(phi1) * math.cos(phi2) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, chord)))
