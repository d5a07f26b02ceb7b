"""What DNS is answered from in the kernel: an image, its location table, its counters; put in force at once.  IO: system calls.

Rule 1: the image in force says itself which location table and which counters are its own, so one update of one entry changes all.
Rule 2: that update returns when no program uses the image before it: then what that one used is free, and its counts are final.
Rule 3: a location table is loaded only when its digest is another one; after a restart all is read back, and nothing is loaded.
Rule 4: what is refused, or fails, leaves in force what was.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from gslb import dnslayout
from gslb.dnslayout import DNS_MAGIC, DnsCounts, DnsImage
from gslb.layout import DNS_SLOTS
from xdp import chunks
from xdp.libbpf import Map, possible_cpus
from xdp.messages import Block, DnsFile

_IMAGES, _GEOGRAPHIES, _BLOCKS = "dns_images", "geographies", "dns_blocks"
_STRIDE = 512  # octets of which a CPU's counters are a multiple, so that struct dns_counts lies in one chunk
_GEO_DIGEST = slice(24, 40)  # in the header of a location table (gslb/geo/table.py)
_GEO_MAGIC = b"GSLBGEO\0"
_LAYOUT = bytes.fromhex(dnslayout.LAYOUT_HASH)
_WORD = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class InForce:
    """One image, as its header in the kernel says."""

    digest: str  # of its file, in hex
    version: int  # of the plan
    geography: bytes  # digest of the location table
    geography_slot: int
    counts_slot: int
    counts_stride: int
    numbers: int  # counters of a CPU


class Plane(Protocol):
    """Maps, and those inside maps of maps: `xdp.loader.DataPlane`."""

    @property
    def maps(self) -> Mapping[str, Map]:
        """Every map by name."""

    def keep_inner(self, name: str, inner: Map) -> None:
        """Pin a map that goes into a map of maps.  Raises OSError."""

    def drop_inner(self, name: str, identity: int) -> None:
        """Let go of the inner map with this id, which is in force no more."""

    def inner(self, name: str, index: int) -> Map | None:
        """The inner map in force; the caller closes its descriptor.  Raises OSError."""


class Images:
    """The tables of DNS of one data plane."""

    def __init__(self, plane: Plane) -> None:
        """Reads what is in force.  Raises OSError."""
        self._plane = plane
        self._ended: list[Block] = []
        self.in_force = self._read()
        self._clear(self.in_force)

    def put(self, image: DnsFile, geography: DnsFile) -> None:
        """Answer from this image from now on.  Raises ValueError for files that are damaged or do not fit, OSError."""
        with _mapped(image) as content:
            header = _header(image, content)
            before = self.in_force
            if before is not None and header.version < before.version:
                raise ValueError(
                    f"the image is of plan {header.version}, older than {before.version}, which is in force"
                )
            new = self._slots(header, image.digest, before)
            made: list[tuple[str, int]] = []
            try:
                if before is None or new.geography_slot != before.geography_slot:
                    self._load_geography(geography, new, header.geography_octets)
                    made.append((_GEOGRAPHIES, new.geography_slot))
                self._put(_BLOCKS, new.counts_slot, new.counts_stride * possible_cpus())
                made.append((_BLOCKS, new.counts_slot))
                self._load_image(content, header, new)
            except (OSError, ValueError):
                for name, slot in made:
                    self._take(name, slot)
                raise
        self.in_force = new
        self._drop(before)

    def remove(self) -> None:
        """Answer nothing from now on.  Raises OSError."""
        before, self.in_force = self.in_force, None
        self._take(_IMAGES, 0)
        if before is not None:
            self._drop(before)

    def blocks(self) -> tuple[Block, ...]:
        """What was counted: of images that are in force no more, once; then of the one that is.  Raises OSError."""
        ended, self._ended = self._ended, []
        return (*ended, self._block(self.in_force)) if self.in_force is not None else tuple(ended)

    def octets(self) -> int:
        """Of all tables and counters in force.  Raises OSError."""
        now = self.in_force
        if now is None:
            return 0
        places = ((_IMAGES, 0), (_GEOGRAPHIES, now.geography_slot), (_BLOCKS, now.counts_slot))
        return sum(self._size(name, slot) for name, slot in places)

    def _size(self, name: str, slot: int) -> int:
        held = self._plane.inner(name, slot)
        if held is None:
            return 0
        try:
            return chunks.size(held)
        finally:
            os.close(held.fd)

    def _read(self) -> InForce | None:
        try:
            held = self._plane.inner(_IMAGES, 0)
        except FileNotFoundError:  # somebody took its pin away, so nobody can look at it; it is loaded anew
            self._take(_IMAGES, 0)
            return None
        if held is None:
            return None
        try:
            with chunks.memory(held) as octets:
                header = DnsImage.from_buffer_copy(octets[: ctypes.sizeof(DnsImage)])
        finally:
            os.close(held.fd)
        if (
            header.magic != DNS_MAGIC or bytes(header.layout) != _LAYOUT
        ):  # of another version of gslb: nothing that we can read
            self._take(_IMAGES, 0)
            return None
        return InForce(
            digest=bytes(header.digest).hex(),
            version=header.version,
            geography=bytes(header.geography),
            geography_slot=header.geography_slot,
            counts_slot=header.counts_slot,
            counts_stride=header.counts_stride,
            numbers=_numbers(header),
        )

    def _clear(self, kept: InForce | None) -> None:
        """Let go of what a process left that died while it loaded."""
        for slot in range(DNS_SLOTS):
            if kept is None or slot != kept.geography_slot:
                self._take(_GEOGRAPHIES, slot)
            if kept is None or slot != kept.counts_slot:
                self._take(_BLOCKS, slot)

    def _slots(self, header: DnsImage, digest: str, before: InForce | None) -> InForce:
        """Where the new image's things go: into what the one in force does not use."""
        geography, counts = 0, 0
        if before is not None:
            same = before.geography == bytes(header.geography)
            geography = before.geography_slot if same else 1 - before.geography_slot
            counts = 1 - before.counts_slot
        numbers = _numbers(header)
        stride = -(-8 * numbers // _STRIDE) * _STRIDE
        return InForce(digest, header.version, bytes(header.geography), geography, counts, stride, numbers)

    def _load_geography(self, file: DnsFile, new: InForce, octets: int) -> None:
        """Load the first `octets` of a location table: what stands behind them only the reference reads."""
        with _mapped(file) as content:
            _check(file, content)
            if content[:8] != _GEO_MAGIC or content[_GEO_DIGEST] != new.geography:
                raise ValueError(f"{file.path} is not the location table that the image was made for")
            if octets > len(content):
                raise ValueError(f"{file.path} has {len(content)} octets, and the image was made for one of {octets}")
            self._put(_GEOGRAPHIES, new.geography_slot, octets, content)

    def _load_image(self, content: mmap.mmap, header: DnsImage, new: InForce) -> None:
        header.digest = type(header.digest)(*bytes.fromhex(new.digest))
        header.geography_slot, header.counts_slot, header.counts_stride = (
            new.geography_slot,
            new.counts_slot,
            new.counts_stride,
        )
        self._put(_IMAGES, 0, header.octets, content, bytes(header))

    def _put(self, name: str, slot: int, octets: int, content: mmap.mmap | None = None, head: bytes = b"") -> None:
        """Put a new inner map in force, filled."""
        inner = chunks.make(name, octets)
        try:
            if content is not None:
                with chunks.memory(inner) as memory:
                    memory[:octets] = content[:octets]
                    memory[: len(head)] = head
            before = self._held(name, slot)
            self._plane.keep_inner(name, inner)
            self._plane.maps[name].update(_word(slot), _word(inner.fd))
        finally:
            os.close(inner.fd)
        self._let_go(name, before)

    def _take(self, name: str, slot: int) -> None:
        """Have an entry hold nothing."""
        before = self._held(name, slot)
        self._plane.maps[name].delete(_word(slot))
        self._let_go(name, before)

    def _let_go(self, name: str, identity: int) -> None:
        """Drop the pin of a map that an entry held, 0: none.  A pin that stays harms nobody: it goes when the plane is opened next."""
        with suppress(OSError):
            if identity:
                self._plane.drop_inner(name, identity)

    def _held(self, name: str, slot: int) -> int:
        """The id of the map at an entry; 0: none."""
        return int.from_bytes(self._plane.maps[name].lookup(_word(slot)) or b"", sys.byteorder)

    def _drop(self, before: InForce | None) -> None:
        """Let go of what only the image before the one in force used."""
        if before is None:
            return
        now = self.in_force
        self._ended.append(self._block(before))
        self._take(_BLOCKS, before.counts_slot)
        if now is None or now.geography_slot != before.geography_slot:
            self._take(_GEOGRAPHIES, before.geography_slot)

    def _block(self, of: InForce) -> Block:
        """Its counters, summed over CPUs; those that are 0 are left out."""
        sums = [0] * of.numbers
        held = self._plane.inner(_BLOCKS, of.counts_slot)
        if held is not None:
            try:
                with chunks.memory(held) as memory, memoryview(memory) as octets:
                    for cpu in range(possible_cpus()):
                        at = cpu * of.counts_stride
                        with octets[at : at + 8 * of.numbers] as part, part.cast("Q") as numbers:
                            sums = list(map(int.__add__, sums, numbers)) if any(numbers) else sums
            finally:
                os.close(held.fd)
        found = [index for index, count in enumerate(sums) if count]
        return Block(of.digest, array("I", found).tobytes(), array("Q", [sums[index] for index in found]).tobytes())


def _numbers(header: DnsImage) -> int:
    return ctypes.sizeof(DnsCounts) // 8 + int(header.cells) + int(header.marks)


def _header(file: DnsFile, content: mmap.mmap) -> DnsImage:
    """The header of a whole image of this layout.  Raises ValueError."""
    _check(file, content)
    if len(content) < ctypes.sizeof(DnsImage):
        raise ValueError(f"{file.path} is too short for an image")
    header = DnsImage.from_buffer_copy(content[: ctypes.sizeof(DnsImage)])
    if header.magic != DNS_MAGIC or bytes(header.layout) != _LAYOUT:
        raise ValueError(
            f"{file.path} is an image of another version of gslb: layout {bytes(header.layout).hex()}, expected {_LAYOUT.hex()}"
        )
    if not ctypes.sizeof(DnsImage) <= header.octets <= len(content):
        raise ValueError(f"{file.path} says that it has {header.octets} octets, and has {len(content)}")
    return header


def _check(file: DnsFile, content: mmap.mmap) -> None:
    if len(content) != file.size or blake2b(content, digest_size=16).hexdigest() != file.digest:
        raise ValueError(f"{file.path} is damaged: its content does not match its digest")


@contextmanager
def _mapped(file: DnsFile) -> Iterator[mmap.mmap]:
    """A file's octets.  Raises OSError, ValueError."""
    with Path(file.path).open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        content.madvise(mmap.MADV_SEQUENTIAL)  # read once, it is in use no more than other files
        yield content


def _word(value: int) -> bytes:
    return _WORD.pack(value)
