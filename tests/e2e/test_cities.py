"""The example that `make run` serves, asked with dig from five cities on the full city database."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

import dns.name
import maxminddb
import pytest
import yaml

from tests.e2e.lifecycle import wait_until
from tests.e2e.probes.wire import Target, query
from tests.e2e.program import FEATURES, running
from tests.ports import free_port

pytestmark = [pytest.mark.geodb, pytest.mark.slow]

ROOT = Path(__file__).parent.parent.parent
NEAR_KM = 60.0
FLATTEN_S = 100.0  # the first start on a machine flattens the databases before it answers
NAME = "www.example.com."
NAME_WIRE = dns.name.from_text(NAME).to_wire() or b""


@dataclass(frozen=True)
class City:
    """A place, clients that were there when this was written, and what the example tells them for A and AAAA.

    The database changes every month, so a test takes the first client that still is there.
    """

    at: tuple[float, float]
    clients: tuple[str, ...]
    clients6: tuple[str, ...]
    datacenter: str
    datacenter6: str


CITIES = {
    "Frankfurt": City(
        (50.11, 8.68),
        ("132.226.195.40", "51.102.170.59", "141.7.152.91", "154.196.37.139"),
        ("2a00:209:b1c0::", "2a05:f241:ecc0::", "2a01:e7c3:bc40::"),
        "fra", "fra",
    ),
    "Ashburn": City(
        (39.04, -77.49),
        ("54.158.238.251", "68.137.45.252", "15.151.156.243", "216.91.30.36"),
        ("2602:3ba:3cf0::", "2602:3d1:d810::", "2602:3da:20::"),
        "iad", "iad",
    ),
    "Singapore": City(
        (1.35, 103.82),
        ("13.67.62.157", "47.129.214.109", "34.87.180.171", "218.186.222.117"),
        ("2001:a557:f950::", "2001:a388:e4b0::", "2001:a21f:2320::"),
        "sin", "sin",
    ),
    "Sydney": City(
        (-33.87, 151.21),
        ("13.75.196.67", "43.220.40.99", "103.6.24.116", "124.180.127.148"),
        ("2001:215:87d0::", "2001:8ae2:3ff0::", "2001:8c65:240::"),
        "syd", "sin",
    ),
    "Sao Paulo": City(
        (-23.55, -46.64),
        ("179.72.145.145", "177.109.190.224", "177.54.217.221", "151.101.95.35"),
        ("2804:6fa0:33d0::", "2804:13a4:65e0::", "2804:4938:dfa0::", "2804:1694:7ac0::"),
        "gru", "iad",
    ),
}  # fmt: skip


def distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Along a great circle (haversine)."""
    (lat1, lon1), (lat2, lon2) = (tuple(map(math.radians, place)) for place in (one, other))
    chord = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(chord))


def client_in(city: City, database: Path, clients: tuple[str, ...]) -> str:
    """The first of `clients` that the database still places in the city."""
    with maxminddb.open_database(str(database)) as reader:
        for client in clients:
            record = reader.get(client)
            if isinstance(record, dict) and isinstance(record.get("latitude"), float):
                place = (float(str(record["latitude"])), float(str(record["longitude"])))
                if distance_km(place, city.at) < NEAR_KM:
                    return client
    raise AssertionError(f"none of {clients} is there any more: find new ones in the database")


@pytest.fixture(scope="module")
def example(city_databases: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """`gslb.yaml` of the repository, running, but for its ports and the place of the databases."""
    folder = tmp_path_factory.mktemp("example")
    target = Target("127.0.0.1", free_port(), FEATURES)
    text = (ROOT / "gslb.yaml").read_text()
    text = text.replace("127.0.0.1:5300", f"127.0.0.1:{target.port}")
    text = text.replace("127.0.0.1:8053", f"127.0.0.1:{free_port()}")
    for database in city_databases:
        text, changed = re.subn(rf"[^\s,\[]*{re.escape(database.name)}", str(database), text)
        assert changed, f"the example does not name {database.name}"
    config = folder / "gslb.yaml"
    config.write_text(text)
    (folder / "zones").symlink_to(ROOT / "zones")
    with running(folder, config, "fra", target, first=query(NAME_WIRE, "A"), within_s=FLATTEN_S) as program:
        # Its first answers are without geography, while the databases are read.
        wait_until(lambda: bool((program.status()["geography"] or {}).get("databases")), "the table", FLATTEN_S)
        yield target


@dataclass(frozen=True)
class Dug:
    """What dig was told."""

    addresses: tuple[str, ...]
    subnet: str | None
    text: str


@pytest.fixture
def dig(tool: Callable[[str], str], example: Target) -> Callable[..., Dug]:
    """Ask the example as a user would."""
    path = tool("dig")

    def ask(rtype: str, *arguments: str) -> Dug:
        text = subprocess.run(
            [path, f"@{example.address}", "-p", str(example.port), "+tries=1", "+norec", NAME, rtype, *arguments],
            capture_output=True, text=True, timeout=10, check=True,
        ).stdout  # fmt: skip
        assert "status: NOERROR" in text, text
        subnet = re.search(r"; CLIENT-SUBNET: (\S+)", text)
        found = re.findall(rf"^{re.escape(NAME)}\s+\d+\s+IN\s+{rtype}\s+(\S+)$", text, re.MULTILINE)
        return Dug(tuple(found), subnet[1] if subnet else None, text)

    return ask


def expected(datacenter: str, rtype: str) -> set[str]:
    """The addresses of the datacenter's pool in the example, read by another program than ours."""
    version = 4 if rtype == "A" else 6
    (pool,) = (
        pool
        for name, pool in yaml.safe_load((ROOT / "gslb.yaml").read_text())["pools"].items()
        if name == f"web-{datacenter}"
    )
    addresses = [answer["value"] if isinstance(answer, dict) else answer for answer in pool["answers"]]
    return {address for address in addresses if ip_address(address).version == version}


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("rtype", ["A", "AAAA"])
@pytest.mark.parametrize("city", CITIES)
def test_nearest_datacenter(
    city: str, rtype: str, transport: str, dig: Callable[..., Dug], city_databases: tuple[Path, ...]
) -> None:
    """A client of each city gets the nearest datacenter; AAAA the nearest that has IPv6; the subnet is echoed."""
    place = CITIES[city]
    datacenter = place.datacenter if rtype == "A" else place.datacenter6
    for database, clients, source, most in (
        (city_databases[0], place.clients, 24, 24),
        (city_databases[1], place.clients6, 56, 56),
    ):
        client = ip_network(f"{client_in(place, database, clients)}/{source}", strict=False)
        dug = dig(rtype, f"+subnet={client}", transport)
        assert len(dug.addresses) == 1, dug.text
        assert set(dug.addresses) <= expected(datacenter, rtype), dug.text
        assert dug.subnet, f"no subnet came back:\n{dug.text}"
        echoed, scope = dug.subnet.rsplit("/", 1)
        assert ip_network(echoed) == client, dug.text
        assert 0 < int(scope) <= most, dug.text


@pytest.mark.parametrize("city", CITIES)
def test_scope_is_true(city: str, dig: Callable[..., Dug], city_databases: tuple[Path, ...]) -> None:
    """The first and the last address of the scope get the same answer and the same scope."""
    place = CITIES[city]
    client = client_in(place, city_databases[0], place.clients)
    first = dig("A", f"+subnet={client}/24")
    assert first.subnet
    within = ip_network(f"{client}/{first.subnet.rsplit('/', 1)[1]}", strict=False)
    for edge in (within[0], within[-1]):
        other = dig("A", f"+subnet={edge}/32")
        assert other.addresses == first.addresses, other.text
        assert other.subnet == f"{edge}/32/{within.prefixlen}", other.text


def test_without_a_subnet(dig: Callable[..., Dug]) -> None:
    """The resolver's own address decides and no option comes back; loopback is nowhere, yet it has an answer."""
    for transport in ("+notcp", "+tcp"):
        dug = dig("A", transport)
        assert len(dug.addresses) == 1, dug.text
        assert dug.subnet is None, dug.text
        untold = dig("A", transport, "+subnet=0.0.0.0/0")
        assert len(untold.addresses) == 1, untold.text
        assert untold.subnet == "0.0.0.0/0/0", untold.text
