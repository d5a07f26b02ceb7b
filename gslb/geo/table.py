"""The location table: address -> (location class, scope), mapped as it lies on disk.  Pure.

Rule 1: the lookup is a function of the address alone, and it is the one that C repeats.
Rule 2: for every address, all addresses inside address/scope have the same class; scopes of different classes never
overlap (RFC 7871 section 7.2.1).
Rule 3: no numpy here, since workers start in milliseconds and share these pages.

The file (little endian, each section 64-byte aligned; offsets are from the start of the file; 0: absent):

| bytes | field |
|---|---|
| 0-7 | magic `GSLBGEO` and a zero |
| 8-11, 12-15 | format number, header length |
| 16-23 | length of the file |
| 24-39 | digest: BLAKE2b-16 of all that follows the header; names the table |
| 40-47 | check: BLAKE2b-8 of the header with this field zero, and of the rankings |
| 48-51, 52-55 | classes, policies |
| 56-59, 60-63 | index bits b, most search steps in one bucket of the index |
| 64-71 | offset of the IPv4 entries: 2^24 of 32 bits, `class << 8 | depth`, by the first 24 bits of the address |
| 72-79, 80-87 | offset of the IPv6 starts, number n of ranges: n + 1 keys of 64 bits, ascending, the first 0, the last 2^56 |
| 88-95 | offset of the IPv6 classes: n of 32 bits |
| 96-103 | offset of the IPv6 index: 2^b + 1 of 32 bits; entry i counts the starts below i * 2^(56 - b) |
| 104-111, 112-119 | offset and length of the rankings: canonical JSON, `[[policy, [[rule, [pool, ...], [pool, ...]], ...]], ...]`; a ranking of one continent's clients ends with it |
| 120-127, 128-135 | offset of the first policy's class -> ranking array (16 bits a class), distance to the next policy's |
| 136-143, 144-151 | offset and length of the catchments (`gslb.geo.catchments`); 0 where no place is known |
| 152-159 | offset of the IPv4 /16s (`gslb.geo.lines`, as all that follows): 2^16 of 64 bits, by the first 16 bits of the address |
| 160-167, 168-175 | offset of the IPv4 bitmaps, their number: of 32 bytes |
| 176-183, 184-191 | offset of the IPv4 runs, their number: of 16 bits |
| 192-199, 200-207 | offset of the distinct IPv4 entries, their number: of 32 bits |
| 208-215, 216-223 | offset of the IPv6 leaves, their number: of 64 bytes |
| 224-231 | offset of the IPv6 levels: keys of 64 bits |

An IPv6 key is the first 56 bits of the address.  Ranges are maximal: neighbours differ in class, or one of them is an
embedded-IPv4 region.  The range of a key is the last start <= key, found between index[k] and index[k + 1] with
k = key >> (56 - b); its depth is the shortest prefix that stays inside the range: with 57-bit arithmetic
57 - min(bits(key ^ (start - 1)), bits(key ^ next start)), where bits() is the position of the highest set bit.
A table of one class has no IPv4 and no IPv6 section.

From the /16s on the sections say again what IPv4 entries, IPv6 starts and classes say.  C reads them, since so many addresses
a second need tables that a cache holds; this module reads the others, which take Python fewer steps.  So what only it needs
stands last, and what stands before the rankings is all that C needs.

Standards: RFC 7871 (client subnet), RFC 3056 section 2 (6to4), RFC 4291 section 2.5.5.2 (v4-mapped), RFC 6052
section 2.1 (64:ff9b::/96).
"""

from __future__ import annotations

import json
import struct
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Literal

from gslb.geo.catchments import UnreadableCatchments, decode_catchments
from gslb.geo.lines import LINE_KEYS, V4_BITMAP, V4_LINE_BITS, V6_LEAF, level_keys, lines_of
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.location import Catchment, Geography, Ranking

MAGIC = b"GSLBGEO\0"
FORMAT = 5
HEADER_BYTES = 256
ALIGN = 64
HEADER = struct.Struct("<8sIIQ16s8sIIII21Q")
CHECK_AT = 40  # offset of the check field
CHECK_BYTES = 8
V4_BITS = 24
V6_BITS = 56
MAX_CLASSES = 1 << 24
MAX_RANKINGS = 1 << 16

MAPPED = 0xFFFF  # first 96 bits of ::ffff:0:0/96
NAT64 = 0x0064_FF9B << 64  # first 96 bits of 64:ff9b::/96
SIX_TO_FOUR = b"\x20\x02"
# The 56-bit keys that hold embedded IPv4; the table ends a range at both sides of each of them.
EMBEDDED = (
    (MAPPED >> 40, (MAPPED >> 40) + 1),
    (NAT64 >> 40, (NAT64 >> 40) + 1),
    (0x2002 << 40, 0x2003 << 40),
)
_MAPPED12 = MAPPED.to_bytes(12, "big")
_NAT64_12 = NAT64.to_bytes(12, "big")
_MASK57 = (1 << 57) - 1
_KEYS_SHARED = {lo: prefix for (lo, _), prefix in zip(EMBEDDED, (MAPPED, NAT64), strict=False)}


class UnreadableTable(ValueError):
    """The bytes are no location table of this format, or they are damaged."""


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed part of the file, in the order of the table above."""

    magic: bytes
    format: int
    header_bytes: int
    file_bytes: int
    digest: bytes
    check: bytes
    classes: int
    policies: int
    index_bits: int
    search_steps: int
    v4_at: int
    v6_starts_at: int
    v6_count: int
    v6_classes_at: int
    index_at: int
    rankings_at: int
    rankings_bytes: int
    ranking_of_at: int
    ranking_of_stride: int
    catchments_at: int
    catchments_bytes: int
    v4_index_at: int
    v4_bitmaps_at: int
    v4_bitmap_count: int
    v4_runs_at: int
    v4_run_count: int
    v4_entries_at: int
    v4_entry_count: int
    v6_leaves_at: int
    v6_leaf_count: int
    v6_levels_at: int

    def pack(self) -> bytes:
        """The header's bytes, zero-filled to HEADER_BYTES."""
        return HEADER.pack(*(getattr(self, name) for name in self.__slots__)).ljust(HEADER_BYTES, b"\0")

    @property
    def executed_bytes(self) -> int:
        """How much of the file, from its start, C needs."""
        return self.rankings_at


def check_of(header: bytes, rankings: bytes | memoryview) -> bytes:
    """The quick check: of a header whose check field is zero, and of the rankings."""
    return blake2b(header + bytes(rankings), digest_size=CHECK_BYTES, person=b"gslb geo check").digest()


def digest_of(body: Iterable[bytes | memoryview]) -> bytes:
    """The digest of everything behind the header, in one part or several."""
    digest = blake2b(digest_size=16, person=b"gslb geo")
    for part in body:
        digest.update(part)
    return digest.digest()


def normalise(packed: bytes) -> tuple[bytes, int]:
    """The address that decides, and how many bits of prefix stand before it.

    `packed` is an address of 4 or 16 octets.  An IPv4 address inside 6to4 comes back as 4 octets with 16, inside
    v4-mapped and NAT64 addresses with 96; all others come back as they are, with 0.
    """
    if len(packed) == 16:
        if packed[:2] == SIX_TO_FOUR:
            return packed[2:6], 16
        if packed[0] == 0 and packed[:12] in (_MAPPED12, _NAT64_12):
            return packed[12:], 96
    return packed, 0


def shared_key_scope(packed: bytes) -> int:
    """The least scope that keeps a native IPv6 address apart from an embedded-IPv4 prefix with the same 56 bits.

    0 for addresses that share their key with none, so nearly always.
    """
    if packed[0]:
        return 0
    prefix = _KEYS_SHARED.get(int.from_bytes(packed[:7], "big"))
    if prefix is None:
        return 0
    return 97 - (int.from_bytes(packed[:12], "big") ^ prefix).bit_length()


class LocationTable:
    """One table over a buffer that it does not copy.  Make it with `from_buffer`."""

    def __init__(self, view: memoryview, header: Header) -> None:
        self._view = view
        self._header = header
        self.digest: str = header.digest.hex()
        self.classes: int = header.classes
        self.v4: memoryview | None = self._section(header.v4_at, 1 << V4_BITS, "I") if header.v4_at else None
        self.v6_count: int = header.v6_count
        self.index_shift: int = V6_BITS - header.index_bits
        has_v6 = header.v6_count > 0
        self.v6_starts = self._section(header.v6_starts_at, (header.v6_count + 1) * has_v6, "Q")
        self.v6_classes = self._section(header.v6_classes_at, header.v6_count, "I")
        self.index = self._section(header.index_at, ((1 << header.index_bits) + 1) * has_v6, "I")
        self.v4_index = self._section(header.v4_index_at, (header.v4_at > 0) << V4_LINE_BITS, "Q")
        self.v4_bitmaps = self._section(header.v4_bitmaps_at, header.v4_bitmap_count * V4_BITMAP.size // 8, "Q")
        self.v4_runs = self._section(header.v4_runs_at, header.v4_run_count, "H")
        self.v4_entries = self._section(header.v4_entries_at, header.v4_entry_count, "I")
        self.v6_leaves = self._section(header.v6_leaves_at, header.v6_leaf_count * V6_LEAF.size // 8, "Q")
        self.v6_keys = self._section(header.v6_levels_at, LINE_KEYS * sum(map(lines_of, self._levels())), "Q")
        self._raw = self._read_rankings()
        self.ranking_of: Mapping[PolicyId, memoryview] = {
            name: self._section(header.ranking_of_at + place * header.ranking_of_stride, header.classes, "H")
            for place, (name, _) in enumerate(self._raw)
        }
        self._check_v6()

    @classmethod
    def from_buffer(cls, buffer: bytes | bytearray | memoryview) -> LocationTable:
        """Open a table over bytes or an mmap; a few microseconds and no copy.

        Checks the header, the bounds of each section and the rankings; `verify` checks every byte.
        Raises UnreadableTable.
        """
        view = memoryview(buffer).toreadonly().cast("B")
        return cls(view, _read_header(view))

    def verify(self) -> None:
        """Compare the digest with every byte (0.1 s for a full database).  Raises UnreadableTable."""
        if digest_of([self._view[HEADER_BYTES:]]) != self._header.digest:
            raise UnreadableTable("the location table's digest does not match its bytes")

    @cached_property
    def rankings(self) -> Mapping[PolicyId, tuple[Ranking, ...]]:
        """Each policy's rankings; 0 is where the client's place is not known."""
        try:
            return {name: tuple(_ranking(raw) for raw in rows) for name, rows in self._raw}
        except (TypeError, ValueError) as error:
            raise UnreadableTable(f"the location table's rankings are malformed: {error}") from error

    def geography(self) -> Geography:
        """What `decide` needs of this table: a copy, so the file may go.  Raises UnreadableTable."""
        return Geography(
            digest=self.digest, classes=self.classes, rankings=self.rankings, catchments=self._catchments()
        )

    def lookup(self, packed: bytes) -> tuple[int, int]:
        """The location class and the scope in bits of an address of 4 or 16 octets (zero-filled beyond the source)."""
        address, offset = normalise(packed)
        if len(address) == 4:
            if self.v4 is None:
                return 0, offset
            entry = self.v4[int.from_bytes(address[:3], "big")]
            return entry >> 8, offset + (entry & 0xFF)
        location, depth = self.lookup6_key(int.from_bytes(address[:7], "big"))
        return location, max(depth, shared_key_scope(address))

    def lookup6_key(self, key: int) -> tuple[int, int]:
        """The class and depth of the 56-bit key of an IPv6 address that `normalise` leaves as it is."""
        if not self.v6_count:
            return 0, 0
        starts = self.v6_starts
        bucket = key >> self.index_shift
        place = bisect_right(starts, key, self.index[bucket], self.index[bucket + 1]) - 1
        before = (key ^ ((starts[place] - 1) & _MASK57)).bit_length()
        after = (key ^ starts[place + 1]).bit_length()
        return self.v6_classes[place], 57 - (before if before < after else after)

    def v6_levels(self) -> list[int]:
        """Offsets in the file of the levels above the IPv6 leaves, the highest first."""
        at, found = self._header.v6_levels_at, []
        for keys in self._levels():
            found.append(at)
            at += ALIGN * lines_of(keys)
        return found

    @property
    def header(self) -> Header:
        """Where in the file things are."""
        return self._header

    def ranking_of_at(self, policy: PolicyId) -> int:
        """The offset in the file of a policy's class -> ranking array.  Raises KeyError for one that it does not rank."""
        for place, (name, _) in enumerate(self._raw):
            if name == policy:
                return self._header.ranking_of_at + place * self._header.ranking_of_stride
        raise KeyError(policy)

    def _levels(self) -> list[int]:
        return level_keys(self._header.v6_leaf_count) if self.v6_count else []

    def _catchments(self) -> Mapping[PolicyId, tuple[Catchment, ...]]:
        at, length = self._header.catchments_at, self._header.catchments_bytes
        if not at:
            return {}
        try:
            return decode_catchments(
                bytes(self._view[at : at + length]), {name: len(found) for name, found in self.rankings.items()}
            )
        except UnreadableCatchments as error:
            raise UnreadableTable(str(error)) from error

    def _section(self, offset: int, count: int, code: Literal["H", "I", "Q"]) -> memoryview[int]:
        length = count * struct.calcsize(f"={code}")
        if count and (offset < HEADER_BYTES or offset % ALIGN or offset + length > len(self._view)):
            raise UnreadableTable(f"the location table's section at {offset} lies outside the file")
        return self._view[offset : offset + length].cast(code)

    def _read_rankings(self) -> list[tuple[PolicyId, list[list[object]]]]:
        at, length = self._header.rankings_at, self._header.rankings_bytes
        text = bytes(self._view[at : at + length])
        blank = bytearray(self._view[:HEADER_BYTES])
        blank[CHECK_AT : CHECK_AT + CHECK_BYTES] = bytes(CHECK_BYTES)
        if check_of(bytes(blank), text) != self._header.check:
            raise UnreadableTable("the location table's header or rankings are damaged")
        try:
            rows = [(PolicyId(name), list(rankings)) for name, rankings in json.loads(text)]
        except (ValueError, TypeError, RecursionError) as error:
            raise UnreadableTable(f"the location table's rankings are malformed: {error}") from error
        if len(rows) != self._header.policies:
            raise UnreadableTable(f"the location table ranks {len(rows)} policies, expected {self._header.policies}")
        return rows

    def _check_v6(self) -> None:
        if not self.v6_count:
            return
        ends = self.v6_starts[0], self.v6_starts[self.v6_count], self.index[0], self.index[len(self.index) - 1]
        if ends != (0, 1 << V6_BITS, 0, self.v6_count):
            raise UnreadableTable("the location table's IPv6 ranges do not cover the address space")


def _read_header(view: memoryview) -> Header:
    if len(view) < HEADER_BYTES:
        raise UnreadableTable(f"{len(view)} bytes are too few for a location table")
    header = Header(*HEADER.unpack_from(view))
    if header.magic != MAGIC:
        raise UnreadableTable("not a location table")
    if (header.format, header.header_bytes) != (FORMAT, HEADER_BYTES):
        raise UnreadableTable(f"location table format {header.format}, expected {FORMAT}")
    if header.file_bytes != len(view):
        raise UnreadableTable(f"the location table is {len(view)} bytes long, expected {header.file_bytes}")
    if not 0 < header.classes <= MAX_CLASSES or not 0 <= header.index_bits <= V4_BITS:
        raise UnreadableTable("the location table's header holds impossible counts")
    return header


def _ranking(raw: object) -> Ranking:
    if not isinstance(raw, list) or len(raw) not in (3, 4) or not isinstance(raw[0], int):
        raise ValueError(f"{raw!r} is no ranking")
    rule, pools4, pools6, *rest = raw
    order4, order6 = (tuple(PoolId(str(pool)) for pool in pools) for pools in (pools4, pools6))
    return Ranking(rule, order4, order6, str(rest[0]) if rest else "")
