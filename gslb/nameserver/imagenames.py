"""Zones -> the part of an image that no plan changes: nodes, static answers, and which views they need.  Pure.

Rule 1: every answer is made by the reference's own functions (`resolve`, `finish`).
Rule 2: what is not held goes up: referrals, wildcards, what is below a DNAME, long names, large answers.  Where a name is left out,
the nearest name above it that is held says so, and with it all below.
Rule 3: one answer serves NODATA, and one NXDOMAIN, at all names of a zone; their pointers move with the name's length.
Standards: RFC 1034 section 4.3.2, RFC 4592 (the closest encloser decides), RFC 6672 section 2.4 (nothing lives below a DNAME).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from struct import Struct

from gslb.dnslayout import (
    DNS_LABELS_MOST,
    DNS_NAME_MOST,
    DNS_NODE_TYPES,
    DNS_VIEWS_AT,
    LINE,
    DnsCut,
    DnsKind,
    DnsNodeFlags,
)
from gslb.model.deployment import PolicyId
from gslb.nameserver.arena import Arena, answer_record, moved_pointers, relocated
from gslb.nameserver.limit import account
from gslb.nameserver.lookup import Ending, Resolved, any_rrset, resolve
from gslb.nameserver.message import Finished, empty, finish
from gslb.nameserver.namehash import buckets, name_hash
from gslb.nameserver.stream import MESSAGE_MAX
from gslb.nameserver.tree import Forest, Node, Tree
from gslb.nameserver.wire import ROOT, Rcode, Rtype, name_end, suffixes

NAMES_MOST = 1 << 20  # of an image; a node has 256 octets
CHAINED_MOST = 4096  # aliases whose chain ends at a policy: each has views of its own
_NODE = Struct(f"<QBBBBIII{8 * DNS_NODE_TYPES}s{DNS_NAME_MOST}s8x")  # struct dns_node
_TYPE = Struct("<HHI")  # struct dns_type
_NODE_OCTETS = _NODE.size
_ALIAS_TYPES = (Rtype.A, Rtype.AAAA, Rtype.HTTPS, Rtype.MX, Rtype.TXT)  # asked of names that may be aliases
_FIRST = (Rtype.A, Rtype.AAAA, Rtype.CNAME, Rtype.HTTPS, Rtype.NS, Rtype.SOA, Rtype.MX, Rtype.TXT)
_TRIALS = 16  # seeds that are tried until every name finds a place
_REFUSED = empty(Rcode.REFUSED)


@dataclass(frozen=True, slots=True)
class ViewKey:
    """What one view answers: a policy's records of a type and TTL, in a zone; `own`: for one name only, with its chain."""

    policy: PolicyId
    rtype: int
    ttl: int
    apex: bytes
    own: bytes | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """The part of an image behind its views.  Places are lines of the image."""

    octets: bytes
    views: Mapping[ViewKey, bytes]  # in order; with a name of each
    nodata: Mapping[bytes, int]  # by zone
    zones: Mapping[bytes, int]  # apex -> number, for what is limited together
    seed: int
    buckets: int
    buckets_mask: int
    refused: int
    left_out: Mapping[str, int]  # why names are left out -> how many

    @property
    def start(self) -> int:
        """The octet at which `octets` stand."""
        return names_at(len(self.views))


def names_at(views: int) -> int:
    """The octet behind so many views."""
    return -(-(DNS_VIEWS_AT + views * LINE) // _NODE_OCTETS) * _NODE_OCTETS


@dataclass(slots=True)
class _Held:
    """A name on its way into the image; answers are records until all views are known."""

    apex: bytes
    flags: int = 0
    types: list[tuple[int, DnsKind, bytes | int | None]] = field(default_factory=list)


def place_names(forest: Forest, most: int) -> Names:
    """All zones; names beyond `most` are left out, those that lead to policies last."""
    builder = _Builder(forest, most)
    for tree in forest.trees.values():
        builder.tree(tree)
    return builder.placed()


class _Builder:
    def __init__(self, forest: Forest, most: int) -> None:
        self._forest = forest
        self._most = most
        self._held: dict[bytes, _Held] = {}
        self._views: dict[ViewKey, tuple[int, bytes]] = {}
        self._zones = {apex: number for number, apex in enumerate(forest.trees)}
        self._chained = 0
        self._left_out: dict[str, int] = {}
        self._lost: list[bytes] = []  # apexes that are not held
        self._any = _any_record()
        self._wanted = _leading(record.owner.lower() for record in forest.dynamic)

    def tree(self, tree: Tree) -> None:
        closed: set[bytes] = set()  # names of which nothing below is held
        for name in sorted(tree.nodes, key=len):  # so that the one above is there
            above = name[1 + name[0] :]
            if name != tree.apex and above in closed:
                closed.add(name)
            elif self._forest.holding(name, Rtype.A) is tree:
                self._name(tree, name, closed)

    def _name(self, tree: Tree, name: bytes, closed: set[bytes]) -> None:
        why = self._too_much(name)
        if why:
            closed.add(name)
            self._left_out[why] = self._left_out.get(why, 0) + 1
            if name == tree.apex:
                self._lost.append(name)
            else:
                self._held[name[1 + name[0] :]].flags |= DnsNodeFlags.DNS_NODE_UP_BELOW
            return
        held = self._held[name] = _Held(tree.apex)
        node = tree.nodes[name]
        if tree.is_cut(name):
            held.flags = DnsNodeFlags.DNS_NODE_UP
            closed.add(name)
            return
        if Rtype.DNAME in node.rrsets:
            held.flags |= DnsNodeFlags.DNS_NODE_UP_BELOW
            closed.add(name)
        if b"\x01*" + name in tree.nodes:
            held.flags |= DnsNodeFlags.DNS_NODE_UP_BELOW
        self._types(tree, name, node, held)

    def _too_much(self, name: bytes) -> str:
        if len(name) > DNS_NAME_MOST or sum(1 for _ in suffixes(name)) > DNS_LABELS_MOST + 1:
            return "long names"
        return "names" if len(self._held) >= self._most and name not in self._wanted else ""

    def _types(self, tree: Tree, name: bytes, node: Node, held: _Held) -> None:
        types = dict.fromkeys(int(rtype) for rtype in node.dynamic.types) if node.dynamic else {}
        types |= dict.fromkeys(sorted(node.rrsets, key=_asked_first))
        if Rtype.CNAME in node.rrsets:
            types |= dict.fromkeys(map(int, _ALIAS_TYPES))
            held.flags |= DnsNodeFlags.DNS_NODE_UP_TYPES
        if name == tree.apex and self._forest.holding(name, Rtype.DS) is not tree:
            types[Rtype.DS] = None
        if not node.empty:
            types[Rtype.ANY] = None
        if len(types) > DNS_NODE_TYPES:
            held.flags |= DnsNodeFlags.DNS_NODE_UP_TYPES
        held.types = [(rtype, *self._type(tree, name, rtype)) for rtype in list(types)[:DNS_NODE_TYPES]]

    def _type(self, tree: Tree, name: bytes, rtype: int) -> tuple[DnsKind, bytes | int | None]:
        if rtype == Rtype.ANY and name != ROOT and Rtype.CNAME not in tree.nodes[name].rrsets:
            return DnsKind.DNS_KIND_ANSWER, self._any
        resolved = resolve(self._forest, name, rtype)
        if resolved.ending is not None:
            return self._view(tree, name, rtype, resolved, resolved.ending)
        found = _finished(resolved, name)
        cut = DnsCut.DNS_CUT_UP if resolved.additional else DnsCut.DNS_CUT_TRUNCATED
        holding = self._forest.holding(name, rtype) or tree
        record = answer_record(found, account(found[2], self._zones[holding.apex]), cut)
        return (DnsKind.DNS_KIND_UP, None) if record is None else (DnsKind.DNS_KIND_ANSWER, record)

    def _view(
        self, tree: Tree, name: bytes, rtype: int, resolved: Resolved, ending: Ending
    ) -> tuple[DnsKind, bytes | int | None]:
        own = bool(resolved.answer) or not _shares_negative(tree, name)
        if own:
            self._chained += 1
            if self._chained > CHAINED_MOST:
                self._left_out["aliases"] = self._left_out.get("aliases", 0) + 1
                return DnsKind.DNS_KIND_UP, None
        record = ending.record
        key = ViewKey(record.policy, rtype, record.ttl, tree.apex, name if own else None)
        number, _ = self._views.setdefault(key, (len(self._views), name))
        return DnsKind.DNS_KIND_VIEW, number

    def placed(self) -> Names:
        refused = self._close_lost()
        base = names_at(len(self._views))
        node_lines = {name: (base + _NODE_OCTETS * place) // LINE for place, name in enumerate(self._held)}
        arena = Arena(base + _NODE_OCTETS * len(self._held))
        negatives = {apex: self._negatives(arena, tree) for apex, tree in self._forest.trees.items()}
        refused_line = arena.answer(refused)
        seed, hashes, slots = _slots(list(self._held), list(node_lines.values()))
        nodes = bytearray()
        for (name, held), hashed in zip(self._held.items(), hashes, strict=True):
            nodes += self._node(arena, name, held, hashed, negatives[held.apex])
        buckets_line = arena.put(slots)
        return Names(
            octets=bytes(nodes) + bytes(arena.octets),
            views={key: name for key, (_, name) in self._views.items()},
            nodata={apex: nodata for apex, (nodata, _) in negatives.items()},
            zones=self._zones,
            seed=seed,
            buckets=buckets_line,
            buckets_mask=len(slots) // LINE - 1,
            refused=refused_line,
            left_out=self._left_out,
        )

    def _close_lost(self) -> bytes | None:
        """Have the names above zones that are not held say so; what is said of names outside all zones."""
        refused = answer_record(_REFUSED, account(_REFUSED[2], None), DnsCut.DNS_CUT_TRUNCATED)
        for apex in self._lost:
            above = next((suffix for suffix in suffixes(apex) if suffix in self._held), None)
            if above is None:
                refused = None
            else:
                self._held[above].flags |= DnsNodeFlags.DNS_NODE_UP_BELOW
        return refused

    def _node(self, arena: Arena, name: bytes, held: _Held, hashed: int, negative: tuple[int, int]) -> bytes:
        types = bytearray()
        for rtype, kind, what in held.types:
            at = 0
            if isinstance(what, bytes):
                at = arena.answer(what)
            elif what is not None:
                at = DNS_VIEWS_AT // LINE + what
            types += _TYPE.pack(rtype, kind, at)
        lengths = len(name), len(held.apex), held.flags, len(held.types)
        return _NODE.pack(hashed, *lengths, *negative, 0, bytes(types), name)

    def _negatives(self, arena: Arena, tree: Tree) -> tuple[int, int]:
        """The lines of NODATA and NXDOMAIN."""
        zone = self._zones[tree.apex]
        lines = []
        for rcode in (Rcode.NOERROR, Rcode.NXDOMAIN):
            found, moved = negative_reply(tree, rcode)
            record = answer_record(found, account(found[2], zone), DnsCut.DNS_CUT_TRUNCATED, moved)
            lines.append(arena.answer(record if _moves_so(tree, rcode, moved) else None))
        return lines[0], lines[1]


def _slots(names: Sequence[bytes], lines: Sequence[int]) -> tuple[int, list[int], bytes]:
    """The first seed under which every name finds a place, the hashes, and the buckets."""
    for seed in range(1, _TRIALS):
        hashes = [name_hash(name, seed) for name in names]
        slots = buckets(hashes, lines)
        if slots is not None:
            return seed, hashes, slots
    raise ValueError(f"{len(names)} names find no place under {_TRIALS} seeds")


def negative_reply(tree: Tree, rcode: Rcode) -> tuple[Finished, tuple[int, ...]]:
    """What a zone says at its apex where there is nothing, and which pointers of that move with the length of the name."""
    resolved = Resolved(rcode=rcode, authority=(tree.negative,))
    near, far = (finish(resolved, tree.apex, MESSAGE_MAX, before) for before in (0, 1))
    return near, moved_pointers(near[1], far[1])


def _moves_so(tree: Tree, rcode: Rcode, moved: tuple[int, ...]) -> bool:
    resolved = Resolved(rcode=rcode, authority=(tree.negative,))
    near, *others = (finish(resolved, tree.apex, MESSAGE_MAX, before)[1] for before in (0, 1, 100, 127))
    return others == [relocated(near, moved, by) for by in (1, 100, 127)]


def _any_record() -> bytes | None:
    """What a name with types says to ANY: the same everywhere, since its owner is the question's name (RFC 8482)."""
    name = b"\x01x\0"
    found = finish(Resolved(answer=(any_rrset(name),)), name, MESSAGE_MAX)
    return answer_record(found, account(found[2], None), DnsCut.DNS_CUT_TRUNCATED)


def _finished(resolved: Resolved, name: bytes) -> Finished:
    """As `gslb.nameserver.known` does it."""
    if not resolved.is_negative:
        return finish(resolved, name, MESSAGE_MAX)
    apex = resolved.authority[0].owner.lower()
    return finish(resolved, apex, MESSAGE_MAX, len(name) - len(apex))


def _shares_negative(tree: Tree, name: bytes) -> bool:
    """Whether the zone's SOA is written at `name` as at any other: none of its names is compressed by a label of `name`."""
    if name == tree.apex:
        return True
    first = next(suffix for suffix in suffixes(name) if len(suffix) == len(tree.apex) + 1 + suffix[0])
    rdata = tree.negative.rdatas[0]
    middle = name_end(rdata, 0)
    named = rdata[:middle].lower(), rdata[middle : name_end(rdata, middle)].lower()
    return not any(first in suffixes(each) for each in named)


def _leading(names: Iterable[bytes]) -> set[bytes]:
    """These names and all above them."""
    return {suffix for name in names for suffix in suffixes(name)}


def _asked_first(rtype: int) -> tuple[int, int]:
    return (_FIRST.index(Rtype(rtype)) if rtype in _FIRST else len(_FIRST)), rtype
