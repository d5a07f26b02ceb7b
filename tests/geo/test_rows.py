"""What the databases themselves say, for people; and distances."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gslb.geo.distance import EARTH_RADIUS_KM, kilometres
from gslb.geo.rows import described, known, rows
from gslb.geo.source import DatabaseUnusable
from tests.geo.test_mmdb import LIES, spot
from tests.geo.worlds import flat, maxmind, write


@pytest.fixture
def databases(tmp_path: Path) -> list[Path]:
    """One of each schema and family, and one of AS numbers."""
    return [
        write(tmp_path / "four.mmdb", {"10.0.0.0/9": flat("fra")}),
        write(tmp_path / "both.mmdb", [("10.0.0.0/8", maxmind("sin")), ("2001:db8::/33", maxmind("syd"))], 6),
        write(tmp_path / "asn.mmdb", {"10.0.0.0/8": {"autonomous_system_number": 64500}}),
    ]


def test_rows_come_in_the_order_of_the_files(databases: list[Path]) -> None:
    found = rows(databases, ip_address("10.1.2.3"))
    assert [(row.database, row.network, row.city) for row in found] == [
        (databases[0], ip_network("10.0.0.0/9"), "fra"),
        (databases[1], ip_network("10.0.0.0/8"), "sin"),
        (databases[2], ip_network("10.0.0.0/8"), ""),
    ]
    assert known(found) == spot("fra")._replace(asn=64500)


def test_embedded_and_ipv6(databases: list[Path]) -> None:
    assert rows(databases, ip_address("2002:a01:203::1")) == rows(databases, ip_address("10.1.2.3"))
    [row] = rows(databases, ip_address("2001:db8::1"))
    assert (row.network, row.location) == (ip_network("2001:db8::/33"), spot("syd"))
    assert rows(databases, ip_address("192.0.2.1")) == []
    assert known([]) is None


def test_described(databases: list[Path]) -> None:
    found = described(databases[0])
    assert (found.kind, len(found.built)) == ("test", len("2026-01-31"))


def refusal(ask: Callable[[], object]) -> str:
    """The message of the refusal, empty where something was found."""
    try:
        ask()
    except DatabaseUnusable as error:
        return str(error)
    return ""


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_one_clear_error_or_a_row(tmp_path: Path, lie: str) -> None:
    path = tmp_path / "lie.mmdb"
    path.write_bytes(LIES[lie][0])
    said = {refusal(lambda: rows([path], ip_address("10.0.0.1"))), refusal(lambda: described(path))} - {""}
    assert all(message.startswith(f"geo database {path}: ") for message in said)


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        ((0.0, 0.0), (0.0, 180.0), 3.141592653589793 * EARTH_RADIUS_KM),
        ((90.0, 0.0), (-90.0, 77.0), 3.141592653589793 * EARTH_RADIUS_KM),
        ((10.0, 179.0), (10.0, -179.0), 219.0),
        ((52.52, 13.405), (48.8566, 2.3522), 877.5),
        ((1.0, 2.0), (1.0, 2.0), 0.0),
    ],
)
def test_distances(one: tuple[float, float], other: tuple[float, float], km: float) -> None:
    assert kilometres(one, other) == pytest.approx(km, abs=1)
    assert kilometres(other, one) == kilometres(one, other)
