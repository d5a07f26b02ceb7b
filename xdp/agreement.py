"""Whether an object and a generated layout (gslb/layout.py, gslb/dnslayout.py) say the same: field by field, number by number,
map by map.  Pure.

Rule 1: what only one side knows is no difference: an object holds what it uses.
Rule 2: a difference names struct and member, what the object has and what was expected.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from enum import IntEnum
from types import ModuleType

from xdp.btf import Btf, MapDefinition, Member, Struct


def differences(found: Btf, layout: ModuleType) -> list[str]:
    """What the object says otherwise than `layout`; empty: they agree."""
    said: list[str] = []
    for name, value in vars(layout).items():
        if isinstance(value, type) and issubclass(value, ctypes.Structure) and value is not ctypes.Structure:
            struct = found.structs.get(snake(name))
            said += [] if struct is None else _struct(struct, value)
        elif isinstance(value, type) and issubclass(value, IntEnum) and value is not IntEnum:
            said += _enum(snake(name), found, value)
    for name, shape in getattr(layout, "MAPS", {}).items():
        if name in found.maps and (numbers := _numbers(found.maps[name])) != tuple(shape):
            said.append(f"map {name}: the object has {_words(numbers)}, expected {_words(tuple(shape))}")
    return said


def snake(name: str) -> str:
    """VipKey -> vip_key."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def fields(structure: type[ctypes.Structure]) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size in octets of each member of a generated class."""
    for name, *_ in structure._fields_:
        member = getattr(structure, name)
        yield name, member.offset, member.size


def _struct(struct: Struct, expected: type[ctypes.Structure]) -> list[str]:
    said = []
    ours = {name: (offset, size) for name, offset, size in fields(expected)}
    theirs = {member.name: member for member in struct.members}
    for name in dict.fromkeys([*theirs, *ours]):
        member, place = theirs.get(name), ours.get(name)
        if member is None or place is None or (member.offset, member.size) != place:
            said.append(
                f"struct {struct.name}, member {name}: {_place(member)} in the object, expected {_expected(place)}"
            )
    if not said and struct.size != ctypes.sizeof(expected):
        said.append(f"struct {struct.name}: {struct.size} octets in the object, expected {ctypes.sizeof(expected)}")
    return said


def _place(member: Member | None) -> str:
    return "none" if member is None else f"{member.type} at octet {member.offset}, {member.size} octets,"


def _expected(place: tuple[int, int] | None) -> str:
    return "none" if place is None else f"{place[1]} octets at {place[0]}"


def _enum(name: str, found: Btf, expected: type[IntEnum]) -> list[str]:
    ours = {member: value.value for member, value in expected.__members__.items()}
    return [
        f"enum {name}, {member}: {number} in the object, expected {ours.get(member, 'none')}"
        for member, number in found.enums.get(name, {}).items()
        if ours.get(member) != number
    ]


def _numbers(shape: MapDefinition) -> tuple[int, ...]:
    inner = shape.inner.value_size if shape.inner else 0
    return shape.type, shape.key_size, shape.value_size, shape.max_entries, shape.flags, inner


def _words(numbers: tuple[int, ...]) -> str:
    return "type {}, {} octets a key, {} a value, {} entries, flags {}, inner values of {}".format(*numbers)
