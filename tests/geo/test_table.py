"""The mapped file: what is opened, what is refused, and the lookup of embedded IPv4."""

from __future__ import annotations

import mmap
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.geo.build import build_table
from gslb.geo.subnets import subnet_table
from gslb.geo.table import (
    FORMAT,
    HEADER_BYTES,
    LocationTable,
    UnreadableTable,
    normalise,
    shared_key_scope,
)
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.location import Ranking
from tests.geo.places import places_of
from tests.geo.test_build import LOCATIONS
from tests.geo.worlds import V4_ONLY, deployment, nearest_of, policy, pool, rule


@pytest.fixture(scope="module")
def content() -> bytes:
    """A table with both families."""
    found = [(ip_network("10.0.0.0/8"), LOCATIONS[1]), (ip_network("2001:db8::/32"), LOCATIONS[2])]
    return build_table(nearest_of("fra", "iad", "sin"), places_of(found))


@pytest.mark.parametrize(
    ("address", "inside", "offset"),
    [
        ("192.0.2.1", "192.0.2.1", 0),
        ("2001:db8::1", "2001:db8::1", 0),
        ("2002:c000:201::1", "192.0.2.1", 16),
        ("2002::", "0.0.0.0", 16),
        ("::ffff:192.0.2.1", "192.0.2.1", 96),
        ("64:ff9b::192.0.2.1", "192.0.2.1", 96),
        ("64:ff9b::", "0.0.0.0", 96),
        ("64:ff9b:1::192.0.2.1", "64:ff9b:1::192.0.2.1", 0),
        ("64:ff9b:0:0:0:1:c000:201", "64:ff9b:0:0:0:1:c000:201", 0),
        ("::192.0.2.1", "::192.0.2.1", 0),
        ("::fffe:192.0.2.1", "::fffe:192.0.2.1", 0),
        ("::", "::", 0),
    ],
)
def test_the_address_that_decides(address: str, inside: str, offset: int) -> None:
    assert normalise(ip_address(address).packed) == (ip_address(inside).packed, offset)


@pytest.mark.parametrize(
    ("address", "scope"),
    [
        ("2001:db8::1", 0),
        ("::", 81),
        ("::1", 81),
        ("::fffe:0:0", 96),
        ("::1:0:0:0", 80),
        ("0:0:0:80::", 57),
        ("0:0:0:100::", 0),
        ("64:ff9b::1:0:0", 96),
        ("64:ff9b:0:80::", 57),
        ("64:ff9b:1::", 0),
        ("100::", 0),
    ],
)
def test_scopes_beside_embedded_prefixes(address: str, scope: int) -> None:
    assert shared_key_scope(ip_address(address).packed) == scope
    for special in ("::ffff:0:0/96", "64:ff9b::/96"):
        if scope:
            assert not ip_network(f"{address}/{scope}", strict=False).overlaps(ip_network(special))


def test_one_class_for_everybody() -> None:
    pools = [pool("web-fra", V4_ONLY), pool("web-iad")]
    web = policy("web", rule("web-iad", geos=("EU",)), rule("web-fra", "web-iad", nearest=True))
    table = LocationTable.from_buffer(subnet_table(deployment([web], pools)))
    table.verify()
    ranking = Ranking(1, (PoolId("web-fra"), PoolId("web-iad")), (PoolId("web-iad"),))
    assert table.geography().rankings == {"web": (ranking,)}
    assert (table.classes, table.v4, list(table.ranking_of[PolicyId("web")])) == (1, None, [0])
    assert table.lookup(ip_address("192.0.2.1").packed) == (0, 0)
    assert table.lookup(ip_address("2001:db8::1").packed) == (0, 0)
    assert table.lookup(ip_address("2002:c000:201::").packed) == (0, 16)
    assert table.lookup6_key(1 << 55) == (0, 0)


def test_one_class_needs_no_numpy() -> None:
    """So a node without a database starts at once."""
    code = "import sys, gslb.geo.load; print({'numpy', 'maxminddb', 'pycountry'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "set()\n"


def test_the_table_is_read_where_it_lies(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_bytes(content)
    with path.open("rb") as file:
        table = LocationTable.from_buffer(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    table.verify()
    assert table.v4 is not None
    assert table.v4[10 << 16] >> 8 == table.lookup(ip_address("10.0.0.1").packed)[0] > 0
    assert table.v4.readonly
    assert table.digest == LocationTable.from_buffer(content).digest
    assert len(table.digest) == 32


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, 5000])
def test_truncated(content: bytes, length: int) -> None:
    with pytest.raises(UnreadableTable):
        LocationTable.from_buffer(content[:length])


@pytest.mark.parametrize(
    ("at", "value", "expected"),
    [
        (0, b"NOTATABL", "not a location table"),
        (8, b"\x63\0\0\0", f"format 99, expected {FORMAT}"),
        (16, b"\0" * 8, "bytes long, expected 0"),
        (48, b"\0" * 4, "impossible counts"),
        (56, b"\xff\0\0\0", "impossible counts"),
        (40, b"\0" * 8, "header or rankings are damaged"),
        (64, b"\xff" * 6, "outside the file"),
        (80, b"\xff" * 6, "outside the file"),
        (208, b"\xff" * 6, "outside the file"),
        (-3, b"!", "header or rankings are damaged"),
    ],
)
def test_damaged_headers(content: bytes, at: int, value: bytes, expected: str) -> None:
    damaged = bytearray(content)
    if at < 0:
        header = LocationTable.from_buffer(content).header
        at += header.rankings_at + header.rankings_bytes
    damaged[at : at + len(value)] = value
    with pytest.raises(UnreadableTable, match=expected):
        LocationTable.from_buffer(damaged)


def test_verify_reads_every_byte(content: bytes) -> None:
    damaged = bytearray(content)
    damaged[len(damaged) // 2] ^= 1
    table = LocationTable.from_buffer(damaged)
    with pytest.raises(UnreadableTable, match="digest does not match"):
        table.verify()


@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadableTable):
        LocationTable.from_buffer(data)


@given(changes=st.lists(st.tuples(st.integers(0, HEADER_BYTES - 1), st.integers(0, 255)), min_size=1))
def test_any_header_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    whole = subnet_table(nearest_of("fra", "iad"))
    damaged = bytearray(whole)
    for at, value in changes:
        damaged[at] = value
    if damaged != whole:
        with pytest.raises(UnreadableTable):
            LocationTable.from_buffer(damaged)
