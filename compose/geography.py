"""Topology -> the lab's geography database, which places the clients' networks.  IO: writes one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet

from compose.topology import Topology


def rows(topology: Topology) -> dict[str, dict[str, Any]]:
    """What the database says of each network of clients."""
    return {
        region.network.subnet: {
            "city": {"names": {"en": region.city}},
            "continent": {"code": region.continent},
            "country": {"iso_code": region.country},
            "location": {"latitude": region.latitude, "longitude": region.longitude},
        }
        for region in topology.regions
    }


def write(topology: Topology, path: Path) -> None:
    """Make the database."""
    writer = MMDBWriter(4, "Lab-City", languages=["en"], float_type="f64")
    for network, row in rows(topology).items():
        writer.insert_network(IPSet([network]), row)
    writer.to_db_file(str(path))
