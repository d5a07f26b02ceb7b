"""The full city database: every sampled address is where maxminddb says, and scopes hold (invariant 7)."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from random import Random

import maxminddb
import numpy as np
import pytest

from gslb.geo import placefile
from gslb.geo.places import Places
from gslb.geo.schema import UNKNOWN, Location, location
from gslb.geo.table import LocationTable
from gslb.model.deployment import Address, Geo
from tests.geo.oracle import half_chord
from tests.geo.test_build import check_minimal
from tests.geo.test_lines import check_lines
from tests.geo.test_mmdb import check_whole, place_at
from tests.geo.worlds import PLACES, nearest_of

pytestmark = [pytest.mark.geodb, pytest.mark.timeout(400)]
SAMPLES = 3000  # of each family
# A child's ru_maxrss begins with what its parent had used at the fork; VmHWM is of its own memory alone.
PEAK_KB = 1_200_000  # what a child may use while the node serves on (DESIGN section 9)
BUILD = """
import pathlib, pickle, re, sys
from gslb.geo.load import location_table
model = pickle.load(sys.stdin.buffer)
print(location_table(model, pathlib.Path(sys.argv[1])).path)
print(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
"""


@dataclass(frozen=True)
class Full:
    """The full databases, what was made of them, and the most memory that it took (kB)."""

    readers: dict[int, maxminddb.Reader]
    places: Places
    table: LocationTable
    peak: int


@pytest.fixture(scope="module")
def full(city_databases: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    """Built in a child, as a node does it."""
    cache = tmp_path_factory.mktemp("full")
    model = replace(nearest_of(*PLACES), geo=Geo(databases=tuple(map(str, city_databases))))
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(cache)], input=pickle.dumps(model), stdout=subprocess.PIPE, check=True
    )
    table, peak = done.stdout.decode().split()
    [places] = cache.glob("places-*")
    readers = dict(zip((4, 6), map(maxminddb.open_database, city_databases), strict=True))
    yield Full(readers, placefile.read(places), LocationTable.from_buffer(Path(table).read_bytes()), int(peak))
    for reader in readers.values():
        reader.close()


def addresses(full: Full) -> Iterator[Address]:
    """Random addresses, and both ends and both neighbours of sampled prefixes."""
    random = Random(7)
    for _ in range(SAMPLES):
        for address in (IPv4Address(random.getrandbits(32)), IPv6Address(0x2 << 124 | random.getrandbits(124))):
            yield address
            _, length = full.readers[address.version].get_with_prefix_len(address)
            network = ip_network((address, length), strict=False)
            kind: Callable[[int], Address] = IPv4Address if address.version == 4 else IPv6Address
            first, last = int(network.network_address), int(network.broadcast_address)
            for edge in (first - 1, first, last, last + 1):
                if 0 <= edge < 1 << address.max_prefixlen:
                    yield kind(edge)


def base(address: Address) -> Address:
    """The address that decides for its network."""
    return ip_network((address, 24 if address.version == 4 else 56), strict=False).network_address


def written(full: Full, address: Address) -> Location:
    """What the database says at the base of the address's network."""
    record = full.readers[address.version].get(base(address))
    return UNKNOWN if record is None else location(record)


def test_memory(full: Full) -> None:
    assert full.peak <= PEAK_KB


def test_places(full: Full) -> None:
    check_whole(full.places.v4)
    check_whole(full.places.v6)
    for address in addresses(full):
        assert place_at(full.places, address) == written(full, address), address


def test_nearest(full: Full) -> None:
    """The first pool of each sampled address is the nearest by trigonometry."""
    full.table.verify()
    [(web, rankings)] = full.table.rankings.items()
    sites = {f"web-{name}": place[:2] for name, place in PLACES.items()}
    for address in addresses(full):
        if normalised(address) is not address:
            continue
        location_class, _ = full.table.lookup(address.packed)
        pools = rankings[full.table.ranking_of[web][location_class]].pools4
        here = written(full, address).coordinates
        expected = list(sites) if here is None else sorted(sites, key=lambda name: half_chord(here, sites[name]))
        assert list(pools) == expected[:3], address


def normalised(address: Address) -> Address:
    """The address itself, unless it holds an IPv4 one."""
    return address.sixtofour or address if isinstance(address, IPv6Address) else address


def test_scopes(full: Full) -> None:
    random = Random(8)
    for address in addresses(full):
        location_class, scope = full.table.lookup(address.packed)
        block = ip_network((address, scope), strict=False)
        first, size = int(block.network_address), block.num_addresses
        kind: Callable[[int], Address] = IPv4Address if address.version == 4 else IPv6Address
        for other in (first, first + size - 1, first + random.randrange(size)):
            assert full.table.lookup(kind(other).packed) == (location_class, scope), address


def test_minimal(full: Full) -> None:
    check_minimal(full.table)
    starts = np.frombuffer(full.table.v6_starts, "<u8")
    assert np.all(starts[1:] > starts[:-1])


def test_lines(full: Full) -> None:
    check_lines(full.table)
