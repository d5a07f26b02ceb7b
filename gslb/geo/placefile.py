"""Places <-> the bytes of a cache file.

The file: magic, BLAKE2b-16 of the rest, length of the JSON head (8 bytes, little endian), the head (digest of the
databases, geos, array lengths), and the arrays in the order of `_ARRAYS`; head and arrays are zero-filled to multiples of
8 bytes, since numpy copies an unaligned array each time that it looks at it.
"""

from __future__ import annotations

import json
import struct
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gslb.geo.places import PLACE, Places, Runs

FORMAT = 2  # raise it when the file or the meaning of a place (`gslb.geo.schema`) changes
_MAGIC = b"GSLBPLC\0"
_DIGEST_BYTES = 16
_ALIGN = 8
_FIXED = struct.Struct("<8s16sQ")
_ARRAYS: tuple[np.dtype[np.generic], ...] = (PLACE, np.dtype("<u8"), np.dtype("<u4"), np.dtype("<u8"), np.dtype("<u4"))


class UnreadablePlaces(ValueError):
    """The file holds no places of this format, or it is damaged."""


def name_of(digest: str) -> str:
    """The name of the cache file of databases with this content digest."""
    return f"places-{FORMAT}-{digest}"


def to_parts(places: Places) -> list[bytes]:
    """The file, in parts to be written one after the other."""
    arrays: tuple[NDArray[Any], ...] = (
        places.rows,
        places.v4.starts,
        places.v4.places,
        places.v6.starts,
        places.v6.places,
    )
    head = json.dumps(
        {"digest": places.digest, "geos": places.geos, "lengths": [array.size for array in arrays]},
        separators=(",", ":"),
    ).encode()
    head += b" " * (-len(head) % _ALIGN)
    body = [
        head,
        *(
            np.ascontiguousarray(array, kind).tobytes().ljust(_padded(array.nbytes), b"\0")
            for array, kind in zip(arrays, _ARRAYS, strict=True)
        ),
    ]
    digest = blake2b(digest_size=_DIGEST_BYTES)
    for part in body:
        digest.update(part)
    return [_FIXED.pack(_MAGIC, digest.digest(), len(head)), *body]


def read(path: Path) -> Places:
    """Read a cache file.  Raises UnreadablePlaces, OSError."""
    content = path.read_bytes()
    if len(content) < _FIXED.size:
        raise UnreadablePlaces(f"{path}: too short")
    magic, digest, head_bytes = _FIXED.unpack_from(content)
    view = memoryview(content)[_FIXED.size :]
    if magic != _MAGIC or blake2b(view, digest_size=_DIGEST_BYTES).digest() != digest:
        raise UnreadablePlaces(f"{path}: damaged")
    try:
        head = json.loads(bytes(view[:head_bytes]))
        arrays, at = [], head_bytes
        for length, kind in zip(head["lengths"], _ARRAYS, strict=True):
            arrays.append(np.frombuffer(view, kind, count=length, offset=at))
            at += _padded(length * kind.itemsize)
        geos = tuple((continent, country, subdivision) for continent, country, subdivision in head["geos"])
        rows, v4_starts, v4_places, v6_starts, v6_places = arrays
        return Places(head["digest"], rows, geos, Runs(v4_starts, v4_places), Runs(v6_starts, v6_places))
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadablePlaces(f"{path}: {error}") from error


def _padded(length: int) -> int:
    return -(-length // _ALIGN) * _ALIGN
