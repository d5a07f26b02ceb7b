"""Zones as trees of names.  Pure.

Every name between an apex and a record is a node, so an empty non-terminal is a node without records (RFC 4592
section 2.2.2, RFC 8020).  All names are lowered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from gslb.model.zone import DynamicRecord, RRset, Zone
from gslb.nameserver.wire import Rtype, suffixes


@dataclass(slots=True)
class Node:
    """What stands at one name."""

    rrsets: dict[int, RRset] = field(default_factory=dict)
    dynamic: DynamicRecord | None = None

    @property
    def empty(self) -> bool:
        """Whether the name exists only for what is below it."""
        return not self.rrsets and self.dynamic is None


class Tree:
    """One zone.  Raises ValueError without an SOA at the apex, and for a name outside the zone."""

    def __init__(self, zone: Zone) -> None:
        self.apex = zone.apex.lower()
        self.nodes: dict[bytes, Node] = {self.apex: Node()}
        for rrset in zone.rrsets:
            self._grow(rrset.owner.lower()).rrsets[rrset.rtype] = rrset
        for record in zone.dynamic:
            self._grow(record.owner.lower()).dynamic = record
        soa = self.nodes[self.apex].rrsets.get(Rtype.SOA)
        if soa is None:
            raise ValueError(f"zone {zone.apex!r} has no SOA")
        minimum = int.from_bytes(soa.rdatas[0][-4:], "big")
        self.negative = replace(soa, ttl=min(soa.ttl, minimum))  # RFC 2308 section 5

    def is_cut(self, name: bytes) -> bool:
        """Whether `name` is delegated."""
        node = self.nodes.get(name)
        return node is not None and name != self.apex and Rtype.NS in node.rrsets

    def path(self, name: bytes) -> list[bytes]:
        """The names from the apex down to `name`, both included."""
        found = []
        for suffix in suffixes(name):
            found.append(suffix)
            if suffix == self.apex:
                break
        return found[::-1]

    def _grow(self, name: bytes) -> Node:
        """The node of `name`, made with all that are missing above it."""
        node = self.nodes.get(name)
        if node is None:
            if len(name) <= len(self.apex):
                raise ValueError(f"a name outside zone {self.apex!r} ends in {name!r}")
            self._grow(name[1 + name[0] :])
            node = self.nodes[name] = Node()
        return node


class Forest:
    """All our zones."""

    def __init__(self, zones: Iterable[Zone]) -> None:
        zones = tuple(zones)
        self.trees: Mapping[bytes, Tree] = {tree.apex: tree for tree in map(Tree, zones)}
        self.dynamic: tuple[DynamicRecord, ...] = tuple(record for zone in zones for record in zone.dynamic)

    def holding(self, name: bytes, rtype: int) -> Tree | None:
        """The zone that answers for (name, type): the one with the longest apex.

        A DS belongs to the parent's side of a cut (RFC 4035 section 3.1.4.1): where we serve the delegating zone too, it answers.
        """
        own: Tree | None = None
        for suffix in suffixes(name):
            tree = self.trees.get(suffix)
            if tree is None:
                continue
            if own is not None:
                return tree if tree.is_cut(name) else own
            if rtype != Rtype.DS or suffix != name:
                return tree
            own = tree
        return own

    def addresses(self, name: bytes) -> tuple[RRset, ...]:
        """The static A and AAAA records of exactly this name, for additional sections."""
        tree = self.holding(name.lower(), Rtype.A)
        return tree_addresses(tree, name) if tree else ()


def tree_addresses(tree: Tree, name: bytes) -> tuple[RRset, ...]:
    """The static A and AAAA records of exactly this name in this zone, below a cut (glue) too."""
    node = tree.nodes.get(name.lower())
    if node is None:
        return ()
    return tuple(node.rrsets[rtype] for rtype in (Rtype.A, Rtype.AAAA) if rtype in node.rrsets)
