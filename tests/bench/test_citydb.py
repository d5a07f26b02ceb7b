"""The peers' copy of the city database: the same networks, in MaxMind's schema."""

from __future__ import annotations

from pathlib import Path

import maxminddb
import pytest

from bench import citydb

FRANKFURT = {"city": "Frankfurt", "country_code": "DE", "latitude": 50.11, "longitude": 8.68}
NODES = 1 << 16
NOWHERE = {"city": "", "country_code": ""}


def database(path: Path, record_size: int = 28) -> Path:
    """0.0.0.0/1 is in Frankfurt, 128.0.0.0/1 is nowhere; the other nodes are there because readers want a wide count."""
    records = [citydb._encode(record) for record in (FRANKFURT, NOWHERE)]
    left = NODES + citydb.SEPARATOR
    right = left + len(records[0])
    node = left.to_bytes(3, "big") + b"\0" + right.to_bytes(3, "big")
    metadata = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1 << 31,
        "database_type": "city ipv4",
        "description": {},
        "ip_version": 4,
        "languages": [],
        "node_count": NODES,
        "record_size": record_size,
    }
    path.write_bytes(
        node * NODES + bytes(citydb.SEPARATOR) + b"".join(records) + citydb.MARK + citydb._encode(metadata)
    )
    return path


def test_networks_stay_and_places_are_translated(tmp_path: Path) -> None:
    source = database(tmp_path / "flat.mmdb")
    with maxminddb.open_database(citydb.cached(source, tmp_path / "made")) as reader:
        place = {
            "country": {"iso_code": "DE"},
            "continent": {"code": "EU"},
            "location": {"latitude": 50.11, "longitude": 8.68},
        }
        assert reader.get_with_prefix_len("9.9.9.9") == (place, 1)
        assert reader.get_with_prefix_len("193.0.0.1") == ({}, 1)
        assert reader.metadata().database_type == "GeoLite2-City"


def test_the_copy_is_made_once(tmp_path: Path) -> None:
    source = database(tmp_path / "flat.mmdb")
    first = citydb.cached(source, tmp_path / "made")
    made_at = first.stat().st_mtime_ns
    assert citydb.cached(source, tmp_path / "made") == first
    assert first.stat().st_mtime_ns == made_at
    assert len(list(first.parent.iterdir())) == 1


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="records of 28 bits"):
        citydb.convert(database(tmp_path / "flat.mmdb", record_size=24))


@pytest.mark.parametrize(
    ("at", "continent"),
    [
        ((48.85, 2.35), "EU"),
        ((40.7, -74.0), "NA"),
        ((13.75, 100.5), "AS"),
        ((-36.85, 174.76), "OC"),
        ((-34.6, -58.4), "SA"),
    ],
    ids=["Paris", "New York", "Bangkok", "Auckland", "Buenos Aires"],
)
def test_the_nearest_site(at: tuple[float, float], continent: str) -> None:
    assert citydb.nearest(*at) == continent
