"""(name, type) -> what our zones say: the walk of RFC 1034 section 4.3.2.  Pure; the slow path's half of an answer.

Rule 1: on the way down a cut comes before a DNAME, at the name a CNAME before a wildcard's absence; a wildcard is tried
only where the name does not exist.
Rule 2: a chain is followed inside our zones only, and ends after CHAIN_LIMIT names.
Rule 3: names are lowered, so the result does not depend on the case asked.
Standards: RFC 1034 s4.3.2, RFC 2308 (negative answers), RFC 4592 (wildcards), RFC 6604 (RCODE of a chain), RFC 6672 (DNAME),
RFC 8020 (nothing below NXDOMAIN), RFC 8482 (ANY), RFC 9460 (SVCB), RFC 9471 (glue).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from gslb.model.zone import DynamicRecord, RRset
from gslb.nameserver.tree import Forest, Node, Tree, tree_addresses
from gslb.nameserver.wire import NAME_OCTETS, ROOT, Rcode, Rtype, is_within, name_end

CHAIN_LIMIT = 16  # names in one answer; long beyond what resolvers follow
ANY_TTL = 3600  # seconds
ANY_RDATA = b"\x07RFC8482\x00"  # HINFO: CPU "RFC8482", OS "" (RFC 8482 section 4.2)
TARGET_AT: Mapping[int, int] = {
    Rtype.NS: 0,
    Rtype.MX: 2,
    Rtype.SRV: 6,
    Rtype.SVCB: 2,
    Rtype.HTTPS: 2,
}  # offset of the target in RDATA


@dataclass(frozen=True, slots=True)
class Ending:
    """A chain, or a name asked itself, that a policy answers: `owner` is where, `record` by what."""

    owner: bytes
    record: DynamicRecord
    negative: RRset  # the SOA for the authority section when the policy has nothing


@dataclass(frozen=True, slots=True)
class Resolved:
    """The sections of a reply.  `glue` must fit or TC is set (RFC 9471); `additional` is dropped where it does not fit."""

    rcode: Rcode = Rcode.NOERROR
    authoritative: bool = True
    answer: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    glue: tuple[RRset, ...] = ()
    additional: tuple[RRset, ...] = ()
    ending: Ending | None = None

    @property
    def is_negative(self) -> bool:
        """Whether this is NODATA or NXDOMAIN of the name asked, and no chain: an SOA and no more."""
        return self.authoritative and bool(self.authority) and not self.answer

    @property
    def is_referral(self) -> bool:
        """Whether another server is named, and nothing else is told."""
        return not self.authoritative and self.rcode == Rcode.NOERROR


REFUSED = Resolved(rcode=Rcode.REFUSED, authoritative=False)


def resolve(forest: Forest, name: bytes, rtype: int) -> Resolved:
    """Answer (name, type) in class IN.  `name` is lowered and well formed."""
    if rtype in (Rtype.AXFR, Rtype.IXFR):
        return REFUSED
    answer: list[RRset] = []
    seen = {name}
    while True:
        tree = forest.holding(name, rtype)
        if tree is None:
            return Resolved(answer=tuple(answer)) if answer else REFUSED
        step, target = _step(forest, tree, name, rtype)
        if target is None and not answer:
            return step
        answer.extend(rrset for rrset in step.answer if rrset not in answer)
        if target is None or target in seen or len(seen) >= CHAIN_LIMIT:
            return replace(step, answer=tuple(answer), authoritative=True)
        seen.add(target)
        name = target


def _step(forest: Forest, tree: Tree, name: bytes, rtype: int) -> tuple[Resolved, bytes | None]:
    """One walk from the apex of `tree` down to `name`, and the name where the chain goes on."""
    closest = tree.apex
    for ancestor in tree.path(name):
        node = tree.nodes.get(ancestor)
        if node is None:
            source = tree.nodes.get(b"\x01*" + closest)
            if source is None:
                return Resolved(rcode=Rcode.NXDOMAIN, authority=(tree.negative,)), None
            return _at(forest, tree, source, name, rtype)
        if tree.is_cut(ancestor) and not (ancestor == name and rtype == Rtype.DS):
            return _referral(forest, tree, ancestor), None
        if Rtype.DNAME in node.rrsets and ancestor != name:
            return _redirected(node.rrsets[Rtype.DNAME], ancestor, name, rtype)
        closest = ancestor
    return _at(forest, tree, tree.nodes[name], name, rtype)


def _at(forest: Forest, tree: Tree, node: Node, name: bytes, rtype: int) -> tuple[Resolved, bytes | None]:
    """What `node` (the name's own, or its wildcard's) says."""
    dynamic = node.dynamic
    if dynamic is not None and rtype in dynamic.types:
        return Resolved(ending=Ending(name, dynamic, tree.negative)), None
    cname = node.rrsets.get(Rtype.CNAME)
    if rtype == Rtype.ANY and cname is None and not node.empty:
        return Resolved(answer=(any_rrset(name),)), None
    found = cname if rtype == Rtype.ANY else node.rrsets.get(rtype)
    if found is not None:
        rrset = RRset(name, found.rtype, found.ttl, found.rdatas)
        return Resolved(answer=(rrset,), additional=_targets(forest, rrset)), None
    if cname is not None:
        alias = RRset(name, Rtype.CNAME, cname.ttl, cname.rdatas)
        return Resolved(answer=(alias,)), cname.rdatas[0].lower()
    return Resolved(authority=(tree.negative,)), None


def any_rrset(name: bytes) -> RRset:
    """What a name that has records says to ANY."""
    return RRset(name, Rtype.HINFO, ANY_TTL, (ANY_RDATA,))


def _redirected(dname: RRset, owner: bytes, name: bytes, rtype: int) -> tuple[Resolved, bytes | None]:
    """A name below a DNAME: that DNAME and the CNAME made from it (RFC 6672 section 3.1)."""
    target = name[: -len(owner)] + dname.rdatas[0]
    if len(target) > NAME_OCTETS:
        return Resolved(rcode=Rcode.YXDOMAIN, answer=(dname,)), None
    cname = RRset(name, Rtype.CNAME, dname.ttl, (target,))
    goes_on = rtype not in (Rtype.CNAME, Rtype.ANY)
    return Resolved(answer=(dname, cname)), target.lower() if goes_on else None


def _referral(forest: Forest, tree: Tree, cut: bytes) -> Resolved:
    """NS records of the child, with the addresses of the servers inside it as glue that must be there."""
    servers = tree.nodes[cut].rrsets[Rtype.NS]
    inside: list[RRset] = []
    outside: list[RRset] = []
    for target in servers.rdatas:
        if is_within(target.lower(), cut):
            inside.extend(tree_addresses(tree, target))
        else:
            outside.extend(forest.addresses(target))
    return Resolved(authoritative=False, authority=(servers,), glue=tuple(inside), additional=tuple(outside))


def _targets(forest: Forest, rrset: RRset) -> tuple[RRset, ...]:
    """The addresses of the hosts that `rrset` names; a SVCB target of "." is the owner itself (RFC 9460 section 2.5)."""
    if rrset.rtype not in TARGET_AT:
        return ()
    offset = TARGET_AT[rrset.rtype]
    found: dict[RRset, None] = {}
    for rdata in rrset.rdatas:
        target = rdata[offset : name_end(rdata, offset)]
        if target == ROOT and rrset.rtype in (Rtype.SVCB, Rtype.HTTPS):
            target = rrset.owner
        found |= dict.fromkeys(forest.addresses(target))
    return tuple(found)
