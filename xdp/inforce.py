"""What the balancer's maps hold: read once when they are adopted, then kept beside each change.  IO: system calls.

Rule 1: an entry is noted here when the kernel has taken it, and not before: after a failure this is still what is in force.
Rule 2: nothing is written that the kernel holds already.
Rule 3: maps of maps are changed by as few calls as can be: each call waits until no program uses what it replaces.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from gslb import layout
from gslb.layout import MOST_BACKENDS, MOST_RINGS, Mode
from xdp.entries import MODES, PREFIX_OCTETS, Content, Entry, Held, Target, address_text
from xdp.libbpf import Map
from xdp.slots import Slots, empty, from_bytes

T = TypeVar("T")
Inner = Literal["rings", "ring_uses"]
_CHUNK = 128  # inner maps whose descriptors are open at once
_NO_BATCH = {
    22,
    95,
    524,
}  # EINVAL, EOPNOTSUPP, and the kernel's own ENOTSUPP: an update of several entries is not known
_WORD = struct.Struct("=I")
_FORWARDS = {mode: forward for forward, mode in MODES.items()}


class Plane(Protocol):
    """Who holds the maps: `xdp.loader.DataPlane`."""

    adopted: bool

    @property
    def maps(self) -> Mapping[str, Map]:
        """Every map by name."""

    def new_inner(self, name: Inner) -> Map:
        """An empty inner map; the caller closes its descriptor."""

    def drop_inner(self, name: Inner, identity: int) -> None:
        """Let go of the inner map with this id, which is in force no more."""

    def inner(self, name: Inner, index: int) -> Map | None:
        """The inner map in force; the caller closes its descriptor."""


@dataclass(slots=True)
class InForce:
    """The content of the maps that user space writes."""

    plane: Plane
    settings: bytes = b""
    vips: dict[bytes, Entry] = field(default_factory=dict)
    backends: dict[Target, int] = field(default_factory=dict)
    records: dict[int, bytes] = field(default_factory=dict)
    rings: dict[int, Slots] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)
    pools: dict[str, int] = field(default_factory=dict)
    quic: dict[tuple[int, int], int] = field(default_factory=dict)
    marks: dict[int, int] = field(default_factory=dict)
    vips_told: bool = False

    @classmethod
    def read(cls, plane: Plane) -> InForce:
        """What an earlier process left, or nothing.  Raises OSError."""
        found = cls(plane, settings=plane.maps["settings"].lookup(word(0)) or b"")
        if plane.adopted:
            found._read()
        return found

    def held(self) -> Held:
        """What new ids and rings go by."""
        return Held(
            backends=dict(self.backends),
            vips=dict(self.vips),
            rings={ring: self.contents.get(ring) for ring in self.rings},
            settled=frozenset(ring for ring, slots in self.rings.items() if not slots.moving),
            pools=dict(self.pools),
        )

    def set_settings(self, value: bytes) -> None:
        """All but what `tell_vips` and `set_track_mask` write.  Raises OSError, as all that follow."""
        settings, held = (layout.Settings.from_buffer_copy(each) for each in (value, self.settings))
        settings.vips_version, settings.track_mask = held.vips_version, held.track_mask
        self._write_settings(bytes(settings))

    def tell_vips(self) -> None:
        """Have the program look VIPs up again where they changed: it keeps what it found while the version is the same."""
        if self.vips_told:
            return
        settings = layout.Settings.from_buffer_copy(self.settings)
        settings.vips_version = settings.vips_version % 0xFFFF_FFFF + 1
        self._write_settings(bytes(settings))
        self.vips_told = True

    def set_track_mask(self, mask: int) -> None:
        """Track one connection of mask + 1."""
        settings = layout.Settings.from_buffer_copy(self.settings)
        settings.track_mask = mask
        self._write_settings(bytes(settings))

    def _write_settings(self, value: bytes) -> None:
        if value != self.settings:
            self.plane.maps["settings"].update(word(0), value)
            self.settings = value

    def set_backend(self, target: Target, number: int, record: bytes) -> bool:
        """One backend; whether anything changed."""
        if self.records.get(number) == record and self.backends.get(target) == number:
            return False
        self.plane.maps["backends"].update(word(number), record)
        self.records[number] = record
        self.backends[target] = number
        return True

    def remove_backend(self, target: Target) -> None:
        """Its id stands for nobody: what remembers it goes elsewhere."""
        number = self.backends[target]
        self.plane.maps["backends"].update(word(number), bytes(layout.Backend()))
        del self.backends[target], self.records[number]

    def set_vip(self, key: bytes, entry: Entry) -> None:
        """One VIP."""
        if self.vips.get(key) != entry:
            self.vips_told = False
            self.plane.maps[_of_vip(key)].update(key, entry.to_bytes())
            self.vips[key] = entry

    def remove_vip(self, key: bytes) -> None:
        """One VIP less."""
        self.vips_told = False
        self.plane.maps[_of_vip(key)].delete(key)
        del self.vips[key]

    def set_quic(self, key: tuple[int, int], backend: int) -> None:
        """One backend's id in connection ids to one ring."""
        if self.quic.get(key) != backend:
            self.plane.maps["quic_ids"].update(bytes(layout.QuicKey(*key)), word(backend))
            self.quic[key] = backend

    def remove_quic(self, key: tuple[int, int]) -> None:
        """One id less."""
        self.plane.maps["quic_ids"].delete(bytes(layout.QuicKey(*key)))
        del self.quic[key]

    def set_marks(self, marks: Mapping[int, int]) -> None:
        """The whole of what marks name."""
        for mark, backend in marks.items():
            if self.marks.get(mark) != backend:
                self.plane.maps["marks"].update(word(mark), word(backend))
                self.marks[mark] = backend
        for gone in self.marks.keys() - marks.keys():
            self.plane.maps["marks"].delete(word(gone))
            del self.marks[gone]

    def uses(self, ring: int) -> NDArray[np.uint16]:
        """When each slot of a ring was last used elsewhere than by its current backend."""
        inner = self.plane.inner("ring_uses", ring)
        if inner is None:
            return np.zeros(layout.RING_SLOTS + 1, np.uint16)
        try:
            return np.frombuffer(inner.lookup(word(0)) or b"", np.uint16).copy()
        finally:
            os.close(inner.fd)

    def set_uses(self, uses: Mapping[int, NDArray[np.uint16]]) -> None:
        """Note these times, in the maps in force where there are any."""
        new = []
        for ring, times in uses.items():
            inner = self.plane.inner("ring_uses", ring)
            if inner is None:
                new.append((ring, times.tobytes()))
                continue
            try:
                inner.update(word(0), times.tobytes())
            finally:
                os.close(inner.fd)
        self._replace("ring_uses", new)

    def set_rings(self, rings: Mapping[int, Slots]) -> None:
        """Each ring as a whole, at once."""
        changed = {ring: slots for ring, slots in rings.items() if not _same(self.rings.get(ring), slots)}
        for some in _chunks(list(changed)):
            self._replace("rings", [(ring, changed[ring].to_bytes()) for ring in some])
            self.rings |= {ring: changed[ring] for ring in some}
        self.rings |= rings

    def remove_ring(self, ring: int) -> None:
        """One ring less, which no VIP names any more."""
        names: tuple[Inner, ...] = ("rings", "ring_uses")
        for name in names:
            held = self.plane.maps[name].lookup(word(ring))
            self.plane.maps[name].delete(word(ring))
            self._drop(name, held)
        self.rings.pop(ring, None)
        self.contents.pop(ring, None)

    def _replace(self, name: Inner, content: Sequence[tuple[int, bytes]]) -> None:
        """Put new inner maps, filled, in the place of those in force."""
        for some in _chunks(content):
            with ExitStack() as stack:
                entries, before = [], []
                for index, value in some:
                    inner = self.plane.new_inner(name)
                    stack.callback(os.close, inner.fd)
                    inner.update(word(0), value)
                    entries.append((word(index), word(inner.fd)))
                    before.append(self.plane.maps[name].lookup(word(index)))
                _update(self.plane.maps[name], entries)
            for held in before:
                self._drop(name, held)

    def _drop(self, name: Inner, held: bytes | None) -> None:
        if held:
            self.plane.drop_inner(name, _number(held))

    def _read(self) -> None:
        maps = self.plane.maps
        for name in ("vips", "vip_prefixes"):
            for key in list(maps[name].keys()):
                value = maps[name].lookup(key)
                if value is not None:
                    self.vips[key] = Entry.from_bytes(value)
        for number in range(1, MOST_BACKENDS):
            record = maps["backends"].lookup(word(number)) or b""
            backend = layout.Backend.from_buffer_copy(record)
            if backend.mode != Mode.MODE_NONE:
                self.records[number] = record
                self.backends[Target(address_text(bytes(backend.address)), _FORWARDS[Mode(backend.mode)])] = number
        for ring in range(1, MOST_RINGS):
            if maps["rings"].lookup(word(ring)) is not None:
                self.rings[ring] = self._ring(ring)
        for key in list(maps["quic_ids"].keys()):
            quic, value = layout.QuicKey.from_buffer_copy(key), maps["quic_ids"].lookup(key)
            self.quic[quic.ring, quic.server] = _number(value)
        for key in list(maps["marks"].keys()):
            self.marks[_number(key)] = _number(maps["marks"].lookup(key))

    def _ring(self, ring: int) -> Slots:
        inner = self.plane.inner("rings", ring)
        if inner is None:
            return empty()
        try:
            return from_bytes(inner.lookup(word(0)) or b"")
        finally:
            os.close(inner.fd)


def word(value: int) -> bytes:
    """A key or value of 32 bits."""
    return _WORD.pack(value)


def _number(value: bytes | None) -> int:
    return int(_WORD.unpack(value)[0]) if value else 0


def _of_vip(key: bytes) -> str:
    return "vip_prefixes" if len(key) == PREFIX_OCTETS else "vips"


def _same(held: Slots | None, slots: Slots) -> bool:
    return held is not None and held.same(slots)


def _chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[first : first + _CHUNK] for first in range(0, len(items), _CHUNK))


def _update(held: Map, entries: Sequence[tuple[bytes, bytes]]) -> None:
    if len(entries) > 1:
        try:
            held.update_many(entries)
        except OSError as error:
            if error.errno not in _NO_BATCH:
                raise
        else:
            return
    for key, value in entries:
        held.update(key, value)
