"""IO: what the databases themselves say of one address, row by row, for people.

`gslb geo` and `gslb explain` show it beside the location table, which is quantised and may be older than the files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import maxminddb

from gslb.geo.reader import READER_ERRORS
from gslb.geo.record import MalformedRecord
from gslb.geo.schema import Location, location
from gslb.geo.source import DatabaseUnusable
from gslb.geo.table import normalise
from gslb.model.deployment import Address, Network

_MODE = maxminddb.MODE_FILE  # read, not mapped: the file may be replaced or truncated at any time
_LANGUAGE = "en"  # of the names in the MaxMind schema


@dataclass(frozen=True, slots=True)
class Row:
    """One database's row for an address: the network it stands for, what it means, and its names for people."""

    database: Path
    network: Network
    location: Location
    city: str


@dataclass(frozen=True, slots=True)
class Described:
    """One database: what it calls itself and the day it was built."""

    database: Path
    kind: str
    built: str


def rows(databases: Iterable[Path], address: Address) -> list[Row]:
    """The rows for an address (embedded IPv4 by its IPv4), in the order of the files; files without one are left out.

    Raises DatabaseUnusable.
    """
    looked_up = ip_address(normalise(address.packed)[0])
    found = (_row(database, looked_up) for database in databases)
    return [row for row in found if row is not None]


def described(database: Path) -> Described:
    """The database's own name and date.  Raises DatabaseUnusable."""
    try:
        with maxminddb.open_database(database, _MODE) as reader:
            metadata = reader.metadata()
            built = datetime.fromtimestamp(metadata.build_epoch, UTC)
            return Described(database, str(metadata.database_type), f"{built:%Y-%m-%d}")
    except READER_ERRORS as error:
        raise DatabaseUnusable(database, f"not a MaxMind DB: {error}") from error


def known(found: Iterable[Row]) -> Location | None:
    """What the rows say together: the place of the first that names one, the AS number of the first that names one."""
    joint: Location | None = None
    for row in found:
        joint = row.location if joint is None else joint.completed_by(row.location)
    return joint


def _row(database: Path, address: Address) -> Row | None:
    try:
        with maxminddb.open_database(database, _MODE) as reader:
            if address.version == 6 and reader.metadata().ip_version == 4:
                return None
            record, length = reader.get_with_prefix_len(address)
        if record is None:
            return None
        place = location(record)
        return Row(database, ip_network((address, length), strict=False), place, _city(record))
    except (*READER_ERRORS, MalformedRecord) as error:
        raise DatabaseUnusable(database, f"cannot be read: {error}") from error


def _city(record: object) -> str:
    city = record.get("city") if isinstance(record, dict) else None
    if isinstance(city, dict):
        names = city.get("names")
        city = names.get(_LANGUAGE) if isinstance(names, dict) else None
    return city if isinstance(city, str) else ""
