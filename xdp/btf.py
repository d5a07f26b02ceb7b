"""What the BTF of an object file says: structs with their members, enums, definitions of maps.  IO: reads the file.

Rule 1: nothing of libbpf or the kernel is asked: this works without either, when the layout is generated and when it is checked.
Rule 2: what cannot be read is `Malformed`, with the place; every offset is checked before it is followed.
Sources: Documentation/bpf/btf.rst of Linux; ELF-64 object file format; libbpf's bpf_helpers.h for `.maps` (__uint, __type, __array).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT = range(1, 12)
_FUNC, _FUNC_PROTO, _VAR, _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64 = range(12, 20)
_FIXED = {_INT: 4, _ARRAY: 12, _VAR: 4, _DECL_TAG: 4}  # octets behind the header of a type
_EACH = {_STRUCT: 12, _UNION: 12, _ENUM: 8, _FUNC_PROTO: 8, _DATASEC: 12, _ENUM64: 12}  # of each of its parts
_ALIASES = frozenset({_VOLATILE, _CONST, _RESTRICT, _TYPE_TAG})
_DEEPEST = 32  # types within types


class Malformed(Exception):
    """The file is no ELF object with BTF, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member: octets from the start of its struct, octets of it, and its type as C writes it ("__u8[16]")."""

    name: str
    offset: int
    size: int
    type: str


@dataclass(frozen=True, slots=True)
class Struct:
    """One struct; `size` in octets."""

    name: str
    size: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class MapDefinition:
    """One map of section `.maps`: numbers as in uapi bpf.h, sizes in octets; of a map of maps `inner` is what it holds."""

    name: str
    type: int
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    inner: MapDefinition | None = None


@dataclass(frozen=True, slots=True)
class Btf:
    """What one object defines, by name; numbers of enums are those of a C int."""

    structs: Mapping[str, Struct] = field(default_factory=dict)
    enums: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    maps: Mapping[str, MapDefinition] = field(default_factory=dict)


def read(path: Path) -> Btf:
    """The BTF of an object.  Raises OSError, Malformed."""
    octets = path.read_bytes()
    try:
        return _Types(*_section(octets, b".BTF")).all()
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise Malformed(
            f"{path}: expected an ELF object with BTF (clang -g -target bpf), found a broken one"
        ) from error
    except Malformed as error:
        raise Malformed(f"{path}: {error}") from None


def _section(octets: bytes, wanted: bytes) -> tuple[bytes, str]:
    """The content of an ELF-64 section, and the byte order ("<" or ">")."""
    if octets[:5] != b"\x7fELF\x02":
        raise Malformed("expected an ELF-64 object, found something else")
    order = "<" if octets[5] == 1 else ">"
    (table,) = struct.unpack_from(order + "Q", octets, 0x28)
    entry, count, names = struct.unpack_from(order + "HHH", octets, 0x3A)
    headers = [struct.unpack_from(order + "IIQQQQ", octets, table + entry * i) for i in range(count)]
    strings = headers[names][4]
    for header in headers:
        start = strings + header[0]
        if octets[start : octets.index(b"\0", start)] == wanted:
            return octets[header[4] : header[4] + header[5]], order
    raise Malformed(f"expected a section {wanted.decode()}, found none: it was built without -g")


@dataclass(frozen=True, slots=True)
class _Type:
    kind: int
    name: str
    size: int  # or, of what refers, the type referred to
    flag: bool  # of a struct: places of members are bit fields
    parts: tuple[tuple[int, ...], ...]


class _Types:
    def __init__(self, octets: bytes, order: str) -> None:
        magic, _version, _flags, header, types, types_size, strings, strings_size = struct.unpack_from(
            order + "HBBIIIII", octets
        )
        if magic != 0xEB9F:
            raise Malformed(f"expected BTF's magic number eb9f, found {magic:04x}")
        self._strings = octets[header + strings : header + strings + strings_size]
        body = octets[header + types : header + types + types_size]
        self._types = [_Type(0, "void", 0, flag=False, parts=()), *self._read(body, order)]

    def all(self) -> Btf:
        structs = {found.name: self._struct(found) for found in self._types if found.kind == _STRUCT and found.name}
        enums = {
            found.name: {self._name(part[0]): part[1] - (part[1] >> 31 << 32) for part in found.parts}
            for found in self._types
            if found.kind == _ENUM and found.name
        }
        return Btf(structs, enums, dict(self._maps()))

    def _read(self, body: bytes, order: str) -> Iterator[_Type]:
        at = 0
        while at < len(body):
            name, info, size = struct.unpack_from(order + "III", body, at)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            if not _INT <= kind <= _ENUM64:
                raise Malformed(f"BTF kind {kind} is not known")
            at += 12
            each, number = (_EACH[kind], count) if kind in _EACH else (_FIXED.get(kind, 0), 1)
            words = f"{order}{each // 4}I"
            parts = tuple(struct.unpack_from(words, body, at + each * i) for i in range(number))
            at += each * number
            yield _Type(kind, self._name(name), size, bool(info >> 31), parts)

    def _name(self, offset: int) -> str:
        return self._strings[offset : self._strings.index(b"\0", offset)].decode()

    def _struct(self, found: _Type) -> Struct:
        members = []
        for name, number, place in found.parts:
            bits = place & 0xFFFFFF if found.flag else place  # the upper octet is the width of a bit field
            members.append(Member(self._name(name), bits // 8, self._size(number), self._spelled(number)))
        return Struct(found.name, found.size, tuple(members))

    def _plain(self, number: int) -> _Type:
        """The type without const, volatile and the like."""
        for _ in range(_DEEPEST):
            found = self._types[number]
            if found.kind not in _ALIASES:
                return found
            number = found.size
        raise Malformed("types within types, too deep")

    def _size(self, number: int, depth: int = 0) -> int:
        if depth > _DEEPEST:
            raise Malformed("types within types, too deep")
        found = self._plain(number)
        match found.kind:
            case k if k == _PTR:
                return 8
            case k if k == _ARRAY:
                return found.parts[0][2] * self._size(found.parts[0][0], depth + 1)
            case k if k == _TYPEDEF:
                return self._size(found.size, depth + 1)
        return found.size

    def _spelled(self, number: int, depth: int = 0) -> str:
        if depth > _DEEPEST:
            raise Malformed("types within types, too deep")
        found = self._plain(number)
        match found.kind:
            case k if k == _PTR:
                return f"{self._spelled(found.size, depth + 1)} *"
            case k if k == _ARRAY:
                return f"{self._spelled(found.parts[0][0], depth + 1)}[{found.parts[0][2]}]"
            case k if k in (_STRUCT, _UNION, _ENUM):
                return f"{'struct' if k == _STRUCT else 'union' if k == _UNION else 'enum'} {found.name}"
        return found.name

    def _maps(self) -> Iterator[tuple[str, MapDefinition]]:
        for section in self._types:
            if section.kind == _DATASEC and section.name == ".maps":
                for part in section.parts:
                    variable = self._types[part[0]]
                    yield variable.name, self._map(variable.name, self._plain(variable.size), 0)

    def _map(self, name: str, declared: _Type, depth: int) -> MapDefinition:
        """`__uint(x, n)` is a pointer to an array of n elements, `__type(x, t)` a pointer to t, `__array(values, t)` an array of pointers to t."""
        if declared.kind == _TYPEDEF:
            declared = self._plain(declared.size)
        numbers: dict[str, int] = {}
        inner = None
        for part in declared.parts:
            member, found = self._name(part[0]), self._plain(part[1])
            if member == "values":
                pointed = self._plain(self._plain(found.parts[0][0]).size)
                if depth == 0 and pointed.kind in (_STRUCT, _TYPEDEF):
                    inner = self._map("", pointed, depth + 1)
            elif member in ("key", "value"):
                numbers[f"{member}_size"] = self._size(found.size)
            elif self._plain(found.size).kind == _ARRAY:
                numbers[member] = self._plain(found.size).parts[0][2]
        if inner is not None:
            numbers["value_size"] = 4  # a descriptor
        return MapDefinition(
            name,
            numbers.get("type", 0),
            numbers.get("key_size", 0),
            numbers.get("value_size", 0),
            numbers.get("max_entries", 0),
            numbers.get("map_flags", 0),
            inner,
        )
