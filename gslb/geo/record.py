"""One record of a MaxMind DB's data section -> the fields that locate a client.  Pure.

Not maxminddb's decoders: its C one crashes the process on malformed strings (3.2.0), its Python one takes 25 us a record,
25 s for a full city database.  This one keeps what `gslb.geo.schema` reads and steps over the rest.

Rule 1: work is bounded: a record costs at most MAX_VALUES values, MAX_DEPTH levels and MAX_TEXT bytes a text, wherever
its pointers lead.
Rule 2: nothing outside of the data section is read.

Standard: MaxMind DB file format 2.0, "Data Section" (maxmind.github.io/MaxMind-DB).
"""

from __future__ import annotations

import struct
from collections.abc import Collection

MAX_VALUES = 1000  # in one record; real ones hold at most a few hundred
MAX_DEPTH = 16
MAX_TEXT = 4096  # bytes in one text that is read
_POINTER, _TEXT, _DOUBLE, _BYTES, _MAP, _INT32, _ARRAY, _BOOLEAN, _FLOAT = 1, 2, 3, 4, 7, 8, 11, 14, 15
_UNSIGNED = {5: 2, 6: 4, 9: 8, 10: 16}  # the most bytes of each
_POINTER_BASE = (0, 2048, 526336, 0)
_double = struct.Struct(">d").unpack_from
_float = struct.Struct(">f").unpack_from

Value = str | float | int | bool | bytes | list["Value"] | dict[str, "Value"]


class MalformedRecord(ValueError):
    """A record breaks the format, or is larger than any honest one."""


class Records:
    """The data section of one database."""

    def __init__(self, section: bytes, wanted: Collection[str]) -> None:
        """`wanted` are the keys, at any depth, whose values are kept."""
        self._section = section
        self._wanted = frozenset(wanted)
        self._keys: dict[bytes, str] = {}  # pointer -> the key that it leads to: few, and met in each record
        self._left = 0

    def record(self, offset: int) -> Value:
        """The record at `offset` of the data section.  Raises MalformedRecord."""
        self._left = MAX_VALUES
        try:
            return self._value(offset, 0)[0]
        except (IndexError, struct.error, UnicodeDecodeError) as error:
            raise MalformedRecord(f"a record cannot be decoded: {error}") from error

    def _value(self, at: int, depth: int) -> tuple[Value, int]:
        """The value at `at`, and where the next one begins."""
        if depth > MAX_DEPTH:
            raise MalformedRecord(f"a record is nested deeper than {MAX_DEPTH} levels")
        kind, size, at = self._head(at)
        if kind == _POINTER:
            target, at = self._target(size, at)
            if self._section[target] >> 5 == _POINTER:
                raise MalformedRecord("a record cannot be decoded: a pointer leads to a pointer")
            return self._value(target, depth + 1)[0], at
        if kind == _MAP:
            return self._map(size, at, depth)
        if kind == _ARRAY:
            self._charge(size)
            values = []
            for _ in range(size):
                value, at = self._value(at, depth + 1)
                values.append(value)
            return values, at
        return self._scalar(kind, size, at)

    def _map(self, size: int, at: int, depth: int) -> tuple[dict[str, Value], int]:
        self._charge(size)
        values: dict[str, Value] = {}
        for _ in range(size):
            key, at = self._key(at)
            if key in self._wanted:
                values[key], at = self._value(at, depth + 1)
            else:
                at = self._skip(at)
        return values, at

    def _key(self, at: int) -> tuple[str, int]:
        control = self._section[at]
        if control >> 5 != _POINTER:
            return self._text(*self._head(at))
        end = at + 2 + (control >> 3 & 3)
        pointer = self._section[at:end]
        key = self._keys.get(pointer)
        if key is None:
            target, _ = self._target(control & 0x1F, at + 1)
            key = self._keys[pointer] = self._text(*self._head(target))[0]
        return key, end

    def _text(self, kind: int, size: int, at: int) -> tuple[str, int]:
        if kind != _TEXT:
            raise MalformedRecord("a record cannot be decoded: the key of a map is no text")
        return self._payload(size, at).decode(), at + size

    def _scalar(self, kind: int, size: int, at: int) -> tuple[Value, int]:
        if kind == _BOOLEAN:
            return size > 0, at
        payload = self._payload(size, at)
        value: Value
        if kind == _TEXT:
            value = payload.decode()
        elif kind == _DOUBLE and size == 8:
            value = float(_double(payload)[0])
        elif kind == _FLOAT and size == 4:
            value = float(_float(payload)[0])
        elif size <= _UNSIGNED.get(kind, -1):
            value = int.from_bytes(payload, "big")
        elif kind == _INT32 and size <= 4:
            value = int.from_bytes(payload.rjust(4, b"\0"), "big", signed=True)
        elif kind == _BYTES:
            value = payload
        else:
            raise MalformedRecord(f"a record cannot be decoded: type {kind} with {size} bytes")
        return value, at + size

    def _skip(self, at: int) -> int:
        """Where the value after the one at `at` begins."""
        pending = 1
        while pending:
            pending -= 1
            kind, size, at = self._head(at)
            if kind == _POINTER:
                at += (size >> 3) + 1
            elif kind in (_MAP, _ARRAY):
                inside = 2 * size if kind == _MAP else size
                self._charge(inside)
                pending += inside
            elif kind != _BOOLEAN:
                at += size
        return at

    def _head(self, at: int) -> tuple[int, int, int]:
        """Type, size (of a pointer: its five bits) and where the payload begins."""
        section = self._section
        control = section[at]
        at += 1
        kind, size = control >> 5, control & 0x1F
        if kind == 0:
            kind = 7 + section[at]
            at += 1
        if size < 29 or kind == _POINTER:
            return kind, size, at
        more = size - 28
        base = (29, 285, 65821)[more - 1]
        return kind, base + int.from_bytes(section[at : at + more], "big"), at + more

    def _target(self, bits: int, at: int) -> tuple[int, int]:
        """Where a pointer leads, and where it ends."""
        length = bits >> 3
        offset = int.from_bytes(self._section[at : at + length + 1], "big")
        if length < 3:
            offset += ((bits & 7) << (8 * (length + 1))) + _POINTER_BASE[length]
        return offset, at + length + 1

    def _payload(self, size: int, at: int) -> bytes:
        if size > MAX_TEXT:
            raise MalformedRecord(f"a record holds a text of {size} bytes, expected at most {MAX_TEXT}")
        if at + size > len(self._section):
            raise MalformedRecord("a record cannot be decoded: it leaves the data section")
        return self._section[at : at + size]

    def _charge(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise MalformedRecord(f"a record holds more than {MAX_VALUES} values")
