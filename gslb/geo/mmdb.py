"""The search tree of a MaxMind DB -> sorted arrays: which networks hold which record.

maxminddb's own iterator needs 50 s for a full city database, so the tree is walked here, level by level, in arrays.
maxminddb reads the metadata.

Rule 1: every number of the file is a claim: it is checked before it is used, and time and memory are bounded by the
size of the file, whatever it says.
Rule 2: geography is quantised: the base address of each IPv4 /24 and IPv6 /56 decides for all of it.

Standard: MaxMind DB file format 2.0 (maxmind.github.io/MaxMind-DB).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import maxminddb
import numpy as np
from numpy.typing import NDArray

from gslb.geo.reader import READER_ERRORS
from gslb.geo.record import Records, Value
from gslb.geo.schema import KEYS
from gslb.geo.source import Copy, DatabaseUnusable
from gslb.geo.table import V4_BITS, V6_BITS

_MARKER = b"\xab\xcd\xefMaxMind.com"
_MARKER_WINDOW = 128 * 1024  # the metadata lie in the last bytes of the file
_SEPARATOR = 16  # zero bytes between tree and data
_IPV4_DEPTH = 96  # where IPv4 lies in an IPv6 tree
_ADDRESS_BITS = {4: 32, 6: 128}

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Leaves:
    """Where the tree ends: ascending keys that cover the family's address space, and the pointer (0: none) of each.

    A key is the first 24 (IPv4) or 56 (IPv6) bits of an address.
    """

    starts: U64
    pointers: U32


@dataclass(frozen=True, slots=True)
class Database:
    """One opened database.  `tree[node]` is the pair of the node's records: a node, `nodes` for none, or data."""

    copy: Copy
    tree: U32
    data: Records
    nodes: int
    ip_version: int

    def leaves(self, version: int) -> Leaves | None:
        """The leaves of one family (4 or 6); None where the file has no such tree.  Raises DatabaseUnusable."""
        if version == self.ip_version:
            alias = self._ipv4_root() if version == 6 else None
            return self._walk(0, V4_BITS if version == 4 else V6_BITS, _ADDRESS_BITS[version], alias)
        if version == 4:
            root = self._ipv4_root()
            return None if root is None else self._walk(root, V4_BITS, 32, None)
        return None

    def record(self, pointer: int) -> Value:
        """The record that a leaf points to.  Raises MalformedRecord."""
        return self.data.record(pointer - self.nodes - _SEPARATOR)

    def _ipv4_root(self) -> int | None:
        """The node of ::/96, or None where the tree ends above it."""
        node = 0
        for _ in range(_IPV4_DEPTH):
            node = int(self.tree[node, 0])
            if node >= self.nodes:
                return None
        return node

    def _walk(self, root: int, key_bits: int, address_bits: int, alias: int | None) -> Leaves:
        """All leaves under `root` down to `key_bits`, then the leftmost ones.  `alias` is not entered but at key 0.

        IPv6 trees hold their IPv4 part under several prefixes; those addresses are looked up as IPv4.
        """
        nodes, keys = np.array([root], np.uint32), np.zeros(1, np.uint64)
        found_keys: list[U64] = []
        found: list[U32] = []
        visited = 0
        for depth in range(1, address_bits + 1):
            visited += nodes.size
            if visited > self.nodes:
                raise self._unusable("its search tree runs in a circle")
            if depth <= key_bits:
                children = self.tree[nodes].reshape(-1)
                keys = np.repeat(keys, 2) << np.uint64(1)
                keys[1::2] |= np.uint64(1)
            else:
                children = self.tree[nodes, 0]
            if alias is not None:
                children[(children == alias) & (keys != 0)] = self.nodes
            inner = children < self.nodes
            found.append(children[~inner])
            found_keys.append(keys[~inner] << np.uint64(max(0, key_bits - depth)))
            nodes, keys = children[inner], keys[inner]
            if not nodes.size:
                return self._sorted(found_keys, found)
        raise self._unusable(f"its search tree is deeper than {address_bits} bits")

    def _sorted(self, keys: list[U64], found: list[U32]) -> Leaves:
        starts, pointers = np.concatenate(keys), np.concatenate(found)
        order = np.argsort(starts, kind="stable")
        starts, pointers = starts[order], pointers[order]
        pointers[pointers == self.nodes] = 0
        changes = np.ones(starts.size, np.bool_)
        np.not_equal(pointers[1:], pointers[:-1], out=changes[1:])
        return Leaves(starts[changes], pointers[changes])

    def _unusable(self, why: str) -> DatabaseUnusable:
        return DatabaseUnusable(self.copy.origin, why)


def open_database(copy: Copy) -> Database:
    """Open a private copy and check its structure.  Raises DatabaseUnusable."""
    try:
        # The Python reader: the C one can crash on a malformed file.
        with maxminddb.open_database(copy.path, maxminddb.MODE_MMAP) as reader:
            metadata = reader.metadata()
        claims: list[Any] = [metadata.node_count, metadata.record_size, metadata.ip_version]
    except READER_ERRORS as error:
        why = str(error).replace(f"({copy.path})", "").replace("  ", " ")
        raise DatabaseUnusable(copy.origin, f"not a MaxMind DB: {why}") from error
    if not all(isinstance(claim, int) for claim in claims):
        raise DatabaseUnusable(copy.origin, "its metadata hold text where numbers belong")
    nodes, record_size, ip_version = claims
    if record_size not in (24, 28, 32) or ip_version not in (4, 6) or not 0 < nodes < 1 << record_size:
        raise DatabaseUnusable(
            copy.origin,
            f"its metadata claim {nodes} nodes of {record_size}-bit records for IPv{ip_version}",
        )
    return _opened(copy, nodes, record_size, ip_version)


def _opened(copy: Copy, nodes: int, record_size: int, ip_version: int) -> Database:
    """The database whose metadata claim this: the nodes as pairs of numbers, every pointer inside its section."""
    content = copy.content
    tree_bytes = nodes * record_size // 4
    metadata_at = content.rfind(_MARKER, max(0, len(content) - _MARKER_WINDOW))
    data_at = tree_bytes + _SEPARATOR
    if metadata_at < data_at:
        raise DatabaseUnusable(copy.origin, f"{len(content)} bytes cannot hold the {nodes} nodes that it claims")
    if any(content[tree_bytes:data_at]):
        raise DatabaseUnusable(copy.origin, f"its search tree does not end after the {nodes} nodes that it claims")
    raw = np.frombuffer(content, np.uint8, count=tree_bytes).reshape(nodes, record_size // 4)
    tree = _RECORDS[record_size](raw)
    data = tree[tree > nodes]
    if data.size and not (
        nodes + _SEPARATOR <= int(data.min()) and int(data.max()) - nodes - _SEPARATOR < metadata_at - data_at
    ):
        raise DatabaseUnusable(copy.origin, "its search tree points outside the data section")
    return Database(copy, tree, Records(content[data_at:metadata_at], KEYS), nodes, ip_version)


def _records24(raw: NDArray[np.uint8]) -> U32:
    pairs = np.zeros((len(raw), 2, 4), np.uint8)
    pairs[:, :, 1:] = raw.reshape(-1, 2, 3)
    return pairs.view(">u4").reshape(-1, 2).astype(np.uint32)


def _records28(raw: NDArray[np.uint8]) -> U32:
    """Two 28-bit records share the middle byte: its high half tops the left one, its low half the right one."""
    pairs = np.empty((len(raw), 2, 4), np.uint8)
    pairs[:, 0, 0] = raw[:, 3] >> 4
    pairs[:, 1, 0] = raw[:, 3] & 0x0F
    pairs[:, 0, 1:] = raw[:, :3]
    pairs[:, 1, 1:] = raw[:, 4:]
    return pairs.view(">u4").reshape(-1, 2).astype(np.uint32)


def _records32(raw: NDArray[np.uint8]) -> U32:
    return raw.view(">u4").astype(np.uint32)


_RECORDS = {24: _records24, 28: _records28, 32: _records32}
