"""The city database as peers want it: the same networks and coordinates in MaxMind's schema.  IO.

gdnsd, Knot and PowerDNS read `location`, `country` and `continent` of GeoIP2 City; the free builds name these fields
otherwise.  The search tree is kept as it is and its pointers are moved to new records, so that every server looks up the
same networks.  `continent.code` is that of the nearest of the bench's sites: servers which cannot compute
distances then give the same answers as those which do.
Format: MaxMind DB 2.0 (maxmind.github.io/MaxMind-DB).
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import maxminddb
import numpy as np
from maxminddb.decoder import Decoder

if TYPE_CHECKING:
    from maxminddb.reader import Metadata

SITES = {  # continent -> (latitude, longitude): one site each, as in the example configuration
    "EU": (50.11, 8.68),
    "NA": (38.95, -77.45),
    "AS": (1.35, 103.82),
    "OC": (-33.87, 151.21),
    "SA": (-23.55, -46.63),
}
MARK = b"\xab\xcd\xefMaxMind.com"
SEPARATOR = 16  # zero octets between tree and data
FORMAT = 1  # of what is written here; another number makes the cached copy void


def cached(source: Path, folder: Path) -> Path:
    """The converted copy of `source` in `folder`, made if it is not there (a quarter of a minute)."""
    status = source.stat()
    name = hashlib.blake2b(f"{FORMAT} {status.st_size} {status.st_mtime_ns}".encode(), digest_size=8).hexdigest()
    target = folder / f"city-{name}.mmdb"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        partial.write_bytes(convert(source))
        partial.replace(target)
    return target


def convert(source: Path) -> bytes:
    """An IPv4 database of the flat schema with records of 28 bits, in MaxMind's schema."""
    with maxminddb.open_database(source) as reader:
        metadata = reader.metadata()
    if metadata.record_size != 28 or metadata.ip_version != 4:
        raise ValueError(f"{source}: expected an IPv4 database with records of 28 bits")
    data = source.read_bytes()
    count = metadata.node_count
    left, right = _records(np.frombuffer(data, np.uint8, count * 7).reshape(-1, 7))
    offsets = np.unique(np.concatenate([left[left > count], right[right > count]])) - count - SEPARATOR
    base = count * 7 + SEPARATOR
    decode = Decoder(data, base).decode
    moved, section = _rewrite(offsets, lambda offset: decode(base + offset)[0])
    for record in (left, right):
        leaf = record > count
        record[leaf] = moved[np.searchsorted(offsets, record[leaf] - count - SEPARATOR)] + count + SEPARATOR
    return b"".join([_nodes(left, right), bytes(SEPARATOR), section, MARK, _encode(_described(metadata))])


def _records(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    wide = nodes.astype(np.uint32)
    left = (wide[:, 3] >> 4) << 24 | wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2]
    right = (wide[:, 3] & 15) << 24 | wide[:, 4] << 16 | wide[:, 5] << 8 | wide[:, 6]
    return left, right


def _nodes(left: np.ndarray, right: np.ndarray) -> bytes:
    nodes = np.empty((len(left), 7), np.uint8)
    for column, shift in enumerate((16, 8, 0)):
        nodes[:, column] = left >> shift & 255
        nodes[:, column + 4] = right >> shift & 255
    nodes[:, 3] = (left >> 24) << 4 | right >> 24
    return nodes.tobytes()


def _rewrite(offsets: np.ndarray, decode: Callable[[int], object]) -> tuple[np.ndarray, bytes]:
    """The new offset of each record, and the new data section; equal places share one record."""
    moved = np.empty(len(offsets), np.uint32)
    section = bytearray()
    seen: dict[bytes, int] = {}
    for index, offset in enumerate(offsets.tolist()):
        record = decode(offset)
        assert isinstance(record, dict)
        encoded = _encode(_place(record))
        if encoded not in seen:
            seen[encoded] = len(section)
            section += encoded
        moved[index] = seen[encoded]
    return moved, bytes(section)


def _place(record: Mapping[str, object]) -> dict[str, object]:
    country = record.get("country_code")
    latitude, longitude = record.get("latitude"), record.get("longitude")
    place: dict[str, object] = {"country": {"iso_code": country}} if country else {}
    if isinstance(latitude, float) and isinstance(longitude, float):
        place["continent"] = {"code": nearest(latitude, longitude)}
        place["location"] = {"latitude": latitude, "longitude": longitude}
    return place


def nearest(latitude: float, longitude: float) -> str:
    """The continent code of the nearest site by great circle."""
    here = _unit(latitude, longitude)
    return min(SITES, key=lambda code: math.dist(here, _unit(*SITES[code])))


def _unit(latitude: float, longitude: float) -> tuple[float, float, float]:
    north, east = math.radians(latitude), math.radians(longitude)
    return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)


def _described(metadata: Metadata) -> dict[str, object]:
    return {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": metadata.build_epoch,
        "database_type": "GeoLite2-City",
        "description": {},
        "ip_version": metadata.ip_version,
        "languages": [],
        "node_count": metadata.node_count,
        "record_size": metadata.record_size,
    }


def _encode(value: object) -> bytes:
    """One value of the MaxMind DB data section (short strings, maps, doubles, unsigned integers, empty arrays)."""
    match value:
        case str():
            text = value.encode()
            return bytes([2 << 5 | len(text)]) + text
        case float():
            return bytes([3 << 5 | 8]) + struct.pack(">d", value)
        case int():  # unsigned of 16, 32 or 64 bits; the one above 30 bits is build_epoch, which readers want in 64
            octets = value.to_bytes(8, "big").lstrip(b"\0")
            if value >> 30:
                return bytes([len(octets), 9 - 7]) + octets
            return bytes([(6 if value >> 16 else 5) << 5 | len(octets)]) + octets
        case list():
            return bytes([len(value), 11 - 7]) + b"".join(map(_encode, value))
        case dict():
            return bytes([7 << 5 | len(value)]) + b"".join(
                _encode(key) + _encode(entry) for key, entry in value.items()
            )
        case _:
            raise TypeError(f"cannot encode {value!r}")
