"""One question as a resolver would send it, what our zones hold for it, and the reply of a responder.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

import dnslib

from gslb.config.zonefile import owner_text, rdata_text, type_text
from gslb.model.deployment import Address, Network
from gslb.model.zone import RRset
from gslb.nameserver.answer import Responder
from gslb.nameserver.edns import CODE_SUBNET, FAMILY_V4, FAMILY_V6, OPT, OPTION, SUBNET, UDP_SAFE
from gslb.nameserver.lookup import Ending, Resolved, resolve
from gslb.nameserver.tree import Forest, Tree
from gslb.nameserver.wire import CLASS_IN, COUNTS, PAIR, Rcode, Rtype, suffixes


@dataclass(frozen=True, slots=True)
class Asked:
    """A question of class IN, from `resolver`, on behalf of `client` where its subnet is told (RFC 7871)."""

    name: bytes  # wire form, lowered
    rtype: int
    client: Network | None
    resolver: Address

    @property
    def decides(self) -> Address:
        """The address that is looked up: a subnet of length 0 asks not to be used."""
        if self.client is not None and self.client.prefixlen:
            return self.client.network_address
        return self.resolver


@dataclass(frozen=True, slots=True)
class Record:
    """What our zones hold: `kind` is dynamic, static, no data, no such name, delegated, redirected too far, or not ours.

    `owner` is where a chain of aliases ends, `wildcard` the record that stands for it where it does not exist itself.
    """

    kind: str
    zone: str | None
    owner: str
    wildcard: str | None
    records: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a responder says: the records of the answer section, and the scope where a subnet was told."""

    rcode: str
    records: tuple[str, ...]
    scope: int | None


def found(forest: Forest, asked: Asked) -> tuple[Record, Ending | None]:
    """Walk our zones as the nameserver does."""
    resolved = resolve(forest, asked.name, asked.rtype)
    tree = forest.holding(asked.name, asked.rtype)
    ending = resolved.ending
    owner = ending.owner if ending is not None else asked.name
    record = Record(
        kind=_kind(resolved),
        zone=owner_text(tree.apex) if tree is not None else None,
        owner=owner_text(owner),
        wildcard=_wildcard(forest.holding(owner, asked.rtype), owner, resolved),
        records=tuple(line for rrset in _told(resolved) for line in lines(rrset)),
    )
    return record, ending


def replied(responder: Responder, asked: Asked) -> Reply:
    """Ask, over TCP so that nothing is cut off."""
    octets = responder.tcp(_message(asked), str(asked.resolver))
    assert octets is not None  # only responses and fragments are met with silence
    reply = dnslib.DNSRecord.parse(octets)
    records = tuple(f"{rr.rname} {rr.ttl} IN {type_text(rr.rtype)} {_data_text(rr)}" for rr in reply.rr)
    scopes = [
        option.data[3] for rr in reply.ar if rr.rtype == Rtype.OPT for option in rr.rdata if option.code == CODE_SUBNET
    ]
    return Reply(Rcode(reply.header.rcode).name, records, scopes[0] if scopes else None)


def lines(rrset: RRset) -> tuple[str, ...]:
    """A record set as a master file has it."""
    head = f"{owner_text(rrset.owner)} {rrset.ttl} IN {type_text(rrset.rtype)}"
    return tuple(f"{head} {rdata_text(rrset.rtype, rdata)}" for rdata in rrset.rdatas)


def _data_text(rr: dnslib.RR) -> str:
    known = type(rr.rdata) is not dnslib.RD  # what the codec does not know is not compressed either
    return str(rr.rdata) if known else rdata_text(rr.rtype, rr.rdata.data)


def _message(asked: Asked) -> bytes:
    option = b""
    if asked.client is not None:
        bits = asked.client.prefixlen
        family = FAMILY_V4 if asked.client.version == 4 else FAMILY_V6
        subnet = SUBNET.pack(family, bits, 0) + asked.client.network_address.packed[: (bits + 7) // 8]
        option = OPTION.pack(CODE_SUBNET, len(subnet)) + subnet
    opt = OPT.pack(0, Rtype.OPT, UDP_SAFE, 0, 0, 0, len(option)) + option
    return bytes(2) + COUNTS.pack(0, 1, 0, 0, 1) + asked.name + PAIR.pack(asked.rtype, CLASS_IN) + opt


def _kind(resolved: Resolved) -> str:
    by_rcode = {Rcode.REFUSED: "not ours", Rcode.NXDOMAIN: "no such name", Rcode.YXDOMAIN: "redirected too far"}
    if resolved.rcode in by_rcode:
        return by_rcode[resolved.rcode]
    if resolved.ending is not None:
        return "dynamic"
    if resolved.is_referral:
        return "delegated"
    return "static" if resolved.answer else "no data"


def _told(resolved: Resolved) -> tuple[RRset, ...]:
    return resolved.authority if resolved.is_referral else resolved.answer


def _wildcard(tree: Tree | None, owner: bytes, resolved: Resolved) -> str | None:
    """The wildcard that gives `owner` its records (RFC 4592): below the closest name that exists."""
    if tree is None or owner in tree.nodes or resolved.rcode or resolved.is_referral:
        return None
    closest = next(suffix for suffix in suffixes(owner) if suffix in tree.nodes)
    source = b"\x01*" + closest
    return owner_text(source) if source in tree.nodes else None
