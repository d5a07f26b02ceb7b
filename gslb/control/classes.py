"""The location class of a client's network, by the table that a model goes by.  IO: the table is mapped."""

from __future__ import annotations

import mmap
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from gslb.geo.table import LocationTable

_KNOWN = 16_384  # networks whose class is remembered


class Classes:
    """The classes of one location table, which is mapped when the first is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table: LocationTable | None = None
        self.of = lru_cache(_KNOWN)(self._of)

    def _of(self, network: str) -> tuple[int, int] | None:
        """Address family and location class of the network with this base address; None where it is not known.

        Raises ValueError for what is no address.
        """
        address = ip_address(network)
        table = self._table or self._mapped()
        return None if table is None else (address.version, table.lookup(address.packed)[0])

    def _mapped(self) -> LocationTable | None:
        try:
            with self._path.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._table = LocationTable.from_buffer(memoryview(mapped))
        except (OSError, ValueError):
            return None
        return self._table
