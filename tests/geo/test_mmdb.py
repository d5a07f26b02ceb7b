"""Databases of both schemas and every shape are flattened right; every structural lie is one clear error."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import maxminddb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmdb_writer import Encoder

from gslb.geo.places import Places, Runs, flatten
from gslb.geo.schema import UNKNOWN, Location, location
from gslb.geo.source import DatabaseUnusable
from gslb.model.deployment import Address
from tests.geo.worlds import PLACES, flat, maxmind, write

MARKER = b"\xab\xcd\xefMaxMind.com"


def place_at(places: Places, address: str | Address) -> Location:
    """The place of an address, by the runs."""
    at = ip_address(address)
    runs, shift = (places.v4, 8) if at.version == 4 else (places.v6, 72)
    key = np.uint64(int(at) >> shift)  # a bare integer would be compared as a float
    row = places.rows[runs.places[int(np.searchsorted(runs.starts, key, "right")) - 1]]
    continent, country, subdivision = places.geos[row["geo"]]
    known = not np.isnan(row["latitude"])
    latitude, longitude = (float(row["latitude"]), float(row["longitude"])) if known else (None, None)
    return Location(latitude, longitude, continent, country, subdivision, int(row["asn"]))


def spot(name: str, subdivision: str = "") -> Location:
    """The location that the flat schema gives one of PLACES."""
    latitude, longitude, continent, country, _ = PLACES[name]
    return Location(latitude, longitude, continent, country, subdivision, 0)


def check_whole(runs: Runs) -> None:
    """Runs begin at 0, ascend, and neighbours differ."""
    starts = runs.starts.tolist()
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert not np.any(runs.places[1:] == runs.places[:-1])


def test_flat_schema_in_both_families(tmp_path: Path) -> None:
    v4 = write(tmp_path / "four.mmdb", [("10.0.0.0/8", flat("fra")), ("10.1.0.0/16", flat("iad", "Virginia"))])
    v6 = write(tmp_path / "six.mmdb", [("2001:db8::/32", flat("sin")), ("2001:db8:1::/48", flat("syd"))], 6)
    places = flatten([v4, v6])
    check_whole(places.v4)
    check_whole(places.v6)
    assert place_at(places, "10.0.255.255") == spot("fra")
    assert place_at(places, "10.1.2.3") == spot("iad", "VA")
    assert place_at(places, "9.255.255.255") == place_at(places, "11.0.0.0") == UNKNOWN
    assert place_at(places, "2001:db8::1") == place_at(places, "2001:db8:ffff::") == spot("sin")
    assert place_at(places, "2001:db8:1:ff::") == spot("syd")
    assert place_at(places, "2001:db9::") == UNKNOWN


def test_maxmind_schema_with_ipv4_inside(tmp_path: Path) -> None:
    path = write(tmp_path / "city.mmdb", [("10.0.0.0/8", maxmind("iad")), ("2001:db8::/32", maxmind("sin"))], 6)
    places = flatten([path])
    assert place_at(places, "10.9.8.7") == spot("iad", "VA")
    assert place_at(places, "2001:db8::1") == spot("sin")
    assert place_at(places, "2002:a00::1") == UNKNOWN


def test_the_base_address_decides_for_its_network(tmp_path: Path) -> None:
    found = [("10.0.0.0/24", flat("fra")), ("10.0.0.128/25", flat("iad")), ("10.0.1.0/31", flat("sin"))]
    path = write(tmp_path / "four.mmdb", found)
    places = flatten([path])
    assert place_at(places, "10.0.0.200") == spot("fra")
    assert place_at(places, "10.0.1.200") == spot("sin")
    path = write(tmp_path / "six.mmdb", [("2001:db8::/127", flat("fra")), ("2001:db8:0:100::1/128", flat("iad"))], 6)
    places = flatten([path])
    assert place_at(places, "2001:db8::ffff") == spot("fra")
    assert place_at(places, "2001:db8:0:100::1") == UNKNOWN


def test_everything_in_one_record(tmp_path: Path) -> None:
    places = flatten([write(tmp_path / "four.mmdb", {"0.0.0.0/0": flat("gru")})])
    assert place_at(places, "0.0.0.0") == place_at(places, "255.255.255.255") == spot("gru")
    assert place_at(places, "::") == UNKNOWN


def test_asn_and_city_databases_together(tmp_path: Path) -> None:
    city = write(tmp_path / "city.mmdb", [("10.0.0.0/8", flat("fra")), ("12.0.0.0/8", flat("iad"))])
    asn = {"autonomous_system_number": 64500, "autonomous_system_organization": "Example"}
    numbers = write(tmp_path / "asn.mmdb", [("10.1.0.0/16", asn), ("11.0.0.0/8", asn), ("2001:db8::/32", asn)], 6)
    for order in ([city, numbers], [numbers, city]):
        places = flatten(order)
        check_whole(places.v4)
        assert place_at(places, "10.0.0.1") == spot("fra")
        assert place_at(places, "10.1.0.1") == spot("fra")._replace(asn=64500)
        assert place_at(places, "11.0.0.1") == UNKNOWN._replace(asn=64500)
        assert place_at(places, "12.0.0.1") == spot("iad")
        assert place_at(places, "2001:db8::1") == UNKNOWN._replace(asn=64500)


def test_the_first_database_that_knows_a_place_decides(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.mmdb", {"10.1.0.0/16": flat("syd")})
    theirs = write(tmp_path / "theirs.mmdb", {"10.0.0.0/8": flat("fra")})
    places = flatten([mine, theirs])
    assert (place_at(places, "10.1.0.1"), place_at(places, "10.2.0.1")) == (spot("syd"), spot("fra"))


NETWORK = st.tuples(st.integers(0, 15), st.integers(5, 32), st.sampled_from(sorted(PLACES)))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(NETWORK, max_size=12), six=st.booleans())
def test_places_equal_lookups(tmp_path: Path, found: list[tuple[int, int, str]], six: bool) -> None:  # noqa: FBT001
    """Every place is what maxminddb answers at the base of its /24 or /56."""
    pairs = []
    for number, length, name in found:
        four = ip_network((number << 20 | number << 6, length), strict=False)
        network = ip_network((int(four.network_address) << 84, length + 12), strict=False) if six else four
        pairs.append((str(network), flat(name)))
    path = write(tmp_path / "random.mmdb", pairs, 6 if six else 4)
    places = flatten([path])
    runs, shift, kind = (places.v6, 72, IPv6Address) if six else (places.v4, 8, IPv4Address)
    check_whole(runs)
    with maxminddb.open_database(path) as reader:
        for key in {max(0, start + step) for start in runs.starts.tolist() for step in (-1, 0, 1)}:
            record = reader.get(kind(key << shift))
            expected = UNKNOWN if record is None else location(record)
            assert place_at(places, kind(key << shift)) == expected


# A database by hand, so that each number in it can lie.


def database(
    nodes: list[tuple[int, int]],
    data: bytes = b"",
    record_size: int = 24,
    claimed_size: int | None = None,
    **claims: Any,
) -> bytes:
    """A file with these nodes, this data section, and metadata that `claims` may falsify."""
    tree = b""
    for left, right in nodes:
        if record_size == 28:
            tree += (left & 0xFFFFFF).to_bytes(3, "big") + bytes([(left >> 24) << 4 | right >> 24])
            tree += (right & 0xFFFFFF).to_bytes(3, "big")
        else:
            tree += left.to_bytes(record_size // 8, "big") + right.to_bytes(record_size // 8, "big")
    metadata = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1_700_000_000,
        "database_type": "test",
        "description": {"en": "test"},
        "ip_version": 4,
        "languages": ["en"],
        "node_count": len(nodes),
        "record_size": claimed_size or record_size,
    }
    return tree + bytes(16) + data + MARKER + Encoder(cache=False).encode_meta({**metadata, **claims})


RECORD = Encoder(cache=False).encode(flat("fra"))


def leaf(nodes: int, offset: int = 0) -> int:
    """The pointer to the data at `offset` in a tree of so many nodes."""
    return nodes + 16 + offset


@pytest.mark.parametrize("record_size", [24, 28, 32])
def test_record_sizes(tmp_path: Path, record_size: int) -> None:
    path = tmp_path / "by-hand.mmdb"
    path.write_bytes(database([(leaf(2), 1), (2, leaf(2))], RECORD, record_size))
    places = flatten([path])
    assert places.v4.starts.tolist() == [0, 1 << 23, 3 << 22]
    assert place_at(places, "127.0.0.1") == place_at(places, "192.0.0.0") == spot("fra")


def test_large_records_use_all_bits(tmp_path: Path) -> None:
    data = b"\x00" * (1 << 17) + RECORD
    path = tmp_path / "by-hand.mmdb"
    for record_size in (24, 28, 32):
        path.write_bytes(database([(1, leaf(1, 1 << 17))], data, record_size))
        assert place_at(flatten([path]), "200.0.0.1") == spot("fra")


def bomb(depth: int) -> bytes:
    """An array in an array in an array ..."""
    return b"\x01\x04" * depth + b"\xe0"


def fan_out(at: int) -> bytes:
    """At offset `at`: five levels of arrays, each of thirty pointers to the next, 30^5 values in a few hundred bytes."""
    level = 3 + 30 * 2
    targets = (at + level * (number + 1) for number in range(5))
    parts = [b"\x1d\x04\x01" + bytes([0x20 | target >> 8, target & 0xFF]) * 30 for target in targets]
    return b"".join(parts) + b"\x00\x07"


LIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello", "not a MaxMind DB"),
    "no metadata": (bytes(1000), "not a MaxMind DB"),
    "marker and nothing else": (MARKER, "not a MaxMind DB"),
    "marker twice": (database([(leaf(1), 1)], RECORD) + MARKER, "not a MaxMind DB"),
    "metadata is no map": (bytes(64) + MARKER + b"\x42hi", "not a MaxMind DB"),
    "more nodes than bytes": (database([(leaf(1), 1)], RECORD, node_count=1 << 20), "MaxMind DB|cannot hold"),
    "more nodes than any": (database([(leaf(1), 1)], RECORD, node_count=1 << 31), "MaxMind DB|cannot hold|claim"),
    "fewer nodes": (
        database([(1, 1), (leaf(2), leaf(2))], RECORD, node_count=1),
        "does not end after|outside the data",
    ),
    "no nodes": (database([], RECORD), "not a MaxMind DB|claim 0 nodes"),
    "record size 20": (database([(leaf(1), 1)], RECORD, claimed_size=20), "MaxMind DB|claim"),
    "ip version 5": (
        database([(leaf(1), 1)], RECORD, ip_version=5),
        "claim 1 nodes of 24-bit records for IPv5|MaxMind DB",
    ),
    "pointer past the data": (database([(leaf(1, 5000), 1)], RECORD), "points outside the data section|MaxMind DB"),
    "pointer into the separator": (database([(2, 1)], RECORD), "points outside the data section"),
    "circle": (database([(1, 2), (0, 1)], RECORD), "runs in a circle|deeper than 32 bits"),
    "circle of one": (database([(0, 0)], RECORD), "runs in a circle|deeper than 32 bits"),
    "a node used twice": (database([(1, 1), (2, 2), (3, 3), (leaf(4), 4)], RECORD), "runs in a circle"),
    "pointer into the middle": (database([(leaf(1, 3), 1)], RECORD), "cannot be decoded|expected a map"),
    "record is text": (database([(leaf(1), 1)], b"\x45hello"), "a record is a str, expected a map"),
    "record runs off the end": (database([(leaf(1), 1)], b"\xe5"), "cannot be decoded|expected a map"),
    "pointer to itself": (database([(leaf(1), 1)], b"\x20\x00"), "cannot be decoded"),
    "depth bomb": (database([(leaf(1), 1)], b"\xe1\x44code" + bomb(5000)), "deeper than 16 levels"),
    "fan-out bomb": (database([(leaf(1), 1)], b"\xe1\x44code" + fan_out(6)), "more than 1000 values"),
    "huge map": (database([(leaf(1), 1)], b"\xff\xff\xff\xff"), "more than 1000 values"),
    "huge text": (database([(leaf(1), 1)], b"\xe1\x44code\x5f\xff\xff\xff"), "a text of"),
    "long text": (database([(leaf(1), 1)], b"\xe1\x44code" + b"\x5e\xff\xff" + b"x" * 70000), "a text of 65820"),
    "many values": (
        database([(leaf(1), 1)], b"\xe1\x41a" + b"\x1e\x04" + (1200 - 285).to_bytes(2, "big") + b"\xa0" * 1200),
        "more than 1000 values",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_one_clear_error(tmp_path: Path, lie: str) -> None:
    content, expected = LIES[lie]
    path = tmp_path / "lie.mmdb"
    path.write_bytes(content)
    with pytest.raises(DatabaseUnusable, match=expected) as refused:
        flatten([path])
    assert str(refused.value).startswith(f"geo database {path}: ")


def test_every_truncation_is_refused_or_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "whole.mmdb", {"10.0.0.0/8": flat("fra")})
    content = path.read_bytes()
    for length in range(0, len(content) - 1, 7):
        path.write_bytes(content[:length])
        with pytest.raises(DatabaseUnusable):
            flatten([path])


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnusable, match="No such file"):
        flatten([tmp_path / "absent.mmdb"])
    with pytest.raises(DatabaseUnusable, match="Is a directory"):
        flatten([tmp_path])


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=8),
    six=st.booleans(),
)
def test_a_mutated_database_is_read_or_refused(
    tmp_path: Path,
    sample: Callable[[int], bytes],
    changes: list[tuple[int, int]],
    six: bool,  # noqa: FBT001
) -> None:
    content = bytearray(sample(6 if six else 4))
    for at, value in changes:
        content[at % len(content)] = value
    path = tmp_path / "mutated.mmdb"
    path.write_bytes(content)
    try:
        places = flatten([path])
    except DatabaseUnusable:
        return
    check_whole(places.v4)
    check_whole(places.v6)
    assert np.all(places.v4.places < places.rows.size)
    assert np.all(places.v6.places < places.rows.size)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], bytes]:
    """A small database of either kind."""
    folder = tmp_path_factory.mktemp("sample")
    four = [(f"{number}.0.0.0/{8 + number}", flat(name)) for number, name in enumerate(PLACES, 1)]
    six = [(f"2001:db8:{number}::/48", maxmind(name)) for number, name in enumerate(PLACES, 1)]
    contents = {
        4: write(folder / "four.mmdb", four).read_bytes(),
        6: write(folder / "six.mmdb", [*six, ("10.0.0.0/8", maxmind("fra"))], 6).read_bytes(),
    }
    return contents.__getitem__
